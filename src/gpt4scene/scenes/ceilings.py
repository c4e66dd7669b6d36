"""Sloping ceilings of scenes made of voxels, which have an upper side that nobody ever saw.

A scanner's triangles face the side from which they were seen, so a ceiling is known by facing down. Voxels face all
ways: there a ceiling is what is high, thin and wide, with empty space below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gpt4scene.scans.types import Camera
from gpt4scene.scenes.floor import floor_and_cut
from gpt4scene.scenes.masks import connected_parts, nearest_pixel, part_sizes
from gpt4scene.scenes.render import Raycaster

LOWEST = 1.5
"""Metres above the floor; lower ones stand on the floor as furniture does."""
LEAST_EMPTY = 0.35
"""Metres of empty space below a ceiling."""
LEAST_EXTENT = 3.0
"""Square metres; lamps, boards and the leaves of a tall plant are smaller."""
REACH = 0.6
"""Metres beside a known ceiling to where it may go on over something that stands close below it."""
_CELL = 0.1
_MOST_CELLS = 25_000_000
"""Cells, a square of 500 m; what is larger is not in metres, and the report will say so."""


def without_ceilings(caster: Raycaster, cameras: Sequence[Camera], voxel: float) -> Raycaster:
    """Voxels to look at from above, where the upper sides of ceilings below the cut cannot be hit any more.

    Faces keep their numbers. Without such a ceiling it is the same ``caster``.
    """
    mesh = caster.mesh
    floor, cut = floor_and_cut(mesh, cameras)
    a, b, c = mesh.corners()
    normal_z = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    centers = (a + b + c) / 3
    high = np.nonzero((normal_z > 0) & (centers[:, 2] > floor + LOWEST) & (centers[:, 2] < cut + voxel))[0]
    if not len(high):
        return caster
    below = centers[high] - [0, 0, 3.5 * voxel]
    thin = high[caster.cast(below, np.broadcast_to([0.0, 0.0, -1.0], below.shape)).depth > LEAST_EMPTY]
    if not len(thin):
        return caster
    cells = np.floor(centers[high, :2] / _CELL).astype(np.int64)
    cells -= cells.min(axis=0)
    if np.prod(cells.max(axis=0) + 1) > _MOST_CELLS:
        return caster
    ceiling = _parts_of_ceilings(cells, centers[high, 2], np.isin(high, thin))
    if not ceiling.any():
        return caster
    faces = mesh.faces.copy()
    faces[high[ceiling]] = 0  # a triangle of one point
    return Raycaster(replace(mesh, faces=faces))


def _parts_of_ceilings(cells_N2: np.ndarray, heights_N: np.ndarray, thin_N: np.ndarray) -> np.ndarray:
    """Which faces belong to a wide ceiling, or go on where one ends, bool [N]."""
    x, y = cells_N2.T
    low, high = (np.full(cells_N2.max(axis=0) + 1, value) for value in (np.inf, -np.inf))
    np.minimum.at(low, (x[thin_N], y[thin_N]), heights_N[thin_N])
    np.maximum.at(high, (x[thin_N], y[thin_N]), heights_N[thin_N])
    parts = connected_parts(np.isfinite(low))
    wide = part_sizes(parts) * _CELL**2 >= LEAST_EXTENT
    if not wide.any():
        return np.zeros(len(x), dtype=bool)
    away, rows, columns = nearest_pixel(wide[parts])
    distance = away[x, y] * _CELL
    nearest = rows[x, y], columns[x, y]
    step = np.maximum(low[nearest] - heights_N, heights_N - high[nearest])
    return (distance <= REACH) & (step <= 0.1 + distance)
