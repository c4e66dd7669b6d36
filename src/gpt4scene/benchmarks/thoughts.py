"""Thoughts in answers, before these are scored: what a model wrote for itself is no part of what it said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gpt4scene.files.answers import AnswerRow
from gpt4scene.files.named_answers import NamedAnswer
from gpt4scene.files.thoughts import split_thought


def rows_without(rows: Sequence[AnswerRow]) -> tuple[list[AnswerRow], list[str]]:
    """Return the rows with answers alone, and a sentence where thoughts were left out."""
    said = [split_thought(row.pred)[1] for row in rows]
    kept = [row if text == row.pred else replace(row, pred=text) for row, text in zip(rows, said, strict=True)]
    return kept, _sentence([(row.pred, text) for row, text in zip(rows, said, strict=True)])


def named_without(named: Sequence[NamedAnswer]) -> tuple[tuple[NamedAnswer, ...], list[str]]:
    """Return what ``rows_without`` does, for answers that name their questions."""
    said = [split_thought(one.value)[1] if isinstance(one.value, str) else one.value for one in named]
    kept = tuple(replace(one, value=text) for one, text in zip(named, said, strict=True))
    pairs = [(one.value, text) for one, text in zip(named, said, strict=True) if isinstance(one.value, str)]
    return kept, _sentence(pairs)


def _sentence(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Return what is to be said of texts before and after, in a list of one or none."""
    found = [answer for text, answer in pairs if answer != text]
    if not found:
        return []
    alone = sum(not answer for answer in found)
    empty = f"; {alone} of these say nothing else, and count as empty" if alone else ""
    return [f"thoughts in {len(found)} of {len(pairs)} answers are left out{empty}"]
