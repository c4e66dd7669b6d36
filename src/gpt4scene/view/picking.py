"""What a click means: the object, or the marked frame, that lies under the pointer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gpt4scene.files.prepared import SceneBox, SceneFrame

NEAR = 0.02
"""Metres beside the ray, for each metre along it, in which a point counts as hit; at least this much."""
SLACK = 0.03
"""Metres beside a box where points of its object may lie."""


@dataclass(frozen=True)
class Ray:
    """A half-line in the aligned frame; ``direction`` has length 1."""

    origin: np.ndarray
    direction: np.ndarray

    @classmethod
    def of(cls, origin: Sequence[float], direction: Sequence[float]) -> Ray:
        """Return the ray with a direction of any length."""
        vector = np.asarray(direction, dtype=np.float64)
        return cls(np.asarray(origin, dtype=np.float64), vector / max(float(np.linalg.norm(vector)), 1e-12))


@dataclass(frozen=True)
class Picked:
    """What was hit first, and how far away in metres."""

    kind: Literal["object", "frame"]
    number: int
    away: float


def first_point(ray: Ray, places_N3: np.ndarray) -> float | None:
    """Return how far along ``ray`` the first point beside it lies, ``None`` where there is none."""
    if not len(places_N3):
        return None
    local = places_N3 - ray.origin.astype(np.float32)
    along = local @ ray.direction.astype(np.float32)
    beside = np.einsum("nd,nd->n", local, local) - along * along
    hit = (along > 0.05) & (beside < np.square(NEAR * np.maximum(along * 0.5, 1)))
    return float(along[hit].min()) if hit.any() else None


def box_hits(ray: Ray, boxes: Sequence[SceneBox], slack: float = 0.0) -> np.ndarray:
    """Return how far along ``ray`` it enters and leaves each box, float64 [N, 2]; infinite where it does not."""
    if not boxes:
        return np.zeros((0, 2))
    centers = np.array([box.center for box in boxes]) - ray.origin
    halves = np.array([box.size for box in boxes]) / 2 + slack
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (centers - halves) / ray.direction, (centers + halves) / ray.direction
    enter = np.nanmax(np.minimum(first, second), axis=1)
    leave = np.nanmin(np.maximum(first, second), axis=1)
    missed = (enter > leave) | (leave < 0)
    return np.where(missed[:, None], np.inf, np.stack([np.maximum(enter, 0), leave], axis=1))


def picked_object(ray: Ray, boxes: Sequence[SceneBox], places_N3: np.ndarray) -> Picked | None:
    """Return the object under the pointer.

    Where the ray meets a point, it is the smallest box around that point. Else it is the smallest box on the ray, since
    a large one may hide a small one. ``None`` where the ray meets no box.
    """
    solid = [box for box in boxes if any(box.size)]
    hits_N2 = box_hits(ray, solid, SLACK)
    on_ray = np.flatnonzero(np.isfinite(hits_N2[:, 0]))
    if not len(on_ray):
        return None
    at = first_point(ray, places_N3)
    if at is not None:
        around = [number for number in on_ray if hits_N2[number, 0] - SLACK <= at <= hits_N2[number, 1] + SLACK]
        if not around:
            before = [number for number in on_ray if hits_N2[number, 0] < at]
            if not before:
                return None
            around = before
        on_ray = np.array(around)
    best = min(on_ray, key=lambda number: float(np.prod(np.maximum(solid[number].size, 0.01))))
    return Picked("object", solid[best].id, float(hits_N2[best, 0]))


def picked_frame(ray: Ray, frames: Sequence[SceneFrame], scale: float) -> Picked | None:
    """Return the nearest frame whose picture, ``scale`` metres high before its camera, the ray meets."""
    found = []
    for number, frame in enumerate(frames):
        rotation, origin = frame.pose_44[:3, :3], frame.pose_44[:3, 3]
        local, direction = rotation.T @ (ray.origin - origin), rotation.T @ ray.direction
        away = depth_of(frame, scale)
        if abs(direction[2]) < 1e-9 or (along := (away - local[2]) / direction[2]) <= 0:
            continue
        x, y, _ = local + along * direction
        if abs(x) <= scale * frame.width / frame.height / 2 and abs(y) <= scale / 2:
            found.append(Picked("frame", number, float(along)))
    return min(found, key=lambda one: one.away, default=None)


def depth_of(frame: SceneFrame, scale: float) -> float:
    """Return how far before its camera, in metres, a frame's picture of height ``scale`` stands."""
    return scale * float(frame.intrinsics_33[1, 1]) / frame.height
