"""Which objects an image shows, and where: the first surface along each pixel's ray decides.

Rays go through whole pixels of a coarser grid (a quarter of the image is enough), so that every answer is exact for
the pixel it names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpt4scene.scans.types import Camera, Mesh, SceneObject
from gpt4scene.scenes.render import Hits

BOX_MARGIN = 0.02
"""Metres by which surfaces may stick out of their object's box."""


class ObjectLookup:
    """Tells for points on surfaces which objects they belong to: by face where there is a mask, else by box."""

    def __init__(self, objects: Sequence[SceneObject], mesh: Mesh) -> None:
        """``objects`` are boxes in the frame of ``mesh``; masks index its vertices."""
        self.objects = tuple(objects)
        self._faces: list[np.ndarray | None] = []
        for item in self.objects:
            if item.vertices is None:
                self._faces.append(None)
                continue
            held = np.zeros(len(mesh.vertices), dtype=bool)
            held[item.vertices] = True
            self._faces.append(held[mesh.faces].sum(axis=1) >= 2)
        volumes = [np.prod(item.size + 0.01) for item in self.objects]
        self.smallest_first = sorted(range(len(self.objects)), key=lambda i: (volumes[i], self.objects[i].id))

    def member(self, index: int, points_N3: np.ndarray, faces_N: np.ndarray | None) -> np.ndarray:
        """Which points belong to ``objects[index]``, bool [N]; without faces (depth readings) the box decides."""
        item, held = self.objects[index], self._faces[index]
        if held is not None and faces_N is not None:
            return (faces_N >= 0) & held[np.maximum(faces_N, 0)]
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
    low, high = _extent(points_N3)
    for index in lookup.smallest_first:
        item = lookup.objects[index]
        apart = (item.center - item.size / 2 - BOX_MARGIN > high) | (item.center + item.size / 2 + BOX_MARGIN < low)
        if item.empty or apart.any():
            continue
        mask = lookup.member(index, points_N3, faces_N).reshape(shape)
        area = float(mask.mean())
        if area > 0 and area >= least_area:
            found[index] = VisibleObject(index, mask, mask & ~claimed, area)
        claimed |= mask
    return [found[index] for index in sorted(found)]


def _extent(points_N3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    finite = points_N3[np.isfinite(points_N3[:, 0])]
    if len(finite) == 0:
        return np.full(3, np.inf), np.full(3, -np.inf)
    return finite.min(axis=0), finite.max(axis=0)


def hit_points(camera: Camera, pixels_N2: np.ndarray, depth_N: np.ndarray) -> np.ndarray:
    """World points [N, 3] of pixels with depths along the viewing axis; NaN where the depth is 0 or infinite."""
    depth = np.where((depth_N > 0) & np.isfinite(depth_N), depth_N, np.nan).astype(np.float64)
    return camera.pose[:3, 3] + depth[:, None] * camera.rays(pixels_N2)


def depth_at(pixels_N2: np.ndarray, camera: Camera, depth_HW: np.ndarray, depth_camera: Camera) -> np.ndarray:
    """The depth reading behind each colour pixel, metres [N]; 0 where there is none or it lies outside."""
    places = np.rint(camera.pixels_in(depth_camera, pixels_N2)).astype(np.int64)
    inside = ((places >= 0) & (places < [depth_camera.width, depth_camera.height])).all(axis=1)
    places = np.where(np.expand_dims(inside, 1), places, 0)
    return np.where(inside, depth_HW[places[:, 1], places[:, 0]], np.float32(0))


def confirmed_faces(hits: Hits, measured_N: np.ndarray) -> np.ndarray:
    """Faces of hits, -1 where a depth reading says that something else is in front or that the surface has gone.

    Rays without reading keep their face. The tolerance is 0.15 m or 7 % of the reading, whichever is larger.
    """
    with np.errstate(invalid="ignore"):
        off = np.abs(hits.depth - measured_N) > np.maximum(0.15, 0.07 * measured_N)
    return np.where((measured_N > 0) & off, -1, hits.face)
