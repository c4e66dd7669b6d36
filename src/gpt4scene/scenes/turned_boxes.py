"""Boxes that stand upright and are turned as their objects are: the smallest rectangle around the points from above."""

from __future__ import annotations

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from gpt4scene.scans.geometry import box_of

WORTH = 0.9
"""A box is turned only where its footprint then is below this share of that of the box along the axes."""


def turned_box(points_N3: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return centre, size (metres) and turn about z (radians, 0 up to a quarter turn) of the box around points.

    Size 0 belongs to the side that lies at the turn's angle from x. Boxes that win little by a turn are not turned.
    """
    center, size = box_of(points_N3)
    flat_N2 = np.asarray(points_N3, dtype=np.float64)[:, :2]
    try:
        corners = flat_N2[ConvexHull(flat_N2).vertices] if len(flat_N2) > 2 else flat_N2
    except QhullError:  # all points on one line
        return center, size, 0.0
    sides = np.roll(corners, -1, axis=0) - corners
    angles = np.unique(np.round(np.arctan2(sides[:, 1], sides[:, 0]) % (np.pi / 2), 9))
    best = min(
        ((*_rectangle(corners, angle), float(angle)) for angle in angles), key=lambda one: (_area(one[1]), one[2])
    )
    if _area(best[1]) > WORTH * _area(size[:2]):
        return center, size, 0.0
    return np.array([*best[0], center[2]]), np.array([*best[1], size[2]]), best[2]


def _rectangle(corners_N2: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Centre and sides of the rectangle around points whose first side lies at ``angle``."""
    axes_22 = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    along = corners_N2 @ axes_22.T
    low, high = along.min(axis=0), along.max(axis=0)
    return (low + high) / 2 @ axes_22, high - low


def _area(sides: np.ndarray) -> float:
    return float(sides[0] * sides[1])
