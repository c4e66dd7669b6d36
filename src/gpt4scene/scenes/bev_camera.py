"""The bird's-eye view: the room from straight above without its ceiling, with an exact map from pixels to metres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import binary_closing, distance_transform_edt, label

from gpt4scene.errors import DataError
from gpt4scene.scans.types import Camera, Mesh, SceneObject
from gpt4scene.scenes.render import Hits, Raycaster

BACKGROUND = 255
"""White, where there is no surface."""
_BIN = 0.05
"""Metres; the height histogram's step."""


@dataclass(frozen=True)
class TopView:
    """An orthographic camera that looks down. The middle of pixel (u, v) is the point
    ``x = x_left + (u + 0.5) * metres_per_pixel``, ``y = y_top - (v + 0.5) * metres_per_pixel`` of the aligned frame.

    Surfaces above ``cut_height`` are not seen; ``floor_height`` is where the floor was found.
    """

    x_left: float
    y_top: float
    metres_per_pixel: float
    width: int
    height: int
    cut_height: float
    floor_height: float

    def to_metres(self, pixels_N2: np.ndarray) -> np.ndarray:
        """Metres x and y, [N, 2], of pixels."""
        steps = (np.asarray(pixels_N2, dtype=np.float64) + 0.5) * self.metres_per_pixel
        return np.stack([self.x_left + steps[:, 0], self.y_top - steps[:, 1]], axis=1)

    def to_pixels(self, points_N2: np.ndarray) -> np.ndarray:
        """Pixels (float [N, 2]) of points x and y; the inverse of ``to_metres``."""
        points = np.asarray(points_N2, dtype=np.float64)
        steps = np.stack([points[:, 0] - self.x_left, self.y_top - points[:, 1]], axis=1)
        return steps / self.metres_per_pixel - 0.5

    def covers(self, item: SceneObject, pixels_N2: np.ndarray) -> np.ndarray:
        """Which pixels lie in the footprint of an object's box, bool [N]; at least its middle always does."""
        middle = np.rint(self.to_pixels(item.center[None, :2])[0])
        half = np.maximum(item.size[:2] / 2, self.metres_per_pixel)
        inside = (np.abs(self.to_metres(pixels_N2) - item.center[:2]) <= half).all(axis=1)
        return inside | (np.abs(pixels_N2 - middle) <= 1).all(axis=1)


def floor_and_cut(mesh: Mesh, cameras: Sequence[Camera]) -> tuple[float, float]:
    """Height of the floor, and the height above which the room is left out, metres in the aligned frame.

    Level surfaces are counted by height: the floor is the lowest large one, the ceiling a large one above every camera.
    Without ceiling the cut is 2.2 m above the floor, or a little above the highest camera.
    """
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    area = np.linalg.norm(normals, axis=1) / 2
    level = np.abs(normals[:, 2]) > 1.8 * area
    if not level.any():
        low, high = float(mesh.vertices[:, 2].min()), float(mesh.vertices[:, 2].max())
        return low, high + _BIN
    heights = (a[:, 2] + b[:, 2] + c[:, 2])[level] / 3
    bins = np.floor(heights / _BIN).astype(np.int64)
    first = int(bins.min())
    areas = np.bincount(bins - first, weights=area[level])
    spread = areas + np.pad(areas, 1)[2:] + np.pad(areas, 1)[:-2]
    seen_from = max((float(camera.pose[2, 3]) for camera in cameras if camera.tracked), default=-np.inf)
    floor_bin = int(np.argmax(spread >= 0.25 * spread.max()))
    floor_bin += int(np.argmax(areas[floor_bin : floor_bin + 3]))
    slab = areas[floor_bin : floor_bin + 1 + round(0.3 / _BIN)]  # a modelled floor has two sides: walk on the upper
    floor_bin += int(np.nonzero(slab >= 0.5 * areas[floor_bin])[0][-1])
    inside = bins - first == floor_bin
    floor = float(np.average(heights[inside], weights=area[level][inside]))
    lowest_ceiling = max(floor + 1.9, seen_from + 0.1)
    above = (first + np.arange(len(areas))) * _BIN > lowest_ceiling
    ceiling = above & (spread > 0.1 * spread[floor_bin])
    if ceiling.any():
        start = (first + int(np.argmax(ceiling))) * _BIN
        return floor, max(lowest_ceiling - 0.05, start - 2 * _BIN)
    return floor, max(floor + 2.2, seen_from + 0.3)


def facing_in(mesh: Mesh, cameras: Sequence[Camera]) -> Mesh:
    """The mesh with its floor facing up: some tools write every triangle the other way round.

    Which way a triangle faces tells ceilings from table tops.
    """
    floor, _ = floor_and_cut(mesh, cameras)
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    area = np.cross(b - a, c - a)[:, 2]
    near = area[np.abs((a[:, 2] + b[:, 2] + c[:, 2]) / 3 - floor) < _BIN]
    if near.sum() >= -0.6 * np.abs(near).sum():
        return mesh
    return replace(mesh, faces=np.ascontiguousarray(mesh.faces[:, ::-1]))


def top_view(
    caster: Raycaster,
    objects: Sequence[SceneObject],
    cameras: Sequence[Camera],
    longest_side: int,
) -> TopView:
    """The view that is tight on the room: on everything met from above but stray specks, and on every object's box."""
    floor, cut = floor_and_cut(caster.mesh, cameras)
    low, high = _rough_extent(caster.mesh)
    for _ in range(4):  # each round drops specks and looks closer
        side = float((high - low).max()) or 1.0
        view = _view(low - 0.02 * side, high + 0.02 * side, 256, floor, cut)
        found = look_down(caster, view).found.reshape(view.height, view.width)
        if not found.any():
            raise DataError("nothing of the room is met from above; is the mesh in metres, with z up after alignment?")
        parts, _ = label(binary_closing(np.pad(found, 3), iterations=3)[3:-3, 3:-3], np.ones((3, 3)))  # pyright: ignore (stubs)
        sizes = np.bincount(parts.ravel())[1:]
        kept = np.isin(parts, np.nonzero(sizes >= 0.02 * sizes.max())[0] + 1)
        rows, columns = np.nonzero(kept)
        corners = view.to_metres(np.array([[columns.min(), rows.max()], [columns.max(), rows.min()]]))
        half = view.metres_per_pixel / 2
        before, low, high = (low, high), np.maximum(corners[0] - half, low), np.minimum(corners[1] + half, high)
        if (high - low).max() > 0.8 * (before[1] - before[0]).max():
            break
    for item in objects:
        if not item.empty:
            low = np.minimum(low, (item.center - item.size / 2)[:2])
            high = np.maximum(high, (item.center + item.size / 2)[:2])
    margin = 0.02 * float((high - low).max())
    return _view(low - margin, high + margin, longest_side, floor, cut)


def _rough_extent(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest x and y of all faces but those so far out that the room would be lost between them."""
    corners = mesh.vertices[mesh.faces][:, :, :2]
    sides = corners[:, 1:] - corners[:, :1]
    area = np.abs(sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0])
    away = corners.mean(axis=1)
    away = np.abs(away - [_heavy(away[:, axis], area, 0.5) for axis in (0, 1)]).max(axis=1)
    near = corners[away <= 10.0 + 4.0 * _heavy(away, area, 0.75)]
    return near.min(axis=(0, 1)), near.max(axis=(0, 1))


def _heavy(values_N: np.ndarray, weights_N: np.ndarray, share: float) -> float:
    """The value below which so large a share of the weight lies."""
    order = np.argsort(values_N)
    total = np.cumsum(weights_N[order])
    return float(values_N[order[np.searchsorted(total, share * total[-1])]])


def _view(low: np.ndarray, high: np.ndarray, longest_side: int, floor: float, cut: float) -> TopView:
    extent = np.maximum(high - low, 1e-3)
    step = float(extent.max()) / longest_side
    width, height = (max(1, min(longest_side, int(np.ceil(side / step - 1e-6)))) for side in extent)
    return TopView(float(low[0]), float(high[1]), step, width, height, cut, floor)


def look_down(caster: Raycaster, view: TopView, pixels_N2: np.ndarray | None = None) -> Hits:
    """First hits of rays that start at the cut height over pixels (fractions allowed; by default all, row by row).

    The undersides of surfaces more than 1.5 m above the floor are passed: these are ceilings seen from outside.
    """
    if pixels_N2 is None:
        columns, rows = np.meshgrid(np.arange(view.width), np.arange(view.height))
        pixels_N2 = np.stack([columns.ravel(), rows.ravel()], axis=1)
    places = view.to_metres(pixels_N2)
    origins = np.concatenate([places, np.full((len(places), 1), view.cut_height)], axis=1)
    down = np.array([0.0, 0.0, -1.0])
    hits = caster.cast(origins, np.broadcast_to(down, origins.shape))
    for _ in range(4):
        height = view.cut_height - hits.depth
        high = np.nonzero(hits.found & (height > view.floor_height + 1.5))[0]
        turned = high[_faces_down(caster.mesh, hits.face[high])]
        if not len(turned):
            break
        again = origins[turned]
        again[:, 2] = height[turned] - 1e-3
        deeper = caster.cast(again, np.broadcast_to(down, again.shape))
        depth, face, weights = hits.depth.copy(), hits.face.copy(), hits.weights.copy()
        depth[turned] = deeper.depth + (view.cut_height - again[:, 2])
        face[turned], weights[turned] = deeper.face, deeper.weights
        hits = Hits(depth.astype(np.float32), face, weights)
    return hits


def _faces_down(mesh: Mesh, faces_N: np.ndarray) -> np.ndarray:
    a, b, c = (mesh.vertices[mesh.faces[faces_N, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    return normals[:, 2] < -0.5 * np.linalg.norm(normals, axis=1)


def top_points(view: TopView, pixels_N2: np.ndarray, hits: Hits) -> np.ndarray:
    """Points [N, 3] of the aligned frame that the pixels show; NaN where nothing was met."""
    height = np.where(hits.found, view.cut_height - hits.depth.astype(np.float64), np.nan)
    places = np.where(hits.found[:, None], view.to_metres(pixels_N2), np.nan)
    return np.concatenate([places, height[:, None]], axis=1)


def paint(caster: Raycaster, view: TopView, hits: Hits, gap: float = 0.06) -> np.ndarray:
    """The image of a top view, uint8 [H, W, 3], from its pixels' hits: edges smoothed, pinholes closed.

    A pixel at an edge in depth or colour is the mean of four more rays. Gaps up to ``gap`` metres wide between
    surfaces take the nearest colour: scans have them where a voxel or a triangle is missing. Specks smaller than a
    square of ``2 * gap`` that touch nothing are left out.
    """
    shape = (view.height, view.width)
    found = hits.found.reshape(shape)
    values = caster.colors(hits).reshape(*shape, 3)
    rows, columns = np.nonzero(_edges(found, hits.depth.reshape(shape), values))
    if len(rows):
        smooth, known = _smoothed(caster, view, np.stack([columns, rows], axis=1))
        values[rows[known], columns[known]] = smooth[known]
    radius = max(1, round(gap / 2 / view.metres_per_pixel))
    closed = binary_closing(np.pad(found, radius), _disc(radius))[radius:-radius, radius:-radius]
    parts, _ = label(closed, np.ones((3, 3)))  # pyright: ignore (stubs)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    closed &= (sizes >= min((2 * gap / view.metres_per_pixel) ** 2, sizes.max()))[parts]  # pyright: ignore (stubs)
    nearest = distance_transform_edt(~found, return_distances=False, return_indices=True)
    values = np.where(found[..., None], values, values[nearest[0], nearest[1]])  # pyright: ignore (stubs)
    values = np.where(closed[..., None], values, np.float32(BACKGROUND))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _edges(found: np.ndarray, depth: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Pixels whose neighbour to any side differs in height by 3 cm or visibly in colour, bool [H, W]."""
    depth = np.where(found, depth, np.float32(100.0))
    edge = np.zeros(found.shape, dtype=bool)
    for axis in (0, 1):
        step = np.abs(np.diff(depth, axis=axis)) > 0.03
        step |= np.abs(np.diff(values, axis=axis)).max(axis=2) > 12
        edge |= np.insert(step, 0, False, axis=axis)
        edge |= np.insert(step, step.shape[axis], False, axis=axis)
    return edge & found


def _smoothed(caster: Raycaster, view: TopView, pixels_N2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean colours [N, 3] of four rays inside each pixel, as far as they met something, and whether any did."""
    total, count = np.zeros((len(pixels_N2), 3)), np.zeros(len(pixels_N2))
    for offset in ((-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375)):
        hits = look_down(caster, view, pixels_N2 + np.array(offset))
        total += caster.colors(hits)
        count += hits.found
    return total / np.maximum(count, 1)[:, None], count > 0


def _disc(radius: int) -> np.ndarray:
    steps = np.arange(-radius, radius + 1)
    return steps[:, None] ** 2 + steps[None] ** 2 <= radius**2
