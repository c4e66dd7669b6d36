"""Sizes in bytes as people write them: ``8GB``, ``512 MiB``, ``20000000``."""

from __future__ import annotations

import re

from gpt4scene.settings.coercion import BadValueError

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {f"{letter}ib": 2 ** (10 * (power + 1)) for power, letter in enumerate("kmgt")}
_FORM = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", re.ASCII)


def is_size(text: str) -> bool:
    """Return whether ``text`` is a number with a unit of bytes."""
    found = _FORM.fullmatch(text.strip())
    return found is not None and found[2] != "" and found[2].lower() in _UNITS


def is_meant_as_size(text: str) -> bool:
    """Return whether ``text`` starts as a number or ends in a unit of two or three letters, right or wrong."""
    return text[:1].isdigit() or any(len(unit) > 1 and text.lower().endswith(unit) for unit in _UNITS)


def bytes_in(text: str) -> int:
    """Return the number of bytes that ``text`` says; ``BadValueError`` where it says none."""
    found = _FORM.fullmatch(text.strip())
    if found is None or found[2].lower() not in _UNITS:
        raise BadValueError(f"must be a size such as 8GB or 512MiB, not '{text}'")
    return int(float(found[1]) * _UNITS[found[2].lower()])
