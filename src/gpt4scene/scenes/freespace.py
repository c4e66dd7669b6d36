"""Space that depth frames have measured to be empty, to judge what a frame shows where its own sensor saw nothing.

A sensor reads nothing off what is far and off what is black. Behind such a pixel the fused surface may tell what is
shown, but only if no unmeasured thing can stand in between.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpt4scene.scans.types import Camera, Frame
from gpt4scene.scenes.depth_frames import FARTHEST, frames_with_depth, measured_depth, trusted_depth
from gpt4scene.scenes.frame_choice import evenly
from gpt4scene.scenes.voxels import voxel_keys

CELL = 0.2
"""Edge of a cell in metres."""
_STEP = 0.1
_MOST_POINTS = 500
_OFF, _OFF_SHARE = 0.10, 0.05
"""Metres, and share of the distance, by which a reading may differ from the surface that it is of."""
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


def seen_through(frames: Sequence[Frame], lumps: Sequence[np.ndarray]) -> np.ndarray:
    """Which sets of surface points, [N, 3] each, are not there: frames measured something behind them, bool [L].

    Each point is judged by the frames that look at it: it is seen through where as many of them measure beyond it as
    at it; one of those at it is the frame that it comes from. A set is so where most of its points that any frame has
    looked at are.
    """
    chosen = [points[evenly(len(points), _MOST_POINTS)] for points in lumps]
    if not chosen or not any(frame.depth is not None and frame.camera.tracked for frame in frames):
        return np.zeros(len(chosen), dtype=bool)
    points = np.concatenate(chosen)
    at, beyond = np.zeros(len(points), np.int64), np.zeros(len(points), np.int64)
    for frame in frames_with_depth(frames):
        depth, camera = trusted_depth(frame)
        pixels, z = camera.project(points)
        with np.errstate(invalid="ignore"):
            inside = (
                (z > 0.1)
                & (pixels > -0.5).all(axis=1)
                & (pixels < [camera.width - 0.5, camera.height - 0.5]).all(axis=1)
            )
        index = np.nonzero(inside)[0]
        places = np.rint(pixels[index]).astype(np.int64)
        reading = depth[places[:, 1], places[:, 0]].astype(np.float64)
        ahead, allowed = reading - z[index], np.maximum(_OFF, _OFF_SHARE * z[index])
        at[index] += (reading > 0) & (np.abs(ahead) <= allowed)
        beyond[index] += (reading > 0) & (ahead > allowed)
    owner = np.repeat(np.arange(len(chosen)), [len(one) for one in chosen])
    known = np.bincount(owner, weights=at + beyond > 0, minlength=len(chosen))
    gone = np.bincount(owner, weights=(beyond > 0) & (beyond >= at), minlength=len(chosen))
    return gone > known / 2


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
