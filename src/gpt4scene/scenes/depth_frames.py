"""Frames with depth: which of them are used, and which of their readings can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

from gpt4scene.errors import DataError
from gpt4scene.scans.images import read_depth
from gpt4scene.scans.types import Camera, Frame
from gpt4scene.scenes.frame_choice import evenly

FARTHEST = 6.0
"""Depth readings beyond this many metres are too rough for a map."""
MOST_FRAMES = 200
"""More depth frames than this add nothing to a scene."""


def frames_with_depth(frames: Sequence[Frame]) -> list[Frame]:
    """The frames with depth and a pose, at most ``MOST_FRAMES``, evenly spaced; DataError when there is none."""
    found = [frame for frame in frames if frame.depth is not None and frame.camera.tracked]
    if not found:
        raise DataError("the scan has neither a mesh nor depth frames with poses; one of them is needed")
    return [found[index] for index in evenly(len(found), MOST_FRAMES)]


def measured_depth(frame: Frame) -> tuple[np.ndarray, Camera]:
    """All readings of a frame that has depth, metres float32 [h, w], and the camera that took them."""
    depth = read_depth(frame)
    assert depth is not None and frame.depth_camera is not None, "the caller keeps frames with depth"
    return depth, frame.depth_camera


def trusted_depth(frame: Frame) -> tuple[np.ndarray, Camera]:
    """The readings of ``measured_depth`` that can be trusted, 0 elsewhere, and their camera.

    Left out are readings beside a jump in depth (flying pixels), below 0.1 m, and from ``FARTHEST`` on.
    """
    depth, camera = measured_depth(frame)
    return np.where((depth > 0.1) & (depth < FARTHEST) & ~_at_edges(depth), depth, np.float32(0)), camera


def _at_edges(depth_HW: np.ndarray) -> np.ndarray:
    """Readings beside a jump in depth: sensors put points there that belong to no surface."""
    high = maximum_filter(depth_HW, size=3, mode="nearest")
    low = minimum_filter(np.where(depth_HW > 0, depth_HW, np.inf), size=3, mode="nearest")
    return (high - low) > 0.03 + 0.05 * depth_HW
