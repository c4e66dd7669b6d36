"""Words that stand alone among the flags of ``view`` and ``ask``, as flags. Nothing of those commands is imported."""

from __future__ import annotations

from collections.abc import Sequence

from gpt4scene.errors import ConfigError
from gpt4scene.settings.flag_list import name_of

YES_OR_NO = frozenset({"crop_to_patches"})
"""Flags of ``ask`` that have no value of their own: what stands behind one is the question."""


def view_flags(words: Sequence[str]) -> list[str]:
    """Return ``words`` with ``--scenes`` before the places that stand first, without any flag."""
    return ["--scenes", *words] if words and not words[0].startswith("-") else list(words)


def with_question(words: Sequence[str]) -> list[str]:
    """Return the words of ``ask`` with the one that stands alone as ``--question``.

    Raises ``ConfigError`` where several stand alone.
    """
    kept: list[str] = []
    alone: list[str] = []
    waits = False
    for word in words:
        flag = word.startswith("--")
        (kept if flag or waits else alone).append(word)
        waits = flag and "=" not in word and name_of(word) not in YES_OR_NO
    if len(alone) > 1:
        raise ConfigError(f"'{alone[1]}' stands alone; write the question in quotes, as one word of the call")
    return [*kept, *(f"--question={text}" for text in alone)]
