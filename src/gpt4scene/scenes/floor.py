"""The floor of an upright mesh, and the height above which the bird's-eye view leaves everything out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gpt4scene.scans.types import Camera, Mesh
from gpt4scene.scenes.normals import area_normals

_BIN = 0.05
"""Metres; the height histogram's step."""


def floor_and_cut(mesh: Mesh, cameras: Sequence[Camera]) -> tuple[float, float]:
    """Height of the floor, and the height above which the scene is left out, metres in the aligned frame.

    Level surfaces are counted by height: the floor is the lowest large one, the ceiling a large one above every camera.
    Without ceiling the cut is 2.2 m above the floor, or a little above the highest camera.
    """
    a, b, c = mesh.corners()
    normals = area_normals(a, b, c)
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


def floor_facing_up(mesh: Mesh, cameras: Sequence[Camera]) -> Mesh:
    """The mesh with its floor facing up: some tools write every triangle the other way round.

    Which way a triangle faces tells ceilings from table tops.
    """
    floor, _ = floor_and_cut(mesh, cameras)
    a, b, c = mesh.corners()
    area = area_normals(a, b, c)[:, 2]
    near = area[np.abs((a[:, 2] + b[:, 2] + c[:, 2]) / 3 - floor) < _BIN]
    if near.sum() >= -0.6 * np.abs(near).sum():
        return mesh
    return replace(mesh, faces=np.ascontiguousarray(mesh.faces[:, ::-1]))
