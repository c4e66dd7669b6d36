"""Walking through a room in straight lines: from beside one object up to another, over floor known to be free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from gpt4scene.geometry.hull import hull_corners
from gpt4scene.geometry.room import RoomObject

BODY = 0.2
"""Metres: half the width of who walks."""
BESIDE = (0.15, 0.6)
"""Metres from an object's footprint between which somebody stands beside it, and at which a way up to it ends."""
STEP = 0.05


@dataclass(frozen=True, eq=False)
class WalkMap:
    """Floor to walk on: ``walkable_YX`` bool in cells of ``cell`` metres; cell [0, 0] starts at (``x``, ``y``)."""

    walkable_YX: np.ndarray
    x: float
    y: float
    cell: float

    @cached_property
    def room_YX(self) -> np.ndarray:
        """Metres from the middle of each cell to the nearest place that is not free, 0 in those."""
        from scipy.ndimage import distance_transform_edt  # takes half a second

        around = np.pad(self.walkable_YX, 1)
        return np.asarray(distance_transform_edt(around))[1:-1, 1:-1] * self.cell - self.walkable_YX * self.cell / 2

    def free(self, points_N2: np.ndarray) -> np.ndarray:
        """Whether somebody can stand at each point, bool[N]."""
        x, y = np.floor((points_N2 - [self.x, self.y]).T / self.cell + 1e-9).astype(np.int64)
        height, width = self.walkable_YX.shape
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        return inside & (self.room_YX[np.where(inside, y, 0), np.where(inside, x, 0)] >= BODY)

    @cached_property
    def places_P2(self) -> np.ndarray:
        """The middles of all cells in which somebody can stand."""
        rows, columns = np.nonzero(self.room_YX >= BODY)
        return np.stack([self.x + (columns + 0.5) * self.cell, self.y + (rows + 0.5) * self.cell], axis=1)

    def beside(self, item: RoomObject, most: int) -> np.ndarray:
        """Return up to ``most`` places beside an object, evenly from all there are."""
        away = footprint_distance(item, self.places_P2)
        places = self.places_P2[(away >= BESIDE[0]) & (away <= BESIDE[1])]
        return places[np.arange(min(most, len(places))) * len(places) // max(1, min(most, len(places)))]

    def ways_to(self, starts_S2: np.ndarray, item: RoomObject) -> np.ndarray:
        """Return where straight ways from ``starts_S2`` to ``item`` end, beside it; NaN where one is blocked."""
        way_S2 = item.center_3[:2] - starts_S2
        length_S = np.hypot(*way_S2.T)
        step_T = np.arange(0.0, float(length_S.max(initial=0.0)), STEP)
        if not len(step_T):
            return np.full((len(starts_S2), 2), np.nan)
        unit_S2 = way_S2 / np.maximum(length_S, 1e-9)[:, None]
        points_ST2 = starts_S2[:, None] + unit_S2[:, None] * step_T[None, :, None]
        flat = points_ST2.reshape(-1, 2)
        there_ST = footprint_distance(item, flat).reshape(points_ST2.shape[:2]) <= BESIDE[1]
        there_ST &= step_T[None] < length_S[:, None]
        end_S = there_ST.argmax(axis=1)
        blocked_ST = np.cumsum(~self.free(flat).reshape(there_ST.shape), axis=1)
        rows = np.arange(len(starts_S2))
        open_S = there_ST.any(axis=1) & (blocked_ST[rows, end_S] == 0)
        return np.where(open_S[:, None], points_ST2[rows, end_S], np.nan)


@lru_cache(maxsize=1024)
def footprint(item: RoomObject) -> np.ndarray:
    """Return the corners of a box seen from above, float64[N, 2], counter-clockwise."""
    corners_82 = item.corners_83[:, :2]
    corners = hull_corners(corners_82)
    return corners_82 if corners is None else corners


def footprint_distance(item: RoomObject, points_P2: np.ndarray) -> np.ndarray:
    """Return the distance from points to an object's footprint in metres, float64[P]; 0 inside."""
    corners = footprint(item)
    sides = np.roll(corners, -1, axis=0) - corners
    offset = points_P2[:, None] - corners
    squared = np.maximum((sides**2).sum(axis=1), 1e-12)
    along = np.clip((offset * sides).sum(axis=2) / squared, 0, 1)
    away = np.sqrt(((offset - along[..., None] * sides) ** 2).sum(axis=2)).min(axis=1)
    inside = (sides[:, 0] * offset[..., 1] - sides[:, 1] * offset[..., 0] >= 0).all(axis=1)
    return np.where(inside, 0.0, away)


def read_map(rows: Sequence[str], x: float, y: float, cell: float) -> WalkMap:
    """Return the map that lines of text show, the highest y first: a full stop is a cell to walk on."""
    width = max((len(row) for row in rows), default=0)
    cells = np.array([[char == "." for char in row.ljust(width)] for row in rows], dtype=bool).reshape(-1, width)
    return WalkMap(cells[::-1], x, y, cell)
