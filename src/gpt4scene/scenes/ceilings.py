"""Sloping ceilings of rooms made of voxels, which have an upper side that nobody ever saw.

A scanner's triangles face the side from which they were seen, so a ceiling is known by facing down. Voxels face all
ways: there a ceiling is what is high, thin and wide, with the room below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.ndimage import label

from .bev import floor_and_cut
from .render import Raycaster
from .types import Camera

LOWEST = 1.5
"""Metres above the floor; lower ones stand on the floor as furniture does."""
LEAST_ROOM = 0.35
"""Metres of emptiness below a ceiling."""
LEAST_EXTENT = 1.0
"""Square metres; lamps and boards are smaller."""
_CELL = 0.1


def without_ceilings(caster: Raycaster, cameras: Sequence[Camera], voxel: float) -> Raycaster:
    """Voxels to look at from above, where the upper sides of ceilings below the cut cannot be hit any more.

    Faces keep their numbers. Without such a ceiling it is the same ``caster``.
    """
    mesh = caster.mesh
    floor, cut = floor_and_cut(mesh, cameras)
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    normal_z = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    centers = (a + b + c) / 3
    high = np.nonzero((normal_z > 0) & (centers[:, 2] > floor + LOWEST) & (centers[:, 2] < cut + voxel))[0]
    if not len(high):
        return caster
    below = centers[high] - [0, 0, 3.5 * voxel]
    thin = high[caster.cast(below, np.broadcast_to([0.0, 0.0, -1.0], below.shape)).depth > LEAST_ROOM]
    if not len(thin):
        return caster
    cells = np.floor(centers[thin, :2] / _CELL).astype(np.int64)
    cells -= cells.min(axis=0)
    covered = np.zeros(cells.max(axis=0) + 1, dtype=bool)
    covered[cells[:, 0], cells[:, 1]] = True
    parts, _ = label(covered, np.ones((3, 3)))  # pyright: ignore (stubs)
    wide = (np.bincount(parts.ravel()) * _CELL**2 >= LEAST_EXTENT)[parts[cells[:, 0], cells[:, 1]]]  # pyright: ignore (stubs)
    if not wide.any():
        return caster
    faces = mesh.faces.copy()
    faces[thin[wide]] = 0  # a triangle of one point
    return Raycaster(replace(mesh, faces=faces))
