"""Answers that name one object: which one, and ReferIt3D's groups of questions and accuracy.

ReferIt3D chooses among ground-truth objects, so its published figures compare object ids, not boxes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from gpt4scene.files.answers import AnswerRow
from gpt4scene.metrics.boxes import SceneBoxes
from gpt4scene.metrics.object_ids import object_ids, object_mark

FALLBACK = 0
"""The proposal that the public scorer takes where an answer names none."""

REFERIT_KINDS = ("easy_dep", "easy_indep", "hard_dep", "hard_indep")
"""Values of ``type_info`` that mark questions from ReferIt3D."""


def chosen_proposal(answer: str, proposals: int) -> int | None:
    """Return the first identifier in ``answer`` that names one of ``proposals``, or ``None``."""
    return next((index for index in object_ids(answer) if index < proposals), None)


def marked(proposals: SceneBoxes, scene: str, number: int) -> str:
    """Return the identifier of a proposal with its label, where it has one."""
    return f"{object_mark(number)}{proposals.in_brackets(scene, number)}"


def is_referit(rows: Iterable[AnswerRow]) -> bool:
    """Return whether every row is a question from ReferIt3D."""
    return all(row.type_info in REFERIT_KINDS for row in rows)


def referit_groups(rows: Iterable[AnswerRow]) -> dict[str, np.ndarray]:
    """Return which rows, bool[B], are easy, hard, view dependent and view independent, as ReferIt3D names them."""
    kinds = [str(row.type_info).split("_") for row in rows]
    easy_B = np.array([difficulty == "easy" for difficulty, _ in kinds])
    dependent_B = np.array([view == "dep" for _, view in kinds])
    return {"Easy ": easy_B, "Hard ": ~easy_B, "View Dep ": dependent_B, "View Indep ": ~dependent_B}


def object_accuracy(
    rows: Sequence[AnswerRow], named: Sequence[int | None], groups: Mapping[str, np.ndarray], strictly: bool = False
) -> dict[str, np.ndarray]:
    """Return whether each row names its very object, float64[B] by metric: ReferIt3D's accuracy.

    NaN where a row does not count for a metric. ``named`` are the objects named, ``None`` where an answer names none:
    it counts as ``FALLBACK``, or ``strictly`` as wrong.
    """
    right_B = np.array([(FALLBACK if n is None else n) == row.target for n, row in zip(named, rows, strict=True)])
    readable_B = np.array([index is not None for index in named])
    strict_B = right_B & readable_B
    counted_B = strict_B if strictly else right_B
    values = {"Overall Acc": counted_B.astype(np.float64)}
    values |= {f"{group}Acc": np.where(members_B, counted_B, np.nan) for group, members_B in groups.items()}
    return values if strictly else values | {"strict Overall Acc": strict_B.astype(np.float64)}
