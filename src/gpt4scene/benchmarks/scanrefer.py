"""ScanRefer: find the one object that a description means; the answer names a proposal."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from gpt4scene.benchmarks.labels import OTHERS
from gpt4scene.benchmarks.matching import NO_PROPOSAL, Made, Rooms, TrainingRow, wordings
from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow, RowLike, read_rows, row_keys
from gpt4scene.files.raw import Record
from gpt4scene.metrics.boxes import PUBLISHED_EPSILON, THRESHOLDS, SceneBoxes, iou, scene_boxes
from gpt4scene.metrics.object_ids import object_ids, object_mark
from gpt4scene.metrics.scores import Report, RowScores

NAME = "scanrefer"
LOOKUP = "scanrefer_unique_multiple_lookup.json"
"""File that tells unique from multiple objects."""

FALLBACK = 0
"""The proposal that the public scorer takes where an answer names none."""

REFERIT_KINDS = ("easy_dep", "easy_indep", "hard_dep", "hard_indep")
"""Values of ``type_info`` that mark questions from ReferIt3D (Nr3D, Sr3D), which come in ScanRefer's form."""


def chosen_proposal(answer: str, proposals: int) -> int | None:
    """Return the first identifier in ``answer`` that names one of ``proposals``, or ``None``."""
    return next((index for index in object_ids(answer) if index < proposals), None)


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
    counted, and the strict figures take them as wrong. Rows from ReferIt3D (``REFERIT_KINDS``) get figures by
    difficulty and view instead, and its accuracy where the proposals are the ground-truth objects. Raises
    ``DataError`` for unknown scenes and objects.
    """
    read = read_rows(rows, NAME)
    found = scene_boxes(proposals, "the proposal boxes")
    truth = scene_boxes(ground_truth, "the ground-truth boxes")
    named = [chosen_proposal(row.pred, len(found.of(row.scene_id, row.origin))) for row in read]
    overlap_B = _overlaps(read, [FALLBACK if index is None else index for index in named], found, truth)
    strict_B = np.where([index is None for index in named], 0.0, overlap_B)
    members, kinds, notes = _groups(read, lookup)
    kinds["label"] = tuple(truth.label(row.scene_id, row.gt_id) for row in read)
    everyone_B = np.ones(len(read), dtype=bool)
    groups = {"": (everyone_B, overlap_B)} | {name: (members_B, overlap_B) for name, members_B in members.items()}
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
    if is_referit(read):
        notes += _add_object_accuracy(read, named, members, (found, truth), scores, values)
    counts["unreadable answers"] = sum(index is None for index in named)
    by_row = RowScores(row_keys(read), tuple(row.scene_id for row in read), kinds, values)
    return Report(NAME, scores, counts, notes, by_row)


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
    rows: Sequence[AnswerRow], named: Sequence[int | None], groups: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return whether each row names its very object, float64[B] by metric: ReferIt3D's accuracy.

    NaN where a row does not count for a metric. ``named`` are the objects named, ``None`` where an answer names none.
    """
    right_B = np.array([(FALLBACK if n is None else n) == row.gt_id for n, row in zip(named, rows, strict=True)])
    readable_B = np.array([index is not None for index in named])
    values = {"Overall Acc": right_B.astype(np.float64)}
    values |= {f"{group}Acc": np.where(members_B, right_B, np.nan) for group, members_B in groups.items()}
    return values | {"strict Overall Acc": (right_B & readable_B).astype(np.float64)}


def _add_object_accuracy(
    rows: Sequence[AnswerRow],
    named: Sequence[int | None],
    groups: Mapping[str, np.ndarray],
    boxes: tuple[SceneBoxes, SceneBoxes],
    scores: dict[str, float],
    values: dict[str, np.ndarray],
) -> tuple[str, ...]:
    """Add ReferIt3D's accuracy to ``scores`` and ``values`` where numbers mean ground-truth objects; return notes."""
    found, truth = boxes
    if not all(np.array_equal(found[scene], truth[scene]) for scene in {row.scene_id for row in rows}):
        return ("no ReferIt3D accuracy: it chooses among ground-truth objects, and these proposals are others",)
    added = object_accuracy(rows, named, groups)
    values |= added
    scores |= {metric: float(np.nanmean(value)) for metric, value in added.items() if not np.isnan(value).all()}
    return ()


def _groups(
    rows: Sequence[AnswerRow], lookup: Mapping[str, Mapping[str, int]] | None
) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Return the rows, bool[B], that get figures of their own, breakdowns, and what is missing."""
    if is_referit(rows):
        return referit_groups(rows), {"kind": tuple(str(row.type_info) for row in rows)}, ()
    if lookup is None:
        return {}, {}, ("no unique and multiple figures: scanrefer_unique_multiple_lookup.json is missing",)
    multiple_B = np.array([_is_multiple(row, lookup) for row in rows])
    kinds = {"kind": tuple(np.where(multiple_B, "multiple", "unique").tolist())}
    return {"Unique ": ~multiple_B, "Multiple ": multiple_B}, kinds, ()


def _overlaps(rows: list[AnswerRow], named: list[int], found: SceneBoxes, truth: SceneBoxes) -> np.ndarray:
    proposals_B6 = [found.row(row.scene_id, index, row.origin) for row, index in zip(rows, named, strict=True)]
    targets_B6 = [truth.row(row.scene_id, row.gt_id, row.origin) for row in rows]
    return iou(np.array(proposals_B6), np.array(targets_B6), PUBLISHED_EPSILON)


def _is_multiple(row: AnswerRow, lookup: Mapping[str, Mapping[str, int]]) -> bool:
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
                "ref_captions": [f"{object_mark(match.proposal)}."] if match else [],
                **({"type_info": record.values["type_info"]} if "type_info" in record.values else {}),
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
        made.rows.append(TrainingRow(scene, prompt, f"{object_mark(match.proposal)}."))
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
