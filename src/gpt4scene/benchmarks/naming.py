"""Answers that name their question by its id or place: each finds its question, or is refused with the ids wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.benchmarks.joining import meaning
from gpt4scene.benchmarks.objects_said import ObjectsSaid, objects_said
from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow
from gpt4scene.files.named_answers import NamedAnswer
from gpt4scene.metrics.answer_boxes import answer_boxes, themselves
from gpt4scene.metrics.boxes import SceneBoxes
from gpt4scene.types import Question

_SHOWN = 3


def answers_by_name(
    named: Sequence[NamedAnswer], questions: Sequence[Question], place: Path, benchmark: Benchmark
) -> tuple[list[AnswerRow], tuple[str, ...], SceneBoxes | None]:
    """Return a row of each answer, with the place of its question in ``questions``, notes, and the boxes that the
    answers bring, ``None`` where they name those of a file.

    Raises ``DataError`` for a name that no question has or two have, and a question that is answered twice; it shows
    the names wanted beside those found.
    """
    asked = _Named(questions, place, tuple(one.qid for one in named if one.qid is not None))
    notes = []
    by_own_index = asked.places_are_ids(named)
    if by_own_index:
        notes.append(f"'index' names the questions by the column 'index' of {place}")
    if not asked.ids and any(one.qid is not None for one in named):
        notes.append(f"the questions of {place} have no ids; the answers' ids count as places, from 0")
    objects = benchmark.about_objects and not benchmark.text_groups  # else a list is no answer
    said = objects_said(named) if benchmark.names_objects else ObjectsSaid(tuple(_said(one, objects) for one in named))
    notes += said.notes
    found: dict[int, AnswerRow] = {}
    for one, text in zip(named, said.texts, strict=True):
        question = asked.question_of(one, by_own_index)
        if question.index in found:
            raise DataError(f"{one.origin}: answers the same question as {found[question.index].origin}; remove one")
        found[question.index] = _row(one, text, question)
    boxes: SceneBoxes | None = None
    if said.own:
        boxes = answer_boxes(said.own, {row.origin: row.scene_id for row in found.values()})
    elif "pred_id" in benchmark.needs and all(question.pred_id is None for question in questions):
        notes.append("answers are about the objects themselves, so no box is compared: each counts at every IoU")
        found = {index: replace(row, pred_id=questions[index].obj_id) for index, row in found.items()}
        boxes = themselves((question.scene_id, question.obj_id or 0) for question in questions)
    several = sum(isinstance(one.value, list | tuple) and len(one.value) > 1 for one in named)
    if several and not benchmark.names_objects:
        notes.append(f"{several} answers name several objects; the first counts")
    silent = sum(one.value is None for one in named)
    if silent:
        notes.append(f"{silent} answers are null and count as empty answers")
    return [found[index] for index in sorted(found)], tuple(notes), boxes


def _row(one: NamedAnswer, text: str, question: Question) -> AnswerRow:
    return AnswerRow(
        scene_id=question.scene_id,
        pred=text,
        prompt=question.prompt,
        qid=question.qid,
        index=question.index,
        origin=one.origin,
        null=one.value is None,
    )


def _said(one: NamedAnswer, objects: bool) -> str:
    """Return an answer as text; a number is the text of its digits, and the first of a list of ``objects`` counts."""
    if isinstance(one.value, list | tuple):
        if objects and all(type(number) is int for number in one.value):
            return str(one.value[0]) if one.value else ""
        raise DataError(f"{one.origin}: the answer must be a text, found a list of {len(one.value)}; write one text")
    return "" if one.value is None else str(one.value)


@dataclass(frozen=True)
class _Named:
    """The questions of ``place``, found by what answers call them; ``called`` are the ids of all answers."""

    questions: Sequence[Question]
    place: Path
    called: tuple[Any, ...]

    @cached_property
    def ids(self) -> dict[Any, list[Question]]:
        """The questions by the meaning of their id."""
        found: dict[Any, list[Question]] = {}
        for question in self.questions:
            if question.qid not in (None, ""):
                found.setdefault(meaning(question.qid), []).append(question)
        return found

    @cached_property
    def own_indices(self) -> Mapping[int, Question]:
        """The questions by their official column ``index``, where all have one and no two the same."""
        pairs = [(question.source or {}).get("index") for question in self.questions]
        try:
            numbers = {int(value): question for value, question in zip(pairs, self.questions, strict=True)}  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return {}
        return numbers if len(numbers) == len(self.questions) else {}

    def places_are_ids(self, named: Sequence[NamedAnswer]) -> bool:
        """Return whether ``index`` of the answers is the official column of that name, not the place in the file.

        Raises ``DataError`` where it may be either, and that makes a difference.
        """
        places = [one.place for one in named if one.place is not None]
        if not places or not self.own_indices:
            return False
        are_ids = all(place in self.own_indices for place in places)
        are_places = all(0 <= place < len(self.questions) for place in places)
        if are_ids and are_places and any(self.own_indices[place].index != place for place in places):
            raise DataError(
                f"{named[0].origin}: 'index' may be the column 'index' of {self.place} or the place in that file; "
                "these differ; call it 'qid' where it is the column"
            )
        return are_ids and not are_places

    def question_of(self, one: NamedAnswer, by_own_index: bool) -> Question:
        """Return the question that the answer names; place and id must agree where it has both."""
        by_place = None
        if one.place is not None:
            by_place = self.own_indices.get(one.place) if by_own_index else self._at(one.place)
            if by_place is None:
                raise DataError(
                    f"{one.origin}: question {one.place} is not in {self.place}, which has {len(self.questions)} "
                    "questions, counted from 0; the answers belong to another file"
                )
        by_id = None if one.qid is None else self._by_id(one, by_place)
        if by_place is not None and by_id is not None and by_id.index != by_place.index:
            raise DataError(
                f"{one.origin}: 'index' names row {by_place.index} of {self.place} and the id row {by_id.index}; "
                "correct the one that is wrong"
            )
        question = by_place if by_id is None else by_id
        assert question is not None, "an answer has a place or an id"
        return question

    def _at(self, place: int) -> Question | None:
        return self.questions[place] if 0 <= place < len(self.questions) else None

    def _by_id(self, one: NamedAnswer, by_place: Question | None) -> Question | None:
        key = meaning(one.qid)
        if not self.ids:
            if by_place is not None:
                return None  # nothing says what the id means
            if key.isdecimal() and self._at(int(key)) is not None:
                return self._at(int(key))
        candidates = self.ids.get(key) or self.ids.get(key.replace("|", "_"), [])
        if len(candidates) == 1:
            return candidates[0]
        if candidates and by_place in candidates:
            return by_place
        if candidates:
            rows = " and ".join(str(question.index) for question in candidates[:2])
            raise DataError(f"{one.origin}: rows {rows} of {self.place} have this id; name the question by 'index'")
        wanted = list(self.ids) or [str(question.index) for question in self.questions]
        unknown = [qid for qid in self.called if meaning(qid) not in self.ids] if self.ids else list(self.called)
        raise DataError(
            f"{one.origin}: no question of {self.place} has the id '{one.qid}'; ids there: {_some(wanted)}; unknown "
            f"ids here: {_some(unknown)}"
        )


def _some(names: Iterable[Any]) -> str:
    found = list(map(str, names))
    return ", ".join(found[:_SHOWN]) + (f", … ({len(found):,} in all)" if len(found) > _SHOWN else "")
