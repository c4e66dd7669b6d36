"""The convex shape around points of a plane."""

from __future__ import annotations

import numpy as np


def hull_corners(points_N2: np.ndarray) -> np.ndarray | None:
    """Return the corners of the smallest convex shape around points, float64[K, 2], counter-clockwise.

    ``None`` for points of no extent: one place, or all on a line.
    """
    from scipy.spatial import ConvexHull, QhullError  # takes a second

    try:
        return points_N2[ConvexHull(points_N2).vertices]
    except QhullError:
        return None


def hull_area(points_N2: np.ndarray) -> float:
    """Return the area of the smallest convex shape around points, in their unit squared; 0 for points on a line."""
    from scipy.spatial import ConvexHull, QhullError  # takes a second

    try:
        return float(ConvexHull(points_N2).volume)
    except QhullError:
        return 0.0
