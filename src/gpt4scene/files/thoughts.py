"""Thoughts in the text of an answer: what a model wrote for itself before it answered."""

from __future__ import annotations

THINKING, THOUGHT = "<think>", "</think>"
"""What a thought begins and ends with. A prompt may have opened it, so that the text has the end alone."""


def split_thought(text: str) -> tuple[str, str]:
    """Return the thought and the answer in ``text``; each is empty where it has none.

    The answer is what stands behind the last end of a thought. A thought that never ended has none behind it.
    """
    before, ended, answer = text.rpartition(THOUGHT)
    if ended:
        return before.strip().removeprefix(THINKING).strip(), answer.lstrip()
    begun = text.lstrip().startswith(THINKING)
    return (text.strip().removeprefix(THINKING).strip(), "") if begun else ("", text)
