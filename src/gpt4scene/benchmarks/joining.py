"""Answers joined to the questions of the question file, which alone says what was meant.

An answer finds its question by ``index``, by ``qid``, or by scene, objects and prompt, whichever leaves one question.
References, types and ids then come from the file; an answer that says otherwise, or of which one key names one
question and another key another, is refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow
from gpt4scene.types import Question

_MARKS = re.compile(r"\\*(?:<image>|<\|vision_start\|>|<\|image_pad\|>|<\|vision_end\|>)")
_TRUTHS = {"gt_id": "obj_id", "pred_id": "pred_id", "type_info": "type_info", "ref_captions": "ref_captions"}
"""Key of an answer -> field of the question that is the truth about it."""


def join(
    rows: Sequence[AnswerRow], questions: Sequence[Question], path: Path, needs: Sequence[str]
) -> tuple[list[AnswerRow], tuple[str, ...]]:
    """Return ``rows`` in the order of ``questions``, with the truth of the file ``path``, and notes.

    ``needs`` are the keys that scoring needs; a question may be any of those that differ in none of them. Where the
    file does not say a needed key, the predictions' stays, which is noted; so are prompts in other words. Raises
    ``DataError`` naming file and row for an answer that has no question, could have several, or contradicts its own.
    """
    asked = _Asked(questions, path, needs)
    found: dict[int, AnswerRow] = {}
    open_rows: list[tuple[AnswerRow, list[Question]]] = []
    for row in rows:
        if row.index is None:
            open_rows.append((row, asked.candidates(row)))
            continue
        question = asked.by_index(row)
        if question.index in found:
            raise DataError(f"{row.origin}: answers the same question as {found[question.index].origin}; remove one")
        found[question.index] = row
    for row, candidates in sorted(open_rows, key=lambda pair: len(pair[1])):  # the surest first
        left = [question for question in candidates if question.index not in found]
        if not left:
            taken = found[candidates[0].index]
            raise DataError(
                f"{row.origin}: there are more answers about scene '{row.scene_id}', object {row.gt_id} than questions "
                f"in {path} that match it ({taken.origin} answers row {candidates[0].index} already); rows are "
                "repeated or belong to another question file"
            )
        question = asked.one_of(row, left)
        asked.check_identity(row, question)
        found[question.index] = row
    pairs = [(found[index], questions[index]) for index in sorted(found)]
    joined = [_with_truth(row, question, path, needs) for row, question in pairs]
    return joined, (*_believed(joined, questions, path, needs), *_reworded(pairs, path))


@dataclass(frozen=True)
class _Asked:
    """The questions of the file ``path``, found by what answers say about them."""

    questions: Sequence[Question]
    path: Path
    needs: Sequence[str]

    @cached_property
    def scenes(self) -> dict[str, list[Question]]:
        """The questions of each scene."""
        return _grouped(self.questions, lambda question: question.scene_id)

    @cached_property
    def qids(self) -> dict[Any, list[Question]]:
        """The questions with a ``qid``, by its meaning."""
        given = [question for question in self.questions if question.qid not in (None, "")]
        return _grouped(given, lambda question: meaning(question.qid))

    @cached_property
    def prompts(self) -> dict[Any, list[Question]]:
        """The questions of each scene and prompt."""
        return _grouped(self.questions, lambda question: (question.scene_id, same_prompt(question.prompt)))

    def by_index(self, row: AnswerRow) -> Question:
        """Return the question at the row's ``index``, which nothing else in the row contradicts."""
        index = row.index if row.index is not None else -1
        if not 0 <= index < len(self.questions) or self.questions[index].scene_id != row.scene_id:
            raise DataError(
                f"{row.origin}: question {index} of scene '{row.scene_id}' is not in {self.path} "
                f"({len(self.questions)} rows); the answers belong to another question file"
            )
        question = self.questions[index]
        self.check_identity(row, question)
        asked, said = same_prompt(question.prompt), same_prompt(row.prompt)
        if asked and said and asked != said and not _same_qid(row, question):
            raise DataError(
                f"{row.origin}: question {index} of {self.path} has another prompt ('{_short(asked)}', here "
                f"'{_short(said)}'); the answers belong to another question file"
            )
        return question

    def candidates(self, row: AnswerRow) -> list[Question]:
        """Return the questions of the scene that the answer may be to, by all it says about its question."""
        here = self.scenes.get(row.scene_id)
        if not here:
            raise DataError(
                f"{row.origin}: no question in {self.path} is about scene '{row.scene_id}'; the answers belong to "
                "another question file or split"
            )
        by_qid = [question for question in here if _same_qid(row, question)]
        said = same_prompt(row.prompt)
        if len(by_qid) == 1:
            return by_qid
        found = by_qid or here
        if said and not by_qid:  # a question without a prompt may have any
            found = [*self.prompts.get((row.scene_id, ""), []), *self.prompts.get((row.scene_id, said), [])]
        if not found:
            raise DataError(
                f"{row.origin}: no question in {self.path} about scene '{row.scene_id}' has the prompt "
                f"'{_short(said)}'; the answers belong to another question file"
            )
        for key, field in (("prompt", "prompt"), *_TRUTHS.items()):  # narrows, as far as any question agrees
            agreeing = [question for question in found if _agree(key, getattr(row, key), getattr(question, field))]
            if not agreeing and key in ("gt_id", "pred_id"):
                raise DataError(
                    f"{row.origin}: no question in {self.path} about scene '{row.scene_id}' that matches it has the "
                    f"'{field}' {getattr(row, key)}; correct '{key}', or give the question file that was asked"
                )
            found = agreeing or found
        return found

    def one_of(self, row: AnswerRow, left: Sequence[Question]) -> Question:
        """Return the first of ``left`` where all mean the same to the score; raise ``DataError`` where they do not."""
        truths = [[meaning(getattr(question, _TRUTHS.get(key, key))) for key in self.needs] for question in left]
        other = next((number for number, truth in enumerate(truths) if truth != truths[0]), None)
        if other is not None:
            raise DataError(
                f"{row.origin}: may answer row {left[0].index} or row {left[other].index} of {self.path}, which differ "
                f"in {' or '.join(self.needs)}; give the row its 'index' or 'qid'"
            )
        return left[0]

    def check_identity(self, row: AnswerRow, question: Question) -> None:
        """Raise ``DataError`` where the row's ``qid`` or prompt is that of another question than ``question``."""
        qid_of = [] if _unsaid(row.qid) or _same_qid(row, question) else self.qids.get(meaning(row.qid), [])
        said = same_prompt(row.prompt)
        prompt_of = self.prompts.get((row.scene_id, said), []) if said and said != same_prompt(question.prompt) else []
        for key, value, others in (("qid", row.qid, qid_of), ("prompt", said, prompt_of)):
            if others:
                raise DataError(
                    f"{row.origin}: '{key}' is {_short(value)}, which belongs to row {others[0].index} of {self.path}, "
                    f"but the row's other keys to row {question.index}; correct the one that is wrong"
                )


def _grouped(questions: Iterable[Question], key: Callable[[Question], Any]) -> dict[Any, list[Question]]:
    found: dict[Any, list[Question]] = {}
    for question in questions:
        found.setdefault(key(question), []).append(question)
    return found


def same_prompt(text: str) -> str:
    """Return ``text`` without marks of images and without differences of white space or Unicode form."""
    return " ".join(_MARKS.sub(" ", unicodedata.normalize("NFC", text)).split())


def meaning(value: Any) -> Any:
    """Return what ``value`` means: 1, 1.0 and "1" are one number, texts differ by their words, lists by content."""
    if isinstance(value, (list, tuple)):
        return sorted((meaning(one) for one in value), key=repr)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return " ".join(unicodedata.normalize("NFC", str(value)).split())


def _agree(key: str, said: Any, truth: Any) -> bool:
    if key == "prompt":
        return not said or not truth or same_prompt(said) == same_prompt(truth)
    return said is None or truth is None or meaning(said) == meaning(truth)


def _unsaid(qid: str | int | None) -> bool:
    """Return whether ``qid`` names no question; the public project writes 0 where a question has none."""
    return qid in (None, "", 0)


def _same_qid(row: AnswerRow, question: Question) -> bool:
    """Return whether both say the same ``qid``."""
    if _unsaid(row.qid) or question.qid in (None, ""):
        return False
    return meaning(row.qid) == meaning(question.qid)


def _with_truth(row: AnswerRow, question: Question, path: Path, needs: Sequence[str]) -> AnswerRow:
    for key, field in _TRUTHS.items():
        said, truth = getattr(row, key), getattr(question, field)
        silent = key == "ref_captions" and key not in needs and not (said and truth)
        if said is None or truth is None or silent or (key == "type_info" and key not in needs):
            continue
        if meaning(said) != meaning(truth):
            raise DataError(
                f"{row.origin}: '{key}' is {_short(said)}, but {_short(truth)} in {path}, row {question.index}, which "
                "it answers; remove the key from the predictions, or give the question file that was asked"
            )
    truths = {key: getattr(question, field) for key, field in _TRUTHS.items()}
    if "type_info" not in needs and not question.type_info:
        del truths["type_info"]  # the file has no types
    told = {key: truth for key, truth in truths.items() if truth is not None}
    told |= {"source": question.source} if question.source is not None else {}
    qid = row.qid if question.qid is None else question.qid
    origin = f"{row.origin} (question: {path}, row {question.index})"
    return replace(row, index=question.index, qid=qid, prompt=question.prompt or row.prompt, origin=origin, **told)


def _believed(
    joined: Sequence[AnswerRow], questions: Sequence[Question], path: Path, needs: Sequence[str]
) -> tuple[str, ...]:
    """Return a note for every needed key that rows of the question file do not have."""
    notes = []
    for key in needs:
        answered = [row.index for row in joined if row.index is not None]
        silent = [index for index in answered if getattr(questions[index], _TRUTHS.get(key, key)) is None]
        if silent:
            key_there = "obj_id" if key == "gt_id" else key
            notes.append(
                f"{path} has no '{key_there}' in {len(silent)} rows (the first is row {silent[0]}): there the "
                f"predictions' own '{key}' is believed"
            )
    return tuple(notes)


def _reworded(pairs: Sequence[tuple[AnswerRow, Question]], path: Path) -> tuple[str, ...]:
    """Return a note where answers were given to a prompt in other words than those of the question file."""
    rows = [
        row
        for row, question in pairs
        if row.prompt.strip() and question.prompt and same_prompt(row.prompt) != same_prompt(question.prompt)
    ]
    if not rows:
        return ()
    return (
        f"{len(rows)} answers were given to a prompt in other words than {path} has (the first is {rows[0].origin}); "
        "their qid says which question they answer",
    )


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 100 else f"{text[:97]}..."
