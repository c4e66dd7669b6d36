"""Multi3DRefer: find every object that a description means: none, one, or several."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from gpt4scene.benchmarks import answers
from gpt4scene.benchmarks.boxes import PUBLISHED_EPSILON, SceneBoxes, iou_matrix, scene_boxes
from gpt4scene.benchmarks.making import (
    NO_PROPOSAL,
    SHARED_PROPOSAL,
    Made,
    Record,
    Rooms,
    TrainingRow,
    unstopped,
    wordings,
)
from gpt4scene.benchmarks.reports import Report, RowScores, row_keys
from gpt4scene.benchmarks.rows import PredictionRow, RowLike, read_rows
from gpt4scene.types import DataError

NAME = "multi3dref"
TYPES = ("zt_w_d", "zt_wo_d", "st_w_d", "st_wo_d", "mt")
"""Zero, single or multiple targets, with or without distractors of the same class."""

THRESHOLDS = (("0.25", 0.25), ("0.50", 0.5))


def matched_f1(overlap_PG: np.ndarray) -> tuple[float, ...]:
    """Return F1 at each threshold for the IoU of P named proposals and G targets, at least one of either.

    Proposals and targets are paired one to one so that the sum of IoU is largest (in float32, as published).
    """
    named, targets = overlap_PG.shape
    overlap_PG = overlap_PG.astype(np.float32)
    rows, columns = linear_sum_assignment(overlap_PG, maximize=True)
    paired = overlap_PG[rows, columns]
    return tuple(2 * int((paired >= threshold).sum()) / (named + targets) for _, threshold in THRESHOLDS)


def row_f1(kind: str, named: Sequence[int], proposals_N6: np.ndarray, targets_G6: np.ndarray) -> tuple[float, ...]:
    """Return a row's F1 at each threshold. Rows without targets score 1 for no identifier, 0 for any."""
    if kind.startswith("zt"):
        return (float(not named),) * len(THRESHOLDS)
    if not named:
        return (0.0,) * len(THRESHOLDS)
    return matched_f1(iou_matrix(proposals_N6[list(named)], targets_G6, PUBLISHED_EPSILON))


def score(rows: Iterable[RowLike], proposals: Mapping[str, object], ground_truth: Mapping[str, object]) -> Report:
    """Return the mean F1 at IoU 0.25 and 0.5, over all rows and for each kind of question that occurs.

    ``proposals`` and ``ground_truth`` map a scene to its boxes (N x 6: centre, size); a row's ``ref_captions`` are
    ground-truth object ids, its ``type_info`` one of ``TYPES``. Identifiers past the last proposal are dropped and a
    repeated one counts twice, as published; the strict figures count a repeated one once and one past the last as a
    miss. Raises ``DataError`` for unknown scenes, objects and kinds.
    """
    read = _checked(rows)
    found = scene_boxes(proposals, "the proposal boxes")
    truth = scene_boxes(ground_truth, "the ground-truth boxes")
    published, strict = [], []
    dropped = unreadable = 0
    for row in read:
        proposals_N6 = found.of(row.scene_id, row.origin)
        mentioned = answers.object_ids(row.pred)
        named = [index for index in mentioned if index < len(proposals_N6)]
        published.append(row_f1(str(row.type_info), named, proposals_N6, _targets(row, truth)))
        strict.append(_strict_f1(row, mentioned, proposals_N6, _targets(row, truth)))
        dropped += len(mentioned) - len(named)
        unreadable += not mentioned and not row.pred.strip().lower().startswith("no")
    kinds = np.array([str(row.type_info) for row in read])
    scores, values, counts = {}, {}, {"answers": len(read)}
    for group, f1 in (("all", published), *((kind, published) for kind in TYPES), ("strict all", strict)):
        members_B = kinds == group if group in TYPES else np.ones(len(read), dtype=bool)
        if not members_B.any():
            continue
        if group in TYPES:
            counts[group] = int(members_B.sum())
        for (label, _), f1_B in zip(THRESHOLDS, np.array(f1).T, strict=True):
            scores[f"{group} F1@{label}"] = float(np.mean(f1_B[members_B]))
            values[f"{group} F1@{label}"] = np.where(members_B, f1_B, np.nan)
    counts |= {"unreadable answers": unreadable, "dropped identifiers": dropped}
    by_row = RowScores(row_keys(read), tuple(row.scene_id for row in read), {"kind": tuple(kinds.tolist())}, values)
    return Report(NAME, scores, counts, (), by_row)


def _strict_f1(
    row: PredictionRow, mentioned: Sequence[int], proposals_N6: np.ndarray, targets_G6: np.ndarray
) -> tuple[float, ...]:
    """Return F1 with repeated identifiers once, and identifiers past the last proposal as proposals that miss."""
    once = list(dict.fromkeys(mentioned))
    if str(row.type_info).startswith("zt") or not once:
        return row_f1(str(row.type_info), once, proposals_N6, targets_G6)
    boxes_P6 = np.array([proposals_N6[index] if index < len(proposals_N6) else np.zeros(6) for index in once])
    return matched_f1(iou_matrix(boxes_P6, targets_G6, PUBLISHED_EPSILON))


def _targets(row: PredictionRow, truth: SceneBoxes) -> np.ndarray:
    return np.array([truth.row(row.scene_id, int(index), row.origin) for index in row.ref_captions]).reshape(-1, 6)


def _checked(rows: Iterable[RowLike]) -> list[PredictionRow]:
    read = read_rows(rows, NAME)
    for row in read:
        if row.type_info not in TYPES:
            raise DataError(f"{row.origin}: 'type_info' must be one of {', '.join(TYPES)}, found {row.type_info!r}")
        if not all(str(index).isdigit() for index in row.ref_captions):
            raise DataError(f"{row.origin}: 'ref_captions' must be object ids, found {list(row.ref_captions)}")
        if not row.ref_captions and not str(row.type_info).startswith("zt"):
            raise DataError(f"{row.origin}: a question of kind '{row.type_info}' has no target in 'ref_captions'")
    return read


def spoken_ids(proposals: Iterable[int]) -> str:
    """Return the answer that names ``proposals``: ``No.``, ``Yes. <OBJ001>.``, ``Yes. <OBJ001> and <OBJ004>.`` …"""
    marks = [answers.object_mark(index) for index in sorted(proposals)]
    if not marks:
        return "No."
    if len(marks) < 3:
        return f"Yes. {' and '.join(marks)}."
    return f"Yes. {', '.join(marks[:-1])}, and {marks[-1]}."


def questions(records: Iterable[Record], rooms: Rooms) -> Made:
    """Return the question-file rows of official Multi3DRefer records; every one is kept."""
    made, words = Made(), wordings(NAME)
    for record in records:
        scene, targets = record.text("scene_id"), record.wholes("object_ids")
        reason = rooms.lacks(scene)
        if reason:
            made.dropped[reason] += 1
            continue
        for target in targets:
            rooms.ground_truth.row(scene, target, record.origin)
        made.rows.append(
            {
                "scene_id": scene,
                "obj_id": 0,
                "qid": f"{scene}_{record.values.get('ann_id', 0)}",
                "prompt": words.choose(None, description=unstopped(record.text("description"))),
                "ref_captions": targets,
                "eval_type": _kind(record),
            }
        )
    return made


def training(records: Iterable[Record], rooms: Rooms, generator: random.Random) -> Made:
    """Return training rows; one is dropped where a target has no proposal over the IoU or two targets share one."""
    made, words = Made(), wordings(NAME)
    for record in records:
        scene, targets = record.text("scene_id"), record.wholes("object_ids")
        reason = rooms.lacks(scene)
        matches = [] if reason else [rooms.good_match(scene, target, record.origin) for target in targets]
        proposals = {match.proposal for match in matches if match}
        if not reason and None in matches:
            reason = NO_PROPOSAL
        if not reason and len(proposals) < len(matches):
            reason = SHARED_PROPOSAL
        if reason:
            made.dropped[reason] += 1
            continue
        prompt = words.choose(generator, description=unstopped(record.text("description")))
        made.rows.append(TrainingRow(scene, prompt, spoken_ids(proposals)))
    return made


def _kind(record: Record) -> str:
    kind = record.text("eval_type")
    if kind not in TYPES:
        raise DataError(f"{record.origin}: 'eval_type' must be one of {', '.join(TYPES)}, found '{kind}'")
    return kind
