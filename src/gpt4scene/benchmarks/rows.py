"""Rows made of official records: one loop for all benchmarks, in which every record becomes rows or is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.wordings import Prompts
from gpt4scene.files.raw import Record

QuestionRow = dict[str, Any]
"""A row of a question file."""

Row = TypeVar("Row")


@dataclass(frozen=True)
class TrainingRow:
    """A question about a scene and the answer to learn."""

    scene_id: str
    question: str
    answer: str


@dataclass(frozen=True)
class Dropped:
    """Stands where a row is not made; ``reason`` is what it is counted under."""

    reason: str


@dataclass(frozen=True)
class FromScenes:
    """How questions are made of prepared scenes: by which rules, drawn by which seed, how many of a kind and scene.

    0 takes as many as the rules say. ``refer`` says how objects are named. ``varied`` draws among wordings.
    """

    rules: str = "vsi"
    seed: int = 0
    per_kind: int = 0
    refer: Literal["label", "number"] = "label"
    varied: bool = False


@dataclass(frozen=True)
class SceneRecords:
    """Records made of prepared scenes, what was dropped by reason, and lines that say so kind by kind."""

    records: list[Record]
    dropped: Counter[str] = field(default_factory=Counter)
    lines: tuple[str, ...] = ()


EMPTY = "empty answer"
"""Reason where there is nothing to learn."""

RowsOf = Callable[[Record, Scenes, Prompts], Iterable["Row | Dropped"]]
"""Makes the rows of one record, whose scene has what rows need."""

Arranged = Iterable["Record | Dropped"]
Arrange = Callable[[list[Record], Scenes], Arranged]
"""Groups, enriches or drops records before rows are made of them."""


@dataclass(frozen=True)
class AnnotatedRows(Generic[Row]):
    """The rows made of a benchmark's records, and how many were dropped for which reason."""

    rows: list[Row]
    dropped: Counter[str]


def make_rows(
    records: Arranged, rows_of: RowsOf[Row], scenes: Scenes, prompts: Prompts, *, boxes: bool
) -> AnnotatedRows[Row]:
    """Return the rows of all ``records`` in their order.

    A record about a scene without images, or, where rows need ``boxes``, without objects, is dropped.
    """
    made: AnnotatedRows[Row] = AnnotatedRows([], Counter())
    for record in records:
        if isinstance(record, Dropped):
            made.dropped[record.reason] += 1
            continue
        reason = scenes.lacks(record.text("scene_id"), boxes=boxes)
        if reason:
            made.dropped[reason] += 1
            continue
        for row in rows_of(record, scenes, prompts):
            if isinstance(row, Dropped):
                made.dropped[row.reason] += 1
            else:
                made.rows.append(row)
    return made


def make_rows_by_scene(
    records: Arranged, rows_of: RowsOf[QuestionRow], scenes: Scenes, prompts: Prompts, reason: str
) -> AnnotatedRows[QuestionRow]:
    """Return the rows of all ``records``, whose own keys say nothing of scenes: a row's ``scene_id`` does.

    One about a scene without images is dropped for ``reason``.
    """
    made: AnnotatedRows[QuestionRow] = AnnotatedRows([], Counter())
    for record in records:
        for row in [record] if isinstance(record, Dropped) else rows_of(record, scenes, prompts):
            if isinstance(row, Dropped):
                made.dropped[row.reason] += 1
            elif not scenes.images.get(row["scene_id"]):
                made.dropped[reason] += 1
            else:
                made.rows.append(row)
    return made


def as_they_are(records: list[Record], scenes: Scenes) -> list[Record]:
    """Return ``records``."""
    return records
