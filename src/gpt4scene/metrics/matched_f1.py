"""F1 of named boxes against target boxes, paired one to one (Multi3DRefer)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpt4scene.metrics.boxes import PUBLISHED_EPSILON, THRESHOLDS, iou


def matched_f1(overlap_PG: np.ndarray) -> tuple[float, ...]:
    """Return F1 at each threshold for the IoU of P named proposals and G targets, at least one of either.

    Proposals and targets are paired one to one so that the sum of IoU is largest (in float32, as published).
    """
    named, targets = overlap_PG.shape
    overlap_PG = overlap_PG.astype(np.float32)
    rows, columns = _pairing(overlap_PG)
    paired = overlap_PG[rows, columns]
    return tuple(2 * int((paired >= threshold).sum()) / (named + targets) for _, threshold in THRESHOLDS)


def _pairing(overlap_PG: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from scipy.optimize import linear_sum_assignment  # takes a second

    return linear_sum_assignment(overlap_PG, maximize=True)


def best_pairs(named_P6: np.ndarray, targets_G6: np.ndarray) -> list[tuple[int, int, float]]:
    """Return the pairs that F1 counts: place of the named box, place of the target, and their IoU."""
    if not len(named_P6) or not len(targets_G6):
        return []
    overlap_PG = _overlaps([(named_P6, targets_G6)])[0].astype(np.float32)
    rows, columns = _pairing(overlap_PG)
    return [(int(row), int(column), float(overlap_PG[row, column])) for row, column in zip(rows, columns, strict=True)]


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
    none_meant: Sequence[bool],
    named: Sequence[Sequence[int]],
    proposals: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
) -> np.ndarray:
    """Return F1 of every row at each threshold, float64[B, 2], from its identifiers and the boxes of either side.

    Rows in which ``none_meant`` score 1 for no identifier, 0 for any. An identifier past the last proposal meets
    nothing.
    """
    f1_B2 = np.zeros((len(named), len(THRESHOLDS)))
    compared = []
    for row, none in enumerate(none_meant):
        if none:
            f1_B2[row] = not named[row]
        elif named[row]:
            compared.append(row)
    boxes = [(padded(proposals[row], named[row]), targets[row]) for row in compared]
    for row, overlap_PG in zip(compared, _overlaps(boxes), strict=True):
        f1_B2[row] = matched_f1(overlap_PG)
    return f1_B2


def padded(proposals_N6: np.ndarray, named: Sequence[int]) -> np.ndarray:
    """Return the boxes of ``named``, float64[P, 6], six zeros for those past the last one."""
    index_P = np.array(named, dtype=np.int64)
    inside_P = index_P < len(proposals_N6)
    boxes_P6 = np.zeros((len(named), 6))
    boxes_P6[inside_P] = proposals_N6[index_P[inside_P]]
    return boxes_P6
