"""Distances of boxes as the published generator of VSI-Bench's questions measures them: between points of a grid.

A box is filled with points 5 cm apart, those of the inner box of half its sizes are left out, and the smallest distance
of two points counts. The generator also crops the points to the box itself. Rounding then loses many of the points
that lie on the surface, so its distances are too large, by 4 to 5 cm on average and up to 21 cm. They depend on the
last bits of the boxes, and a room that is moved gets others. ``boxes.box_distances`` has the exact ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpt4scene.geometry.boxes import Boxes, box_distances

if TYPE_CHECKING:
    from scipy.spatial import KDTree

STEP = 0.05
"""Distance of neighbouring points of the grid in metres; a side that is no multiple has them a little closer."""

REACH = 0.25
"""How far above the exact distance of two boxes their closest points of the grid are looked for first, in metres."""


def sampled_distances(boxes: Boxes) -> np.ndarray:
    """Return float64[N, N]: the smallest distance of the grid points of two boxes, 0 on the diagonal."""
    from scipy.spatial import KDTree  # takes half a second

    points = [
        grid_points(center, size, axes)
        for center, size, axes in zip(boxes.centers_N3, boxes.sizes_N3, boxes.axes_N33, strict=True)
    ]
    trees = [KDTree(some) for some in points]
    exact_NN = box_distances(boxes)
    matrix_NN = np.zeros_like(exact_NN)
    for i in range(len(boxes)):
        for j in range(i):
            few, many = (i, j) if len(points[i]) < len(points[j]) else (j, i)
            away = _nearest(points[few], boxes, many, trees[many], float(exact_NN[i, j]) + REACH)
            matrix_NN[i, j] = matrix_NN[j, i] = away
    return matrix_NN


def _nearest(points_P3: np.ndarray, boxes: Boxes, box: int, tree: KDTree, limit: float) -> float:
    """Return the smallest distance of the points to those of ``box``, those within ``limit`` of the box tried first."""
    inside_P3 = (points_P3 - boxes.centers_N3[box]) @ boxes.axes_N33[box]
    near_P = np.linalg.norm(np.maximum(np.abs(inside_P3) - boxes.sizes_N3[box] / 2, 0), axis=1) <= limit
    found = tree.query(points_P3[near_P], distance_upper_bound=limit)[0].min(initial=np.inf)
    return float(found if np.isfinite(found) else tree.query(points_P3)[0].min())


def grid_points(center_3: np.ndarray, size_3: np.ndarray, axes_33: np.ndarray, step: float = STEP) -> np.ndarray:
    """Return the grid points of one box, those that rounding puts outside left out; twice as fine where none is left.

    A side shorter than the step has points on one of its ends only, and a box without volume has its corner.
    """
    counts = np.maximum(np.ceil(size_3 / step).astype(int), 1)
    sides = [np.linspace(-side / 2, side / 2, count) for side, count in zip(size_3, counts, strict=True)]
    local_P3 = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 3)
    if not size_3.all():
        return np.dot(local_P3, axes_33.T) + center_3
    local_P3 = local_P3[(np.abs(local_P3) > size_3 / 4).any(axis=1)]
    points_P3 = np.dot(local_P3, axes_33.T) + center_3
    x, y, z = (points_P3 - center_3).T
    kept_P = np.ones(len(points_P3), bool)
    for axis, side in zip(axes_33.T, size_3, strict=True):
        kept_P &= np.abs(x * axis[0] + y * axis[1] + z * axis[2]) <= side / 2
    return points_P3[kept_P] if kept_P.any() else grid_points(center_3, size_3, axes_33, step / 2)
