"""ScanRefer: find the one object that a description means; the answer names a proposal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from gpt4scene.benchmarks import answers
from gpt4scene.benchmarks.boxes import PUBLISHED_EPSILON, SceneBoxes, iou, scene_boxes
from gpt4scene.benchmarks.rows import PredictionRow, RowLike, read_rows
from gpt4scene.types import DataError, ScoreReport

NAME = "scanrefer"
THRESHOLDS = (("0.25", 0.25), ("0.50", 0.5))
"""IoU thresholds: as they stand in metric names, and as numbers."""

FALLBACK = 0
"""The proposal that the public scorer takes where an answer names none."""


def chosen_proposal(answer: str, proposals: int) -> int | None:
    """Return the first identifier in ``answer`` that names one of ``proposals``, or ``None``."""
    return next((index for index in answers.object_ids(answer) if index < proposals), None)


def score(
    rows: Iterable[RowLike],
    proposals: Mapping[str, object],
    ground_truth: Mapping[str, object],
    lookup: Mapping[str, Mapping[str, int]] | None = None,
) -> ScoreReport:
    """Return the share of answers whose proposal meets IoU 0.25 and 0.5 with the object meant.

    ``proposals`` and ``ground_truth`` map a scene to its boxes (N x 6: centre, size); ``lookup`` maps scene and object
    to 0 where the object is the only one of its class there, else 1. Without it the unique and multiple figures are
    left out. An answer without a readable identifier counts as proposal ``FALLBACK``, as published; such answers are
    counted. Raises ``DataError`` for unknown scenes and objects.
    """
    read = read_rows(rows, NAME)
    found = scene_boxes(proposals, "the proposal boxes")
    truth = scene_boxes(ground_truth, "the ground-truth boxes")
    named = [chosen_proposal(row.pred, len(found.of(row.scene_id, row.origin))) for row in read]
    overlap_B = _overlaps(read, [FALLBACK if index is None else index for index in named], found, truth)
    groups = {"": np.ones(len(read), dtype=bool)}
    notes: tuple[str, ...] = ()
    if lookup is None:
        notes = ("no unique and multiple figures: scanrefer_unique_multiple_lookup.json is missing",)
    else:
        multiple_B = np.array([_is_multiple(row, lookup) for row in read])
        groups |= {"Unique ": ~multiple_B, "Multiple ": multiple_B}
    scores, counts = {}, {"answers": len(read)}
    for group, members_B in groups.items():
        if group:
            counts[group.strip().lower()] = int(members_B.sum())
        if not members_B.any():
            notes += (f"no {group.strip().lower()} figures: no such question",)
            continue
        for label, threshold in THRESHOLDS:
            scores[f"{group}Acc@{label}"] = float(np.sum(overlap_B[members_B] >= threshold) / members_B.sum())
    counts["unreadable answers"] = sum(index is None for index in named)
    return ScoreReport(NAME, scores, counts, notes)


def _overlaps(rows: list[PredictionRow], named: list[int], found: SceneBoxes, truth: SceneBoxes) -> np.ndarray:
    proposals_B6 = [found.row(row.scene_id, index, row.origin) for row, index in zip(rows, named, strict=True)]
    targets_B6 = [truth.row(row.scene_id, row.gt_id, row.origin) for row in rows]
    return iou(np.array(proposals_B6), np.array(targets_B6), PUBLISHED_EPSILON)


def _is_multiple(row: PredictionRow, lookup: Mapping[str, Mapping[str, int]]) -> bool:
    kind = lookup.get(row.scene_id, {}).get(str(row.gt_id))
    if kind is None:
        raise DataError(
            f"{row.origin}: object {row.gt_id} of scene '{row.scene_id}' is not in "
            "scanrefer_unique_multiple_lookup.json; is that the file of another split?"
        )
    return kind != 0
