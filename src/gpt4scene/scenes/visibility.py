"""Which objects an image shows, and where: the first surface along each pixel's ray decides.

Rays go through whole pixels of a coarser grid (a quarter of the image is enough), so that every answer is exact for
the pixel it names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpt4scene.scans.types import Camera, Mesh, SceneObject
from gpt4scene.scenes.masks import share
from gpt4scene.scenes.render import Hits

BOX_MARGIN = 0.02
"""Metres by which surfaces may stick out of their object's box."""
_BITS = 64


def _bit(index: int) -> np.uint64:
    return np.uint64(1 << index % _BITS)


class ObjectLookup:
    """Tells for points on surfaces which objects they belong to: by face where there is a mask, else by box."""

    def __init__(self, objects: Sequence[SceneObject], mesh: Mesh) -> None:
        """``objects`` are boxes in the frame of ``mesh``; masks index its vertices."""
        self.objects = tuple(objects)
        # Bit k of word w of a face: whether it is one of object 64 w + k.
        self._words_WF = np.zeros((-(-len(self.objects) // _BITS), len(mesh.faces)), dtype=np.uint64)
        corners = [np.ascontiguousarray(mesh.faces[:, corner]) for corner in range(3)]
        for index, item in enumerate(self.objects):
            if item.vertices is not None:
                held = np.zeros(len(mesh.vertices), dtype=bool)
                held[item.vertices] = True
                a, b, c = (held[corner] for corner in corners)
                self._words_WF[index // _BITS, (a & b) | (b & c) | (a & c)] |= _bit(index)
        volumes = [np.prod(item.size + 0.01) for item in self.objects]
        self.smallest_first = sorted(range(len(self.objects)), key=lambda i: (volumes[i], self.objects[i].id))

    def words(self, faces_N: np.ndarray) -> np.ndarray:
        """Of which objects each face is one, as bits [W, N]; of none where its number is below 0."""
        found_WN = self._words_WF[:, np.maximum(faces_N, 0)]
        found_WN[:, faces_N < 0] = 0
        return found_WN

    def in_box(self, index: int, points_N3: np.ndarray) -> np.ndarray:
        """Which points lie in the box of ``objects[index]``, bool [N]."""
        item = self.objects[index]
        if item.empty:
            return np.zeros(len(points_N3), dtype=bool)
        low, high = item.center - item.size / 2 - BOX_MARGIN, item.center + item.size / 2 + BOX_MARGIN
        if high[2] > 0.15:
            low = np.maximum(low, [-np.inf, -np.inf, BOX_MARGIN])  # the floor under a table is not the table
        with np.errstate(invalid="ignore"):
            return np.all(np.logical_and(points_N3 >= low, points_N3 <= high), axis=1)


@dataclass(frozen=True)
class VisibleObject:
    """One object in one image, on the image's grid.

    ``mask`` bool [h, w]: the object's visible surface. ``own``: the part of it that no smaller object claims too.
    ``area`` is the mask's share of the image.
    """

    object_index: int
    mask: np.ndarray
    own: np.ndarray
    area: float


def visible_objects(
    lookup: ObjectLookup, points_N3: np.ndarray, faces_N: np.ndarray | None, shape: tuple[int, int], least_area: float
) -> list[VisibleObject]:
    """The objects that cover at least ``least_area`` of an image, in the order of ``lookup.objects``.

    ``points_N3`` are first hits on the grid ``shape`` row by row, NaN where there is none.
    """
    claimed = np.zeros(shape, dtype=bool)
    found = {}
    words_WN = None if faces_N is None else lookup.words(faces_N)
    seen_W = None if words_WN is None else np.bitwise_or.reduce(words_WN, axis=1)
    low, high = _extent(points_N3)
    for index in lookup.smallest_first:
        item = lookup.objects[index]
        apart = (item.center - item.size / 2 - BOX_MARGIN > high) | (item.center + item.size / 2 + BOX_MARGIN < low)
        if item.empty or apart.any():
            continue
        if words_WN is not None and seen_W is not None and item.vertices is not None:
            if not seen_W[index // _BITS] & _bit(index):
                continue
            mask = (words_WN[index // _BITS] & _bit(index) != 0).reshape(shape)
        else:
            mask = lookup.in_box(index, points_N3).reshape(shape)
        area = share(mask)
        if area > 0 and area >= least_area:
            found[index] = VisibleObject(index, mask, mask & ~claimed, area)
        claimed |= mask
    return [found[index] for index in sorted(found)]


def _extent(points_N3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    finite_N = np.isfinite(points_N3[:, 0])
    if not finite_N.any():
        return np.full(3, np.inf), np.full(3, -np.inf)
    axes = [points_N3[finite_N, axis] for axis in range(3)]
    return np.array([one.min() for one in axes]), np.array([one.max() for one in axes])


def hit_points(camera: Camera, rays_N3: np.ndarray, depth_N: np.ndarray) -> np.ndarray:
    """World points [N, 3] of a camera's rays with depths along the viewing axis; NaN where one is 0 or infinite."""
    depth = np.where((depth_N > 0) & np.isfinite(depth_N), depth_N, np.nan).astype(np.float64)
    return camera.pose[:3, 3] + depth[:, None] * rays_N3


def depth_at(pixels_N2: np.ndarray, camera: Camera, depth_HW: np.ndarray, depth_camera: Camera) -> np.ndarray:
    """The depth reading behind each colour pixel, metres [N]; 0 where there is none or it lies outside."""
    x, y = np.rint(camera.pixels_in(depth_camera, pixels_N2).T).astype(np.int64)
    inside = (x >= 0) & (x < depth_camera.width) & (y >= 0) & (y < depth_camera.height)
    return np.where(inside, depth_HW[np.where(inside, y, 0), np.where(inside, x, 0)], np.float32(0))


def confirmed_faces(hits: Hits, measured_N: np.ndarray) -> np.ndarray:
    """Faces of hits, -1 where a depth reading says that something else is in front or that the surface has gone.

    Rays without reading keep their face. The tolerance is 0.15 m or 7 % of the reading, whichever is larger.
    """
    with np.errstate(invalid="ignore"):
        off = np.abs(hits.depth - measured_N) > np.maximum(0.15, 0.07 * measured_N)
    return np.where((measured_N > 0) & off, -1, hits.face)
