"""Normals of surfaces: of a mesh's faces, of a point cloud's points, and the direction of walls that they tell."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

MOST_POINTS = 1_000_000
"""A cloud of more points is thinned before the directions of its surfaces are estimated."""
ENOUGH_POINTS = 300_000
"""So many points tell floor and walls of any room."""
_AT_ONCE = 100_000


def area_normals(a_N3: np.ndarray, b_N3: np.ndarray, c_N3: np.ndarray) -> np.ndarray:
    """Normals of triangles, [N, 3], from their corners; each is twice as long as its triangle's area."""
    return np.cross(b_N3 - a_N3, c_N3 - a_N3)


def point_normals(points_N3: np.ndarray, neighbours: int = 16) -> np.ndarray:
    """Unit normals [N, 3], of either sign, of planes through each point's nearest neighbours."""
    tree, normals = KDTree(points_N3), np.empty((len(points_N3), 3))
    count = min(neighbours, len(points_N3))
    for start in range(0, len(points_N3), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        nearest = tree.query(points_N3[part], k=count)[1].reshape(-1, count)
        around = points_N3[nearest] - points_N3[nearest].mean(axis=1, keepdims=True)
        normals[part] = np.linalg.eigh(np.einsum("nki,nkj->nij", around, around))[1][:, :, 0]
    return normals


def some_points(points_N3: np.ndarray) -> np.ndarray:
    """The points, or of more than ``MOST_POINTS`` a random ``ENOUGH_POINTS``, the same every time, in their order."""
    if len(points_N3) <= MOST_POINTS:
        return points_N3
    chosen = np.random.default_rng(0).choice(len(points_N3), ENOUGH_POINTS, replace=False, shuffle=False)
    return points_N3[np.sort(chosen)]


def wall_angle(normals: np.ndarray, areas: np.ndarray) -> float:
    """The angle about z, modulo a quarter turn, of most wall area: fourth harmonic of the normals' directions."""
    walls = np.abs(normals[:, 2]) < 0.2
    if not walls.any():
        return 0.0
    angles = np.arctan2(normals[walls, 1], normals[walls, 0])
    return float(np.angle((areas[walls] * np.exp(4j * angles)).sum()) / 4)
