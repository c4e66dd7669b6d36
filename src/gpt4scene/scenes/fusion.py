"""Geometry where there is no mesh: depth frames become a cloud of coloured points, one for each voxel they fill."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import KDTree

from gpt4scene.errors import DataError
from gpt4scene.scans.images import read_color
from gpt4scene.scans.types import Frame, Mesh
from gpt4scene.scenes.depth_frames import frames_with_depth, trusted_depth
from gpt4scene.scenes.voxels import VOXEL, summed_by_group, voxel_keys

LEAST_POINTS = 2
"""Readings that a voxel needs."""
LEAST_NEIGHBOURS = 3
"""Voxels with fewer others beside them float in the air: noise."""


def fuse_depth(frames: Sequence[Frame], voxel: float = VOXEL) -> Mesh:
    """A point cloud (mesh without faces), one point and mean colour for each voxel that depth frames fill.

    Readings that cannot be trusted are left out, and voxels with fewer than ``LEAST_POINTS`` readings or fewer than
    ``LEAST_NEIGHBOURS`` others beside them. Raises DataError when no frame has depth.
    """
    tables = []
    for frame in frames_with_depth(frames):
        points, colors = _back_projected(frame)
        tables.append(_voxel_sums(voxel_keys(points, voxel), points, colors))
    keys = np.concatenate([keys for keys, _ in tables])
    sums = np.concatenate([sums for _, sums in tables])
    keys, inverse = np.unique(keys, return_inverse=True)
    total = summed_by_group(inverse, sums, len(keys))
    total = total[total[:, 6] >= LEAST_POINTS]
    if not len(total):
        raise DataError("the depth frames hold no usable reading")
    means = total[:, :6] / total[:, 6:7]
    tree = KDTree(means[:, :3])
    away, _ = tree.query(means[:, :3], k=LEAST_NEIGHBOURS + 1, distance_upper_bound=2.5 * voxel)
    means = means[np.isfinite(away).all(axis=1)]
    if not len(means):
        raise DataError("the depth frames hold no two readings of one surface; are the poses in metres?")
    colors = np.clip(np.rint(means[:, 3:]), 0, 255).astype(np.uint8)
    return Mesh(means[:, :3], np.zeros((0, 3), np.int64), colors)


def _back_projected(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """World points ``[N, 3]`` and colours ``[N, 3]`` of a frame's depth readings that can be trusted."""
    depth, camera = trusted_depth(frame)
    rows, columns = np.nonzero(depth)
    pixels = np.stack([columns, rows], axis=1)
    z = depth[rows, columns].astype(np.float64)
    points = camera.pose[:3, 3] + z[:, None] * camera.rays(pixels)
    color = read_color(frame)
    seen = np.rint(camera.pixels_in(frame.camera, pixels)).astype(np.int64)
    inside = ((seen >= 0) & (seen < [frame.camera.width, frame.camera.height])).all(axis=1)
    return points[inside], color[seen[inside, 1], seen[inside, 0]]


def _voxel_sums(keys: np.ndarray, points: np.ndarray, colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct keys, and for each the sums of position, colour and count, [K, 7]."""
    distinct, inverse = np.unique(keys, return_inverse=True)
    rows = np.concatenate([points, colors.astype(np.float64), np.ones((len(points), 1))], axis=1)
    return distinct, summed_by_group(inverse, rows, len(distinct))
