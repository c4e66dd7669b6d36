"""The image of the bird's-eye view: the colours that its rays meet, with smooth edges and closed gaps."""

from __future__ import annotations

import numpy as np

from gpt4scene.scenes.bev_camera import BevCamera, bev_hits
from gpt4scene.scenes.masks import closed, connected_parts, nearest_pixel, part_sizes
from gpt4scene.scenes.render import Hits, Raycaster

BACKGROUND = 255
"""White, where there is no surface."""


def render_bev(caster: Raycaster, bev: BevCamera, hits: Hits, gap: float = 0.06) -> np.ndarray:
    """The bird's-eye view, uint8 [H, W, 3], from its pixels' hits: edges smoothed, pinholes closed.

    A pixel at an edge in depth or colour is the mean of four more rays. Gaps up to ``gap`` metres wide between
    surfaces take the nearest colour: scans have them where a voxel or a triangle is missing. Specks smaller than a
    square of ``2 * gap`` that touch nothing are left out.
    """
    shape = (bev.height, bev.width)
    found = hits.found.reshape(shape)
    values = caster.colors(hits).reshape(*shape, 3)
    rows, columns = np.nonzero(_edges(found, hits.depth.reshape(shape), values))
    if len(rows):
        smooth, known = _smoothed(caster, bev, np.stack([columns, rows], axis=1))
        values[rows[known], columns[known]] = smooth[known]
    radius = max(1, round(gap / 2 / bev.metres_per_pixel))
    surface = closed(found, radius, disc=True)
    parts = connected_parts(surface)
    sizes = part_sizes(parts)
    surface &= (sizes >= min((2 * gap / bev.metres_per_pixel) ** 2, sizes.max()))[parts]
    _, nearest_row, nearest_column = nearest_pixel(found)
    values = np.where(found[..., None], values, values[nearest_row, nearest_column])
    values = np.where(surface[..., None], values, np.float32(BACKGROUND))
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


def _smoothed(caster: Raycaster, bev: BevCamera, pixels_N2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean colours [N, 3] of four rays inside each pixel, as far as they met something, and whether any did."""
    total, count = np.zeros((len(pixels_N2), 3)), np.zeros(len(pixels_N2))
    for offset in ((-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375)):
        hits = bev_hits(caster, bev, pixels_N2 + np.array(offset))
        total += caster.colors(hits)
        count += hits.found
    return total / np.maximum(count, 1)[:, None], count > 0
