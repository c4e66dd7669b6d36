"""Space that depth frames have measured to be empty, to judge what a frame shows where its own sensor saw nothing.

A sensor reads nothing off what is far and off what is black. Behind such a pixel the fused surface may tell what is
shown, but only if no unmeasured thing can stand in between.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpt4scene.scans.types import Camera, Frame
from gpt4scene.scenes.depth_frames import FARTHEST, frames_with_depth, measured_depth
from gpt4scene.scenes.voxels import voxel_keys

CELL = 0.2
"""Edge of a cell in metres."""
_STEP = 0.1
_UNKNOWN_ALLOWED = 0.4
"""Metres of a ray that may lead through cells which nobody measured; a cupboard is deeper."""


class FreeSpace:
    """The cells between cameras and their depth readings."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        """Walks along every twelfth row's and column's reading of the depth frames; DataError when there is none."""
        self._free = np.unique(np.concatenate([_measured_cells(frame) for frame in frames_with_depth(frames)]))

    def leads_to(self, camera: Camera, pixels_N2: np.ndarray, depth_N: np.ndarray) -> np.ndarray:
        """Whether pixels see through measured emptiness up to a depth along the viewing axis, bool [N]."""
        reach = np.where(np.isfinite(depth_N), depth_N, 0.0) - CELL
        points, inside = _walk(camera, pixels_N2, reach)
        known = np.zeros(inside.shape, dtype=bool)
        if len(self._free):
            keys = voxel_keys(points[inside], CELL)
            place = np.minimum(np.searchsorted(self._free, keys), len(self._free) - 1)
            known[inside] = self._free[place] == keys
        unknown = (inside & ~known).sum(axis=1) * _STEP
        return np.isfinite(depth_N) & (unknown <= _UNKNOWN_ALLOWED)


def _measured_cells(frame: Frame) -> np.ndarray:
    """Keys of the cells that lead to a frame's readings, sorted."""
    depth, camera = measured_depth(frame)
    rows, columns = np.nonzero(depth[6::12, 6::12])
    pixels = np.stack([columns, rows], axis=1) * 12 + 6
    reach = np.minimum(depth[pixels[:, 1], pixels[:, 0]], FARTHEST) - CELL
    points, inside = _walk(camera, pixels, reach)
    return np.unique(voxel_keys(points[inside], CELL))


def _walk(camera: Camera, pixels_N2: np.ndarray, reach_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points [N, S, 3] every ``_STEP`` along pixels' rays, and which come before ``reach_N``, bool [N, S]."""
    farthest = float(reach_N.max(initial=0.0))
    steps = np.arange(0.3, max(farthest, 0.3) + _STEP, _STEP)
    points = camera.pose[:3, 3] + camera.rays(pixels_N2)[:, None, :] * steps[None, :, None]
    return points, steps[None, :] < reach_N[:, None]
