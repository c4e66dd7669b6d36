"""Where somebody can walk: cells of seen floor with nothing above, joined to where the camera was carried."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpt4scene.scenes.masks import connected_parts

CELL = 0.1
"""Edge of a cell in metres."""
FLOOR = 0.08
"""Metres: a surface so near the floor's height is floor."""
LOW, HIGH = 0.12, 1.7
"""Metres above the floor between which a surface is in the way."""
STOOD = 0.3
"""Metres around the camera in which somebody must have stood."""
_MOST_CELLS = 4_000_000
"""Cells, a square of 200 m; a larger scene is not in metres."""


@dataclass(frozen=True)
class FloorMap:
    """``walkable_YX`` bool: whether the cell may be walked on. Cell [0, 0] starts at (``x``, ``y``), y goes up."""

    walkable_YX: np.ndarray
    x: float
    y: float

    @property
    def rows(self) -> list[str]:
        """The map as lines of text, the highest y first: a full stop a cell to walk on, else a space."""
        return ["".join(" ."[cell] for cell in row).rstrip() for row in self.walkable_YX[::-1].astype(int)]


def floor_map(points_N3: np.ndarray, floor: float, path_T3: np.ndarray) -> FloorMap | None:
    """Return the map of a surface's points (metres, z up), or None where no floor was walked on.

    ``path_T3`` are places of the camera. Cells that no camera's place is joined to are not walkable: a table top in
    another room, the yard behind a window.
    """
    if not len(points_N3) or not len(path_T3):
        return None
    origin = np.floor(points_N3[:, :2].min(axis=0) / CELL)
    cells = (np.floor(points_N3[:, :2] / CELL) - origin).astype(np.int64)
    shape = tuple(cells.max(axis=0) + 1)
    if np.prod(shape) > _MOST_CELLS:
        return None
    height = points_N3[:, 2] - floor
    free = _counts(cells[np.abs(height) <= FLOOR], shape) > 0
    blocked = _counts(cells[(height > LOW) & (height < HIGH)], shape) > 1
    free = _closed(free) & ~blocked
    parts = connected_parts(free)
    stood = np.unique(parts[_near(shape, origin, path_T3[:, :2]) & free])
    walkable = free & np.isin(parts, stood)
    return FloorMap(walkable.T, *(origin * CELL).tolist()) if walkable.any() else None


def _counts(cells_N2: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    counts = np.zeros(shape, dtype=np.int64)
    np.add.at(counts, (cells_N2[:, 0], cells_N2[:, 1]), 1)
    return counts


def _closed(cells: np.ndarray) -> np.ndarray:
    """Cells with gaps of one cell filled: three of the four beside it are there."""
    around = np.pad(cells, 1).astype(np.int64)
    beside = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]
    return cells | (beside >= 3)


def _near(shape: tuple[int, ...], origin_2: np.ndarray, spots_T2: np.ndarray) -> np.ndarray:
    """The cells within ``STOOD`` of any spot, bool of ``shape``."""
    reach = int(np.ceil(STOOD / CELL))
    steps = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    steps = steps[np.hypot(*steps.T) * CELL <= STOOD]
    cells = (np.floor(spots_T2 / CELL) - origin_2).astype(np.int64)[:, None] + steps
    cells = cells.reshape(-1, 2)
    cells = cells[((cells >= 0) & (cells < shape)).all(axis=1)]
    near = np.zeros(shape, dtype=bool)
    near[cells[:, 0], cells[:, 1]] = True
    return near
