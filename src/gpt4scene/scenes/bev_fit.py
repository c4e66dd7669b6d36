"""Which part of a scene the bird's-eye view shows: all of it, tightly, without stray specks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.types import Camera, Mesh, SceneObject
from gpt4scene.scenes.bev_camera import BevCamera, bev_hits
from gpt4scene.scenes.floor import floor_and_cut
from gpt4scene.scenes.masks import closed, connected_parts, part_sizes
from gpt4scene.scenes.render import Raycaster


def fit_bev_camera(
    caster: Raycaster,
    objects: Sequence[SceneObject],
    cameras: Sequence[Camera],
    longest_side: int,
) -> BevCamera:
    """The camera that is tight on the scene: on all that is met from above but stray specks, and on every object's box.

    Raises DataError when nothing is met.
    """
    floor, cut = floor_and_cut(caster.mesh, cameras)
    low, high = _rough_extent(caster.mesh)
    for _ in range(4):  # each round drops specks and looks closer
        side = float((high - low).max()) or 1.0
        bev = _bev_camera(low - 0.02 * side, high + 0.02 * side, 256, floor, cut)
        found = bev_hits(caster, bev).found.reshape(bev.height, bev.width)
        if not found.any():
            raise DataError("nothing of the scene is met from above; is the mesh in metres, with z up after alignment?")
        parts = connected_parts(closed(found, 3))
        sizes = part_sizes(parts)
        kept = (sizes >= max(1.0, 0.02 * sizes.max()))[parts]
        rows, columns = np.nonzero(kept)
        corners = bev.to_metres(np.array([[columns.min(), rows.max()], [columns.max(), rows.min()]]))
        half = bev.metres_per_pixel / 2
        before, low, high = (low, high), np.maximum(corners[0] - half, low), np.minimum(corners[1] + half, high)
        if (high - low).max() > 0.8 * (before[1] - before[0]).max():
            break
    for item in objects:
        if not item.empty:
            low = np.minimum(low, (item.center - item.size / 2)[:2])
            high = np.maximum(high, (item.center + item.size / 2)[:2])
    margin = 0.02 * float((high - low).max())
    return _bev_camera(low - margin, high + margin, longest_side, floor, cut)


def _rough_extent(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest x and y of all faces but those so far out that the scene would be lost between them."""
    corners = mesh.vertices[mesh.faces][:, :, :2]
    sides = corners[:, 1:] - corners[:, :1]
    area = np.abs(sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0])
    away = corners.mean(axis=1)
    away = np.abs(away - [_heavy(away[:, axis], area, 0.5) for axis in (0, 1)]).max(axis=1)
    near = corners[away <= 10.0 + 4.0 * _heavy(away, area, 0.75)]
    return near.min(axis=(0, 1)), near.max(axis=(0, 1))


def _heavy(values_N: np.ndarray, weights_N: np.ndarray, share: float) -> float:
    """The value below which so large a share of the weight lies."""
    order = np.argsort(values_N)
    total = np.cumsum(weights_N[order])
    return float(values_N[order[np.searchsorted(total, share * total[-1])]])


def _bev_camera(low: np.ndarray, high: np.ndarray, longest_side: int, floor: float, cut: float) -> BevCamera:
    extent = np.maximum(high - low, 1e-3)
    step = float(extent.max()) / longest_side
    width, height = (max(1, min(longest_side, int(np.ceil(side / step - 1e-6)))) for side in extent)
    return BevCamera(float(low[0]), float(high[1]), step, width, height, cut, floor)
