"""Pixels (x, y) of images as arrays: all of them, a coarser grid of them, and what an object covers of that grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST_GRID = 320
"""The grid's longest side never falls below this (or the image's own size)."""


@dataclass(frozen=True)
class PixelGrid:
    """Every few pixels of an image: ``columns`` [w] and ``rows`` [h] are whole pixel coordinates."""

    columns: np.ndarray
    rows: np.ndarray

    @property
    def pixels(self) -> np.ndarray:
        """Pixels (x, y) row by row, int [h * w, 2]."""
        columns, rows = np.meshgrid(self.columns, self.rows)
        return np.stack([columns.ravel(), rows.ravel()], axis=1)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the grid."""
        return len(self.rows), len(self.columns)


@dataclass(frozen=True)
class ObjectMask:
    """An object's number and the pixels of its visible surface on a grid, bool [h, w]."""

    id: int
    mask: np.ndarray


def pixel_grid(width: int, height: int, share: float = 0.25) -> PixelGrid:
    """A grid over an image with about ``share`` of its resolution, but not below ``LEAST_GRID`` on the longer side."""
    longest = max(width, height)
    step = longest / min(longest, max(LEAST_GRID, round(longest * share)))
    sides = []
    for side in (width, height):
        count = max(1, round(side / step))
        sides.append(np.floor((np.arange(count) + 0.5) * side / count).astype(np.int64))
    return PixelGrid(*sides)


def all_pixels(width: int, height: int) -> np.ndarray:
    """Pixels (x, y) of an image row by row, int [H * W, 2]."""
    return PixelGrid(np.arange(width), np.arange(height)).pixels
