"""Geometry where there is no mesh: depth frames become coloured voxels, and voxels a mesh of their outer sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter
from scipy.spatial import KDTree

from gpt4scene.errors import DataError
from gpt4scene.scans.images import read_color, read_depth
from gpt4scene.scans.types import Frame, Mesh, SceneObject
from gpt4scene.scenes.frame_choice import evenly

VOXEL = 0.02
"""Edge of a voxel in metres."""
FARTHEST = 6.0
"""Depth readings beyond this many metres are too rough for a map."""
MOST_FRAMES = 200
"""More depth frames than this add nothing to a room."""
LEAST_COMPANY = 3
"""Voxels with fewer others in reach float in the air: noise."""
_BITS = 21
_OFFSET = 1 << (_BITS - 1)


def fuse_depth(frames: Sequence[Frame], voxel: float = VOXEL, least_points: int = 2) -> Mesh:
    """A point cloud (mesh without faces), one point and mean colour for each voxel that depth frames fill.

    Readings at depth edges (flying pixels) and beyond ``FARTHEST`` are left out, and voxels with fewer than
    ``least_points`` readings or fewer than ``LEAST_COMPANY`` others beside them. Raises DataError when no frame
    has depth.
    """
    frames = [frame for frame in frames if frame.depth is not None and frame.camera.tracked]
    if not frames:
        raise DataError("the scan has neither a mesh nor depth frames with poses; one of them is needed")
    tables = []
    for index in evenly(len(frames), MOST_FRAMES):
        points, colors = back_project(frames[index])
        tables.append(_voxel_sums(voxel_keys(points, voxel), points, colors))
    keys = np.concatenate([keys for keys, _ in tables])
    sums = np.concatenate([sums for _, sums in tables])
    keys, inverse = np.unique(keys, return_inverse=True)
    total = _summed(inverse, sums, len(keys))
    total = total[total[:, 6] >= least_points]
    if not len(total):
        raise DataError("the depth frames hold no usable reading")
    means = total[:, :6] / total[:, 6:7]
    tree = KDTree(means[:, :3])
    company = tree.query(means[:, :3], k=LEAST_COMPANY + 1, distance_upper_bound=2.5 * voxel)[0]
    means = means[np.isfinite(company).all(axis=1)]
    if not len(means):
        raise DataError("the depth frames hold no two readings of one surface; are the poses in metres?")
    colors = np.clip(np.rint(means[:, 3:]), 0, 255).astype(np.uint8)
    return Mesh(means[:, :3], np.zeros((0, 3), np.int64), colors)


def back_project(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """World points ``[N, 3]`` and colours ``[N, 3]`` of a frame's depth readings that can be trusted."""
    depth = read_depth(frame)
    assert depth is not None and frame.depth_camera is not None, "the caller keeps frames with depth"
    trusted = (depth > 0.1) & (depth < FARTHEST) & ~at_edges(depth)
    rows, columns = np.nonzero(trusted)
    pixels = np.stack([columns, rows], axis=1)
    z = depth[rows, columns].astype(np.float64)
    points = frame.depth_camera.pose[:3, 3] + z[:, None] * frame.depth_camera.rays(pixels)
    color = read_color(frame)
    seen = np.rint(frame.depth_camera.pixels_in(frame.camera, pixels)).astype(np.int64)
    inside = ((seen >= 0) & (seen < [frame.camera.width, frame.camera.height])).all(axis=1)
    return points[inside], color[seen[inside, 1], seen[inside, 0]]


def voxel_keys(points_N3: np.ndarray, voxel: float) -> np.ndarray:
    """One int64 for each point's voxel; DataError for points kilometres away, which only broken poses give."""
    cells = np.floor(np.asarray(points_N3) / voxel).astype(np.int64)
    if len(cells) and np.abs(cells).max() >= _OFFSET:
        raise DataError(f"points lie {np.abs(points_N3).max():.0f} m from the origin; are the poses in metres?")
    cells += _OFFSET
    return (cells[:, 0] << (2 * _BITS)) | (cells[:, 1] << _BITS) | cells[:, 2]


def unpacked(keys_N: np.ndarray) -> np.ndarray:
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
    ones = np.ones((len(cloud.vertices), 1))
    sums = _summed(of_points, np.concatenate([cloud.colors.astype(np.float64), ones], axis=1), len(keys))
    colors = np.clip(np.rint(sums[:, :3] / sums[:, 3:]), 0, 255).astype(np.uint8)
    corner = unpacked(keys)
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


def at_edges(depth_HW: np.ndarray) -> np.ndarray:
    """Readings beside a jump in depth: sensors put points there that belong to no surface."""
    high = maximum_filter(depth_HW, size=3, mode="nearest")
    low = minimum_filter(np.where(depth_HW > 0, depth_HW, np.inf), size=3, mode="nearest")
    return (high - low) > 0.03 + 0.05 * depth_HW


def _voxel_sums(keys: np.ndarray, points: np.ndarray, colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct keys, and for each the sums of position, colour and count, [K, 7]."""
    distinct, inverse = np.unique(keys, return_inverse=True)
    rows = np.concatenate([points, colors.astype(np.float64), np.ones((len(points), 1))], axis=1)
    return distinct, _summed(inverse, rows, len(distinct))


def _summed(groups_N: np.ndarray, rows_NC: np.ndarray, count: int) -> np.ndarray:
    """Sums of rows that share a group, float64 [count, C]."""
    columns = [np.bincount(groups_N, weights=rows_NC[:, i], minlength=count) for i in range(rows_NC.shape[1])]
    return np.stack(columns, axis=1)
