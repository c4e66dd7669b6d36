"""How much of an object a frame shows: what is visible of it against the outline of its box, both in pixels."""

from __future__ import annotations

import numpy as np

from gpt4scene.geometry.boxes import EDGES_122
from gpt4scene.geometry.hull import hull_area
from gpt4scene.geometry.room import RoomObject

NEAR = 0.05
"""Metres in front of the camera where what it sees begins."""


def visible_share(
    item: RoomObject, pose_44: np.ndarray, intrinsics_33: np.ndarray, size: tuple[int, int], area: float
) -> float:
    """Return the visible part of an object, 0 to 1, where ``area`` is the share of the image that it covers.

    ``size`` is the image's width and height. The whole is the outline of the object's box as the camera would see it
    with nothing in front and no end of the image, so that legs of chairs come to less than 1 even in full view.
    """
    outline = outline_pixels(item, pose_44, intrinsics_33)
    return 1.0 if outline <= 0 else float(min(1.0, area * size[0] * size[1] / outline))


def outline_pixels(item: RoomObject, pose_44: np.ndarray, intrinsics_33: np.ndarray) -> float:
    """Return the area in pixels of a box as a camera sees it; 0 where it is behind the camera."""
    local_83 = (item.corners_83 - pose_44[:3, 3]) @ pose_44[:3, :3]
    ahead = local_83[:, 2] >= NEAR
    points = [local_83[ahead]]
    for one, other in EDGES_122:
        if ahead[one] != ahead[other]:
            share = (NEAR - local_83[one, 2]) / (local_83[other, 2] - local_83[one, 2])
            points.append(local_83[one : one + 1] + share * (local_83[other] - local_83[one]))
    seen_N3 = np.concatenate(points)
    if len(seen_N3) < 3:
        return 0.0
    pixels_N3 = seen_N3 @ intrinsics_33.T
    return hull_area(pixels_N3[:, :2] / pixels_N3[:, 2:3])
