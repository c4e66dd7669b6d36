"""The outline of a room seen from above, and its area: the alpha shape of the surface's points in XY.

VSI-Bench measures rooms so (alpha 5, which is a circle of 0.2 m; 10,000 random mesh vertices). Here the points lie
evenly, so that neither chance nor the fineness of a mesh counts, and holes are filled: what nobody scanned under a
cupboard is floor as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import Delaunay, QhullError

RADIUS = 0.2
"""Metres: triangles whose circle through the corners is larger are no part of the room."""
STRAIGHT = 0.02
"""Metres by which a corner may lie off the line between its neighbours and be left out."""
_CELL = 0.04
_LEAST_PIECE = 1.0
"""Square metres; smaller pieces beside the room are not worth mentioning."""


@dataclass(frozen=True)
class Outline:
    """The largest piece of a scene seen from above: ``corners_N2`` counter-clockwise, without holes, and its area.

    ``beside`` is the area in square metres of other pieces that are larger than 1: seen through windows, or a part of
    the scene that is not joined to the rest.
    """

    corners_N2: np.ndarray
    area: float
    beside: float = 0.0


def outline_of(points_N3: np.ndarray) -> Outline | None:
    """Return the outline of points (metres, z up); None where they span no area.

    Equal points give equal outlines. The corner nearest the lower left comes first.
    """
    points_N2 = _thinned(np.asarray(points_N3, dtype=np.float64)[:, :2])
    if len(points_N2) < 3:
        return None
    try:
        triangles_T3 = Delaunay(points_N2).simplices
    except QhullError:
        return None
    triangles_T3 = triangles_T3[_circle(points_N2, triangles_T3) < RADIUS]
    if not len(triangles_T3):
        return None
    triangles_T3 = _counter_clockwise(points_N2, triangles_T3)
    loops = [loop for piece in _pieces(points_N2, triangles_T3) for loop in _loops(points_N2, triangles_T3[piece])[:1]]
    outer = sorted((points_N2[loop] for loop in loops), key=lambda one: (-signed_area(one), *one.min(axis=0)))
    corners = _from_lower_left(_straightened(outer[0]))
    beside = sum(signed_area(one) for one in outer[1:] if signed_area(one) >= _LEAST_PIECE)
    return Outline(corners, signed_area(corners), float(beside))


def signed_area(corners_N2: np.ndarray) -> float:
    """Area of a polygon, above 0 where its corners go round counter-clockwise."""
    x, y = (corners_N2 - corners_N2[0]).T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2)


def _thinned(points_N2: np.ndarray) -> np.ndarray:
    """One point a cell of ``_CELL``: the one farthest from the middle of all, so that walls stay where they are."""
    if not len(points_N2):
        return points_N2
    cells = np.floor(points_N2 / _CELL).astype(np.int64)
    away = np.abs(points_N2 - (points_N2.min(axis=0) + points_N2.max(axis=0)) / 2).max(axis=1)
    order = np.lexsort((points_N2[:, 1], points_N2[:, 0], -away, cells[:, 1], cells[:, 0]))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (cells[order][1:] != cells[order][:-1]).any(axis=1)
    return points_N2[order[first]]


def _circle(points_N2: np.ndarray, triangles_T3: np.ndarray) -> np.ndarray:
    """Radius of the circle through the corners of each triangle, metres [T]; infinite for flat ones."""
    a, b, c = (points_N2[triangles_T3[:, corner]] for corner in range(3))
    sides = [np.linalg.norm(one - other, axis=1) for one, other in ((a, b), (b, c), (c, a))]
    twice = np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    with np.errstate(divide="ignore", invalid="ignore"):
        radius = sides[0] * sides[1] * sides[2] / (2 * twice)
    return np.where(np.isfinite(radius), radius, np.inf)


def _counter_clockwise(points_N2: np.ndarray, triangles_T3: np.ndarray) -> np.ndarray:
    a, b, c = (points_N2[triangles_T3[:, corner]] for corner in range(3))
    turned = (b - a)[:, 0] * (c - a)[:, 1] < (b - a)[:, 1] * (c - a)[:, 0]
    return np.where(turned[:, None], triangles_T3[:, ::-1], triangles_T3)


def _edges(triangles_T3: np.ndarray) -> np.ndarray:
    """The three directed edges of each triangle, int [3T, 2]; row 3t + k is edge k of triangle t."""
    return np.stack([triangles_T3, np.roll(triangles_T3, -1, axis=1)], axis=2).reshape(-1, 2)


def _pieces(points_N2: np.ndarray, triangles_T3: np.ndarray) -> list[np.ndarray]:
    """The triangles of each piece that is joined by edges, those too small to matter left out."""
    edges = np.sort(_edges(triangles_T3), axis=1)
    order = np.lexsort((edges[:, 1], edges[:, 0]))
    shared = (edges[order][1:] == edges[order][:-1]).all(axis=1)
    one, other = order[:-1][shared] // 3, order[1:][shared] // 3
    count = len(triangles_T3)
    pairs = coo_matrix((np.ones(len(one), np.int8), (one, other)), shape=(count, count))
    piece_T = connected_components(pairs, directed=False)[1]
    a, b, c = (points_N2[triangles_T3[:, corner]] for corner in range(3))
    area_T = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    areas = np.bincount(piece_T, weights=area_T)
    worth = np.nonzero(areas >= min(_LEAST_PIECE / 4, float(areas.max())))[0]
    return [np.nonzero(piece_T == piece)[0] for piece in worth]


def _loops(points_N2: np.ndarray, triangles_T3: np.ndarray) -> list[list[int]]:
    """The closed lines around one piece, the outer one first; the others are its holes."""
    edges = _edges(triangles_T3)
    order = np.lexsort((edges.max(axis=1), edges.min(axis=1)))
    ends = np.sort(edges[order], axis=1)
    twice = (ends[1:] == ends[:-1]).all(axis=1)
    border = edges[order[~(np.append(twice, False) | np.insert(twice, 0, False))]]
    onward: dict[int, list[int]] = {}
    for one, other in sorted(border.tolist()):
        onward.setdefault(one, []).append(other)
    loops = []
    while onward:
        start = min(onward)
        loop, before, here = [start], start, onward[start].pop()
        while here != start or _continues(points_N2, onward, before, here, loop):
            loop.append(here)
            ahead = _next(points_N2, before, here, onward[here])
            onward[here].remove(ahead)
            before, here = here, ahead
        onward = {vertex: ends for vertex, ends in onward.items() if ends}
        loops.append(loop)
    return sorted(loops, key=lambda loop: -signed_area(points_N2[loop]))


def _continues(points_N2: np.ndarray, onward: dict, before: int, here: int, loop: list[int]) -> bool:
    """Whether a line that is back at its start goes on: the piece touches itself there, and the way on comes first."""
    if not onward[here]:
        return False
    ends = [*onward[here], loop[1]]
    return _next(points_N2, before, here, ends) != loop[1]


def _next(points_N2: np.ndarray, before: int, here: int, ends: list[int]) -> int:
    """The end of the edge that bounds the same triangles as the one from ``before``: the first one clockwise."""
    if len(ends) == 1:
        return ends[0]
    back = points_N2[before] - points_N2[here]
    ways = points_N2[ends] - points_N2[here]
    angles = np.arctan2(back[1], back[0]) - np.arctan2(ways[:, 1], ways[:, 0])
    return ends[int(np.argmin(angles % (2 * np.pi)))]


def _straightened(corners_N2: np.ndarray) -> np.ndarray:
    """The polygon without corners that lie on the way (Douglas and Peucker's rule, both halves between far corners)."""
    far = int(np.argmax(((corners_N2 - corners_N2[0]) ** 2).sum(axis=1)))
    closed = np.concatenate([corners_N2, corners_N2[:1]])
    kept = {0, far}
    waiting = [(0, far), (far, len(corners_N2))]
    while waiting:
        first, last = waiting.pop()
        if last - first < 2:
            continue
        start, way = closed[first], closed[last] - closed[first]
        between = closed[first + 1 : last] - start
        length = float(np.hypot(*way))
        off = (
            np.abs(between[:, 0] * way[1] - between[:, 1] * way[0]) / length
            if length > 0
            else np.linalg.norm(between, axis=1)
        )
        worst = int(np.argmax(off))
        if off[worst] > STRAIGHT:
            middle = first + 1 + worst
            kept.add(middle)
            waiting += [(first, middle), (middle, last)]
    return corners_N2[sorted(kept)]


def _from_lower_left(corners_N2: np.ndarray) -> np.ndarray:
    return np.roll(corners_N2, -int(np.argmin(corners_N2.sum(axis=1))), axis=0)
