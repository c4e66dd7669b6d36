"""Oriented boxes, all pairs at once: whether they meet, how far apart they are, in space and seen from above.

A distance is exact: the closest points of two convex bodies that do not meet lie on a corner of one and anywhere on
the other, or on an edge of each. Shape letters: N boxes, P pairs of boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpt4scene.geometry.room import CORNER_SIGNS_83, RoomObject

SLACK = 1e-6
"""Added to every projection of the separating test, so that parallel edges do not make a false axis (as published)."""

EDGES_122 = np.array(
    [(i, j) for i in range(8) for j in range(i + 1, 8) if np.sum(CORNER_SIGNS_83[i] != CORNER_SIGNS_83[j]) == 1]
)
"""The twelve edges of a box as places of their two ends in its corners."""

PAIRS_AT_ONCE = 4096
"""How many pairs of boxes are compared in one step; it bounds the memory to about 50 MB."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """N boxes: centres, sizes, and axes whose columns are the directions of the sides."""

    centers_N3: np.ndarray
    sizes_N3: np.ndarray
    axes_N33: np.ndarray

    @property
    def corners_N83(self) -> np.ndarray:
        """The corners of every box."""
        halves_N83 = CORNER_SIGNS_83 * (self.sizes_N3[:, None] / 2)
        return self.centers_N3[:, None] + halves_N83 @ self.axes_N33.transpose(0, 2, 1)

    def __len__(self) -> int:
        return len(self.centers_N3)


def boxes_of(objects: Sequence[RoomObject]) -> Boxes:
    """Return the boxes of ``objects`` in their order."""
    return Boxes(
        np.array([item.center_3 for item in objects]).reshape(-1, 3),
        np.array([item.size_3 for item in objects]).reshape(-1, 3),
        np.array([item.axes_33 for item in objects]).reshape(-1, 3, 3),
    )


def boxes_meet(boxes: Boxes) -> np.ndarray:
    """Return bool[N, N]: do two boxes share a point? Touching counts. (Separating axes, all 15.)"""
    return _symmetric(boxes, lambda first, second: _meeting_pairs(boxes, first, second), True, bool)


def _meeting_pairs(boxes: Boxes, first_P: np.ndarray, second_P: np.ndarray) -> np.ndarray:
    axes_1, axes_2 = boxes.axes_N33[first_P], boxes.axes_N33[second_P]
    half_1, half_2 = boxes.sizes_N3[first_P] / 2, boxes.sizes_N3[second_P] / 2
    turn_P33 = axes_1.transpose(0, 2, 1) @ axes_2
    offset_P3 = np.einsum("pji,pj->pi", axes_1, boxes.centers_N3[second_P] - boxes.centers_N3[first_P])
    size_P33 = np.abs(turn_P33) + SLACK
    apart = (np.abs(offset_P3) > half_1 + np.einsum("pij,pj->pi", size_P33, half_2)).any(axis=1)
    along_P3 = np.abs(np.einsum("pi,pij->pj", offset_P3, turn_P33))
    apart |= (along_P3 > np.einsum("pi,pij->pj", half_1, size_P33) + half_2).any(axis=1)
    for i in range(3):
        i1, i2 = (i + 1) % 3, (i + 2) % 3
        for j in range(3):
            j1, j2 = (j + 1) % 3, (j + 2) % 3
            reach = half_1[:, i1] * size_P33[:, i2, j] + half_1[:, i2] * size_P33[:, i1, j]
            reach += half_2[:, j1] * size_P33[:, i, j2] + half_2[:, j2] * size_P33[:, i, j1]
            apart |= np.abs(offset_P3[:, i2] * turn_P33[:, i1, j] - offset_P3[:, i1] * turn_P33[:, i2, j]) > reach
    return ~apart


def first_two_sides_meet(boxes: Boxes) -> np.ndarray:
    """Return bool[N, N]: do the rectangles of the first two sides meet, laid flat at the centres? Touching counts.

    This is what ReVSI calls overlap seen from above. It is the footprint only where the third axis points up. A first
    axis that points up has no direction from above, and x takes its place.
    """
    across_N2 = boxes.axes_N33[:, :2, 0]
    length_N = np.linalg.norm(across_N2, axis=1, keepdims=True)
    across_N2 = np.where(length_N > SLACK, across_N2 / np.maximum(length_N, SLACK), [1.0, 0.0])
    axes_N22 = np.stack([across_N2, np.stack([-across_N2[:, 1], across_N2[:, 0]], axis=1)], axis=2)
    half_N2 = boxes.sizes_N3[:, :2] / 2

    def pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        turn_P22 = axes_N22[first].transpose(0, 2, 1) @ axes_N22[second]
        offset_P2 = np.einsum("pji,pj->pi", axes_N22[first], boxes.centers_N3[second, :2] - boxes.centers_N3[first, :2])
        size_P22 = np.abs(turn_P22) + SLACK
        apart = np.abs(offset_P2) > half_N2[first] + np.einsum("pij,pj->pi", size_P22, half_N2[second])
        along_P2 = np.abs(np.einsum("pi,pij->pj", offset_P2, turn_P22))
        apart |= along_P2 > np.einsum("pi,pij->pj", half_N2[first], size_P22) + half_N2[second]
        return ~apart.any(axis=1)

    return _symmetric(boxes, pairs, True, bool)


def box_distances(boxes: Boxes) -> np.ndarray:
    """Return float64[N, N]: the distance in metres of the closest points of two boxes, 0 where they meet."""
    corners_N83 = boxes.corners_N83
    meet_NN = boxes_meet(boxes)

    def pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        away = np.minimum(
            _to_boxes(corners_N83[first], boxes, second).min(axis=1),
            _to_boxes(corners_N83[second], boxes, first).min(axis=1),
        )
        away = np.minimum(away, _between_edges(corners_N83[first], corners_N83[second]))
        return np.where(meet_NN[first, second], 0.0, away)

    return _symmetric(boxes, pairs, 0.0, float)


def flat_distances(boxes: Boxes) -> np.ndarray:
    """Return float64[N, N]: the distance of two boxes seen from above, 0 where their outlines meet.

    The outline is what the whole box covers, tilted or not.
    """
    corners_N83 = boxes.corners_N83 * [1.0, 1.0, 0.0]
    normals_N32 = np.stack([-boxes.axes_N33[:, 1], boxes.axes_N33[:, 0]], axis=2)

    def pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        apart = np.zeros(len(first), bool)
        for normals_P32 in (normals_N32[first], normals_N32[second]):
            along_1 = np.einsum("pcx,pnx->pnc", corners_N83[first, :, :2], normals_P32)
            along_2 = np.einsum("pcx,pnx->pnc", corners_N83[second, :, :2], normals_P32)
            gap_P3 = np.maximum(along_1.min(2) - along_2.max(2), along_2.min(2) - along_1.max(2))
            apart |= (gap_P3 > 0).any(axis=1)
        return np.where(apart, _between_edges(corners_N83[first], corners_N83[second]), 0.0)

    return _symmetric(boxes, pairs, 0.0, float)


def _symmetric(boxes: Boxes, pairs, own: object, kind: type) -> np.ndarray:
    """Return the symmetric matrix of ``pairs(first, second)``, with ``own`` on its diagonal."""
    matrix_NN = np.full((len(boxes), len(boxes)), own, dtype=kind)
    first, second = np.triu_indices(len(boxes), 1)
    for start in range(0, len(first), PAIRS_AT_ONCE):
        some_1, some_2 = first[start : start + PAIRS_AT_ONCE], second[start : start + PAIRS_AT_ONCE]
        matrix_NN[some_1, some_2] = matrix_NN[some_2, some_1] = pairs(some_1, some_2)
    return matrix_NN


def _to_boxes(points_PC3: np.ndarray, boxes: Boxes, which_P: np.ndarray) -> np.ndarray:
    """Return float64[P, C]: distance of each point to the box of its pair, 0 inside."""
    inside_PC3 = (points_PC3 - boxes.centers_N3[which_P, None]) @ boxes.axes_N33[which_P]
    return np.linalg.norm(np.maximum(np.abs(inside_PC3) - boxes.sizes_N3[which_P, None] / 2, 0), axis=2)


def _between_edges(corners_P83: np.ndarray, others_P83: np.ndarray) -> np.ndarray:
    """Return float64[P]: the smallest distance of an edge of one box to an edge of the other."""
    start_1, start_2 = corners_P83[:, EDGES_122[:, 0], None], others_P83[:, None, EDGES_122[:, 0]]
    way_1 = corners_P83[:, EDGES_122[:, 1], None] - start_1
    way_2 = others_P83[:, None, EDGES_122[:, 1]] - start_2
    between = start_1 - start_2
    a, e, b = _dot(way_1, way_1), _dot(way_2, way_2), _dot(way_1, way_2)
    c, f = _dot(way_1, between), _dot(way_2, between)
    s = np.clip(_ratio(b * f - c * e, a * e - b * b), 0, 1)
    t = np.clip(_ratio(b * s + f, e), 0, 1)
    s = np.clip(_ratio(b * t - c, a), 0, 1)
    rest = between + way_1 * s[..., None] - way_2 * t[..., None]
    return np.sqrt(_dot(rest, rest).min(axis=(1, 2)))


def _dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.einsum("...i,...i->...", first, second)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """``above / below``, and 0 where two edges are parallel or one has no length."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.zeros(above.shape), where=below > 1e-12)
