"""Voxels: the cells of a regular grid that points fill, as sorted keys and as a mesh of their outer sides."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.types import Mesh, SceneObject

VOXEL = 0.02
"""Edge of a voxel in metres."""
_BITS = 21
_OFFSET = 1 << (_BITS - 1)


def voxel_keys(points_N3: np.ndarray, voxel: float) -> np.ndarray:
    """One int64 for each point's voxel; DataError for points kilometres away, which only broken poses give."""
    cells = np.floor(np.asarray(points_N3) / voxel).astype(np.int64)
    if len(cells) and np.abs(cells).max() >= _OFFSET:
        raise DataError(f"points lie {np.abs(points_N3).max():.0f} m from the origin; are the poses in metres?")
    cells += _OFFSET
    return (cells[:, 0] << (2 * _BITS)) | (cells[:, 1] << _BITS) | cells[:, 2]


def voxel_cells(keys_N: np.ndarray) -> np.ndarray:
    """Cells (whole x, y and z), int64 [N, 3], of voxel keys."""
    low = (1 << _BITS) - 1
    return np.stack([keys_N >> (2 * _BITS), (keys_N >> _BITS) & low, keys_N & low], axis=1) - _OFFSET


@dataclass(frozen=True)
class Voxels:
    """The outer sides of voxels as a ``mesh``, and which voxel each cloud point and each mesh vertex belongs to."""

    mesh: Mesh
    of_points: np.ndarray
    of_vertices: np.ndarray

    def carried(self, item: SceneObject) -> SceneObject:
        """The object with its mask moved from cloud points to mesh vertices."""
        if item.vertices is None:
            return item
        held = np.zeros(int(self.of_points.max()) + 1, dtype=bool)
        held[self.of_points[item.vertices]] = True
        return replace(item, vertices=np.nonzero(held[self.of_vertices])[0])


def voxel_mesh(cloud: Mesh, voxel: float = VOXEL) -> Voxels:
    """The voxels that a point cloud fills, each in its mean colour; so point clouds go where meshes go."""
    keys, of_points = np.unique(voxel_keys(cloud.vertices, voxel), return_inverse=True)
    sums = summed_by_group(of_points, cloud.colors, len(keys))
    colors = np.clip(np.rint(sums / np.bincount(of_points)[:, None]), 0, 255).astype(np.uint8)
    corner = voxel_cells(keys)
    quads, owners = [], []
    for axis, shift in enumerate((2 * _BITS, _BITS, 0)):
        for side in (0, 1):
            neighbour = keys + ((1 if side else -1) << shift)
            place = np.minimum(np.searchsorted(keys, neighbour), len(keys) - 1)
            outer = np.nonzero(keys[place] != neighbour)[0]
            quads.append(corner[outer, None, :] + _side(axis, side)[None])
            owners.append(outer)
    owner = np.repeat(np.concatenate(owners), 4)
    vertices = np.concatenate(quads).reshape(-1, 3) * voxel
    first = np.arange(0, len(owner), 4)[:, None]
    faces = np.concatenate([first + [0, 1, 2], first + [0, 2, 3]], axis=1).reshape(-1, 3)
    return Voxels(Mesh(vertices, faces, colors[owner]), of_points, owner)


def _side(axis: int, side: int) -> np.ndarray:
    """Corners [4, 3] of a unit cube's side, turning outwards."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    corners = np.zeros((4, 3), dtype=np.int64)
    corners[:, axis] = side
    corners[[1, 2], a] = 1
    corners[[2, 3], b] = 1
    return corners if side else corners[::-1]


def summed_by_group(groups_N: np.ndarray, rows_NC: np.ndarray, count: int) -> np.ndarray:
    """Sums of rows that share a group, float64 [count, C]."""
    columns = [np.bincount(groups_N, weights=rows_NC[:, i], minlength=count) for i in range(rows_NC.shape[1])]
    return np.stack(columns, axis=1)
