"""Normals of surfaces: of a mesh's faces, of a point cloud's points, and the direction of walls that they tell."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree


def area_normals(a_N3: np.ndarray, b_N3: np.ndarray, c_N3: np.ndarray) -> np.ndarray:
    """Normals of triangles, [N, 3], from their corners; each is twice as long as its triangle's area."""
    return np.cross(b_N3 - a_N3, c_N3 - a_N3)


def point_normals(points_N3: np.ndarray, neighbours: int = 16) -> np.ndarray:
    """Unit normals [N, 3], of either sign, of planes through each point's nearest neighbours."""
    _, nearest = KDTree(points_N3).query(points_N3, k=min(neighbours, len(points_N3)))
    around = points_N3[nearest] - points_N3[nearest].mean(axis=1, keepdims=True)
    _, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", around, around))
    return vectors[:, :, 0]


def wall_angle(normals: np.ndarray, areas: np.ndarray) -> float:
    """The angle about z, modulo a quarter turn, of most wall area: fourth harmonic of the normals' directions."""
    walls = np.abs(normals[:, 2]) < 0.2
    if not walls.any():
        return 0.0
    angles = np.arctan2(normals[walls, 1], normals[walls, 0])
    return float(np.angle((areas[walls] * np.exp(4j * angles)).sum()) / 4)
