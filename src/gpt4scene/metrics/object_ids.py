"""Object identifiers in prompts and answers: ``<OBJ017>`` is written and parsed here and nowhere else."""

from __future__ import annotations

import re

MOST_OBJECTS = 1000
"""Objects that have an identifier: those from 0 on."""

_OBJECT = re.compile(r"<OBJ(\d{3})>")


def object_mark(index: int) -> str:
    """Return the identifier of a proposal as it stands in prompts and answers: ``<OBJ017>`` for 17.

    Raises ``ValueError`` outside 0 to 999, which three digits can't name.
    """
    if not 0 <= index < MOST_OBJECTS:
        raise ValueError(f"object {index} has no identifier: <OBJ###> names 0 to 999")
    return f"<OBJ{index:03d}>"


def is_mark(text: str) -> bool:
    """Return whether ``text`` is one identifier and nothing else, with or without a full stop."""
    return _OBJECT.fullmatch(text.strip().removesuffix(".")) is not None


def object_ids(text: str) -> list[int]:
    """Return every identifier of ``text`` in order, repetitions included; ``<obj012>`` and ``<OBJ12>`` are none.

    Digits of any script count, as in the public scorer.
    """
    return [number for number, _ in object_spans(text)]


def object_spans(text: str) -> list[tuple[int, slice]]:
    """Return the identifiers of ``object_ids`` with the place where each stands in ``text``, as it is written there."""
    return [(int(match[1]), slice(*match.span())) for match in _OBJECT.finditer(text)]
