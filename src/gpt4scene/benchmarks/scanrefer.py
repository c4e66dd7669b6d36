"""ScanRefer: find the one object that a description means; the answer names a proposal."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

import numpy as np

from gpt4scene.benchmarks import answers
from gpt4scene.benchmarks.boxes import PUBLISHED_EPSILON, SceneBoxes, iou, scene_boxes
from gpt4scene.benchmarks.labels import OTHERS
from gpt4scene.benchmarks.making import NO_PROPOSAL, Made, Record, Rooms, TrainingRow, wordings
from gpt4scene.benchmarks.reports import Report, RowScores, row_keys
from gpt4scene.benchmarks.rows import PredictionRow, RowLike, read_rows
from gpt4scene.types import DataError

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
) -> Report:
    """Return the share of answers whose proposal meets IoU 0.25 and 0.5 with the object meant.

    ``proposals`` and ``ground_truth`` map a scene to its boxes (N x 6: centre, size); ``lookup`` maps scene and object
    to 0 where the object is the only one of its class there, else 1. Without it the unique and multiple figures are
    left out. An answer without a readable identifier counts as proposal ``FALLBACK``, as published; such answers are
    counted, and the strict figures take them as wrong. Raises ``DataError`` for unknown scenes and objects.
    """
    read = read_rows(rows, NAME)
    found = scene_boxes(proposals, "the proposal boxes")
    truth = scene_boxes(ground_truth, "the ground-truth boxes")
    named = [chosen_proposal(row.pred, len(found.of(row.scene_id, row.origin))) for row in read]
    overlap_B = _overlaps(read, [FALLBACK if index is None else index for index in named], found, truth)
    strict_B = np.where([index is None for index in named], 0.0, overlap_B)
    everyone_B = np.ones(len(read), dtype=bool)
    groups = {"": (everyone_B, overlap_B)}
    notes: tuple[str, ...] = ()
    kinds = {"label": tuple(truth.label(row.scene_id, row.gt_id) for row in read)}
    if lookup is None:
        notes = ("no unique and multiple figures: scanrefer_unique_multiple_lookup.json is missing",)
    else:
        multiple_B = np.array([_is_multiple(row, lookup) for row in read])
        groups |= {"Unique ": (~multiple_B, overlap_B), "Multiple ": (multiple_B, overlap_B)}
        kinds["kind"] = tuple(np.where(multiple_B, "multiple", "unique").tolist())
    groups["strict "] = (everyone_B, strict_B)
    scores, counts, values = {}, {"answers": len(read)}, {}
    for group, (members_B, overlaps_B) in groups.items():
        if not members_B.all():
            counts[group.strip().lower()] = int(members_B.sum())
        if not members_B.any():
            notes += (f"no {group.strip().lower()} figures: no such question",)
            continue
        for label, threshold in THRESHOLDS:
            metric = f"{group}Acc@{label}"
            values[metric] = np.where(members_B, overlaps_B >= threshold, np.nan)
            scores[metric] = float(np.sum(overlaps_B[members_B] >= threshold) / members_B.sum())
    counts["unreadable answers"] = sum(index is None for index in named)
    by_row = RowScores(row_keys(read), tuple(row.scene_id for row in read), kinds, values)
    return Report(NAME, scores, counts, notes, by_row)


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


def questions(records: Iterable[Record], rooms: Rooms) -> Made:
    """Return the question-file rows of official ScanRefer records; every one is kept, whatever its best IoU."""
    made, words = Made(), wordings(NAME)
    for record in records:
        scene, target = record.text("scene_id"), record.whole("object_id")
        reason = rooms.lacks(scene)
        if reason:
            made.dropped[reason] += 1
            continue
        match = rooms.match(scene, target, record.origin)
        made.rows.append(
            {
                "scene_id": scene,
                "obj_id": target,
                "qid": f"{scene}_{target}_{record.values.get('ann_id', 0)}",
                "prompt": words.choose(None, description=record.text("description")),
                "ref_captions": [f"{answers.object_mark(match.proposal)}."] if match else [],
            }
        )
    return made


def training(records: Iterable[Record], rooms: Rooms, generator: random.Random) -> Made:
    """Return a training row for every official ScanRefer record whose object has a proposal over the IoU."""
    made, words = Made(), wordings(NAME)
    for record in records:
        scene, target = record.text("scene_id"), record.whole("object_id")
        reason = rooms.lacks(scene)
        match = None if reason else rooms.good_match(scene, target, record.origin)
        if match is None:
            made.dropped[reason or NO_PROPOSAL] += 1
            continue
        prompt = words.choose(generator, description=record.text("description"))
        made.rows.append(TrainingRow(scene, prompt, f"{answers.object_mark(match.proposal)}."))
    return made


def unique_multiple(records: Iterable[Record], classes: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Return ``scene -> object -> 0 | 1``: 0 where the object is the only annotated one of its class in the scene.

    ``classes`` maps a raw object name to one of the 18 classes (``labels.read_label_map``); unknown names are others.
    """
    kinds: dict[str, dict[str, str]] = {}
    for record in records:
        name = " ".join(record.text("object_name").split("_"))
        objects = kinds.setdefault(record.text("scene_id"), {})
        objects.setdefault(str(record.whole("object_id")), classes.get(name, OTHERS))
    return {
        scene: {target: int(list(objects.values()).count(kind) != 1) for target, kind in objects.items()}
        for scene, objects in kinds.items()
    }
