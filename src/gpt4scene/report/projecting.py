"""Boxes as a camera or a bird's-eye view shows them: lines in pixels, cut where they pass behind the camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpt4scene.files.prepared import SceneBev, SceneFrame

NEAR = 0.05
"""Metres ahead of the camera from which a box is drawn."""

_CORNERS_83 = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_EDGES = tuple(
    (one, other)
    for one in range(8)
    for other in range(one + 1, 8)
    if abs(_CORNERS_83[one] - _CORNERS_83[other]).sum() == 1
)


@dataclass(frozen=True)
class Projected:
    """A box in an image, in pixels whose corner (0, 0) is the image's upper left one.

    ``lines_E22`` are its edges inside the image, ``outline_K2`` is the convex line around them there.
    ``inside`` is the share of its corners that lie in the image and ahead of the camera, ``area`` the share of the
    image that it covers.
    """

    lines_E22: np.ndarray
    outline_K2: np.ndarray
    inside: float
    area: float


def in_frame(box_6: np.ndarray, frame: SceneFrame) -> Projected | None:
    """Return the box as ``frame`` shows it; ``None`` where it lies behind the camera or beside the image.

    ``box_6`` is centre and size in metres in the aligned frame.
    """
    corners_83 = np.concatenate([corners_of(box_6), np.ones((8, 1))], axis=1)
    local_83 = (corners_83 @ np.linalg.inv(frame.pose_44).T)[:, :3]
    ahead_8 = local_83[:, 2] >= NEAR
    lines = [_ahead(local_83[one], local_83[other]) for one, other in _EDGES if ahead_8[one] or ahead_8[other]]
    if not lines:
        return None
    lines_E22 = _pixels(np.array(lines).reshape(-1, 3), frame).reshape(-1, 2, 2)
    corners_K2 = _pixels(local_83[ahead_8], frame)
    return _projected(lines_E22, corners_K2, 8, (frame.width, frame.height))


def from_above(box_6: np.ndarray, bev: SceneBev) -> Projected | None:
    """Return the box as the bird's-eye view shows it: a rectangle; ``None`` where it lies beside the image."""
    low_2, high_2 = box_6[:2] - box_6[3:5] / 2, box_6[:2] + box_6[3:5] / 2
    left, right = (np.array([low_2[0], high_2[0]]) - bev.x_left) / bev.metres_per_pixel
    top, bottom = (bev.y_top - np.array([high_2[1], low_2[1]])) / bev.metres_per_pixel
    corners_42 = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    lines_422 = np.stack([corners_42, np.roll(corners_42, -1, axis=0)], axis=1)
    return _projected(lines_422, corners_42, 4, (bev.width, bev.height))


def corners_of(box_6: np.ndarray) -> np.ndarray:
    """Return the eight corners of a box, float64[8, 3]."""
    return _CORNERS_83 * box_6[3:] + box_6[:3]


def _ahead(one_3: np.ndarray, other_3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of an edge that is ahead of the camera; one of its ends is."""
    near, far = sorted((one_3, other_3), key=lambda point_3: point_3[2])
    if near[2] < NEAR:
        near = near + (far - near) * (NEAR - near[2]) / (far[2] - near[2])
    return near, far


def _pixels(local_N3: np.ndarray, frame: SceneFrame) -> np.ndarray:
    """Return where points of the camera's frame are drawn: half a pixel past the places that count middles."""
    image_N3 = local_N3 @ frame.intrinsics_33.T
    return image_N3[:, :2] / image_N3[:, 2:] + 0.5


def _projected(lines_E22: np.ndarray, corners_K2: np.ndarray, corners: int, size: tuple[int, int]) -> Projected | None:
    """Return the lines with their outline; of ``corners``, those in ``corners_K2`` are ahead of the camera."""
    outline_K2 = clipped(convex(lines_E22.reshape(-1, 2)), size)
    area = area_of(outline_K2) / (size[0] * size[1])
    if area <= 0:
        return None
    drawn = [line_22 for line in lines_E22 if (line_22 := clipped_line(line, size)) is not None]
    inside_K = ((corners_K2 >= 0) & (corners_K2 <= size)).all(axis=1)
    return Projected(np.array(drawn).reshape(-1, 2, 2), outline_K2, float(inside_K.sum()) / corners, area)


def convex(points_N2: np.ndarray) -> np.ndarray:
    """Return the corners of the smallest convex shape around points, float64[K, 2], in one direction around."""
    points = sorted(set(map(tuple, np.asarray(points_N2, dtype=np.float64).tolist())))
    if len(points) < 3:
        return np.array(points).reshape(-1, 2)
    halves = [_half(points), _half(points[::-1])]
    return np.array([point for half in halves for point in half[:-1]])


def _half(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for point in points:
        while len(found) > 1 and _turn(found[-2], found[-1], point) <= 0:
            found.pop()
        found.append(point)
    return found


def _turn(one: Sequence[float], two: Sequence[float], three: Sequence[float]) -> float:
    return (two[0] - one[0]) * (three[1] - one[1]) - (two[1] - one[1]) * (three[0] - one[0])


def clipped(shape_K2: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the part of a convex shape that lies in an image of ``size`` (width, height), float64[K, 2]."""
    for axis, limit in enumerate(size):
        for sign, bound in ((1, 0.0), (-1, -float(limit))):
            kept: list[np.ndarray] = []
            for last, here in zip(np.roll(shape_K2, 1, axis=0), shape_K2, strict=True):
                before, now = sign * last[axis] - bound, sign * here[axis] - bound
                if (before < 0) != (now < 0):
                    kept.append(last + (here - last) * before / (before - now))
                if now >= 0:
                    kept.append(here)
            shape_K2 = np.array(kept).reshape(-1, 2)
    return shape_K2


def clipped_line(line_22: np.ndarray, size: tuple[int, int]) -> np.ndarray | None:
    """Return the part of a line that lies in an image of ``size``, float64[2, 2]; ``None`` where none does."""
    start_2, way_2 = line_22[0], line_22[1] - line_22[0]
    first, last = 0.0, 1.0
    for axis, limit in enumerate(size):
        if way_2[axis] == 0:
            if not 0 <= start_2[axis] <= limit:
                return None
            continue
        enter, leave = sorted((-start_2[axis] / way_2[axis], (limit - start_2[axis]) / way_2[axis]))
        first, last = max(first, enter), min(last, leave)
    return np.array([start_2 + first * way_2, start_2 + last * way_2]) if first < last else None


def area_of(shape_K2: np.ndarray) -> float:
    """Return the area of a shape without holes in square pixels."""
    x, y = shape_K2[:, 0], shape_K2[:, 1]
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2) if len(shape_K2) > 2 else 0.0
