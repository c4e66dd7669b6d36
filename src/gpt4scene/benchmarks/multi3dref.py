"""Multi3DRefer: find every object that a description means: none, one, or several."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from gpt4scene.benchmarks.matching import NO_PROPOSAL, SHARED_PROPOSAL, Made, Rooms, TrainingRow, unstopped, wordings
from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow, RowLike, read_rows, row_keys
from gpt4scene.files.raw import Record
from gpt4scene.metrics.boxes import PUBLISHED_EPSILON, THRESHOLDS, SceneBoxes, iou, scene_boxes
from gpt4scene.metrics.object_ids import object_ids, object_mark
from gpt4scene.metrics.scores import Report, RowScores

NAME = "multi3dref"
TYPES = ("zt_w_d", "zt_wo_d", "st_w_d", "st_wo_d", "mt")
"""Zero, single or multiple targets, with or without distractors of the same class."""


def matched_f1(overlap_PG: np.ndarray) -> tuple[float, ...]:
    """Return F1 at each threshold for the IoU of P named proposals and G targets, at least one of either.

    Proposals and targets are paired one to one so that the sum of IoU is largest (in float32, as published).
    """
    named, targets = overlap_PG.shape
    overlap_PG = overlap_PG.astype(np.float32)
    rows, columns = linear_sum_assignment(overlap_PG, maximize=True)
    paired = overlap_PG[rows, columns]
    return tuple(2 * int((paired >= threshold).sum()) / (named + targets) for _, threshold in THRESHOLDS)


def _overlaps(boxes: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """Return the IoU of P boxes with G others, float64[P, G], for each pair of lists; all are compared at once."""
    first_6 = [np.repeat(named_P6, len(targets_G6), axis=0) for named_P6, targets_G6 in boxes]
    second_6 = [np.tile(targets_G6, (len(named_P6), 1)) for named_P6, targets_G6 in boxes]
    if not boxes:
        return []
    overlap = iou(np.concatenate(first_6), np.concatenate(second_6), PUBLISHED_EPSILON)
    ends = np.cumsum([len(part) for part in first_6])[:-1]
    shapes = [(len(named_P6), len(targets_G6)) for named_P6, targets_G6 in boxes]
    return [part.reshape(shape) for part, shape in zip(np.split(overlap, ends), shapes, strict=True)]


def rows_f1(
    kinds: Sequence[str], named: Sequence[Sequence[int]], proposals: Sequence[np.ndarray], targets: Sequence[np.ndarray]
) -> np.ndarray:
    """Return F1 of every row at each threshold, float64[B, 2], from its kind, identifiers, and boxes of either side.

    Rows without targets score 1 for no identifier, 0 for any. An identifier past the last proposal meets nothing.
    """
    f1_B2 = np.zeros((len(kinds), len(THRESHOLDS)))
    compared = []
    for row, kind in enumerate(kinds):
        if kind.startswith("zt"):
            f1_B2[row] = not named[row]
        elif named[row]:
            compared.append(row)
    boxes = [(_padded(proposals[row], named[row]), targets[row]) for row in compared]
    for row, overlap_PG in zip(compared, _overlaps(boxes), strict=True):
        f1_B2[row] = matched_f1(overlap_PG)
    return f1_B2


def _padded(proposals_N6: np.ndarray, named: Sequence[int]) -> np.ndarray:
    """Return the boxes of ``named``, six zeros for those past the last one."""
    index_P = np.array(named)
    inside_P = index_P < len(proposals_N6)
    boxes_P6 = np.zeros((len(named), 6))
    boxes_P6[inside_P] = proposals_N6[index_P[inside_P]]
    return boxes_P6


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
    proposals_B = [found.of(row.scene_id, row.origin) for row in read]
    targets_B = [_targets(row, truth) for row in read]
    mentioned = [object_ids(row.pred) for row in read]
    named = [[i for i in row if i < len(boxes)] for row, boxes in zip(mentioned, proposals_B, strict=True)]
    once = [list(dict.fromkeys(row)) for row in mentioned]
    said = [str(row.type_info) for row in read]
    published_B2 = rows_f1(said, named, proposals_B, targets_B)
    strict_B2 = rows_f1(said, once, proposals_B, targets_B)
    kinds = np.array(said)
    scores, values, counts = {}, {}, {"answers": len(read)}
    for group, f1_B2 in (("all", published_B2), *((kind, published_B2) for kind in TYPES), ("strict all", strict_B2)):
        members_B = kinds == group if group in TYPES else np.ones(len(read), dtype=bool)
        if not members_B.any():
            continue
        if group in TYPES:
            counts[group] = int(members_B.sum())
        for (label, _), f1_B in zip(THRESHOLDS, f1_B2.T, strict=True):
            scores[f"{group} F1@{label}"] = float(np.mean(f1_B[members_B]))
            values[f"{group} F1@{label}"] = np.where(members_B, f1_B, np.nan)
    unreadable = [
        not ids and not row.pred.strip().lower().startswith("no") for ids, row in zip(mentioned, read, strict=True)
    ]
    counts["unreadable answers"] = sum(unreadable)
    counts["dropped identifiers"] = sum(map(len, mentioned)) - sum(map(len, named))
    by_row = RowScores(row_keys(read), tuple(row.scene_id for row in read), {"kind": tuple(kinds.tolist())}, values)
    return Report(NAME, scores, counts, (), by_row)


def _targets(row: AnswerRow, truth: SceneBoxes) -> np.ndarray:
    return np.array([truth.row(row.scene_id, int(index), row.origin) for index in row.ref_captions]).reshape(-1, 6)


def _checked(rows: Iterable[RowLike]) -> list[AnswerRow]:
    read = read_rows(rows, NAME)
    for row in read:
        if row.type_info not in TYPES:
            raise DataError(f"{row.origin}: 'type_info' must be one of {', '.join(TYPES)}, found {row.type_info!r}")
        if not all(str(index).isdecimal() for index in row.ref_captions):
            raise DataError(f"{row.origin}: 'ref_captions' must be object ids, found {list(row.ref_captions)}")
        if not row.ref_captions and not str(row.type_info).startswith("zt"):
            raise DataError(f"{row.origin}: a question of kind '{row.type_info}' has no target in 'ref_captions'")
    return read


def spoken_ids(proposals: Iterable[int]) -> str:
    """Return the answer that names ``proposals``: ``No.``, ``Yes. <OBJ001>.``, ``Yes. <OBJ001> and <OBJ004>.`` …"""
    marks = [object_mark(index) for index in sorted(proposals)]
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
