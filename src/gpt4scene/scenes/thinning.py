"""A surface or a cloud thinned to so many coloured points, which people look at in the place of the scan."""

from __future__ import annotations

import numpy as np

from gpt4scene.files.points import Points
from gpt4scene.scans.types import Mesh

FINEST = 10_000.0
"""Most points of a square metre of a surface: one each centimetre."""


def thinned(mesh: Mesh, most: int, generator: np.random.Generator) -> Points:
    """Return at most ``most`` points of ``mesh``, spread evenly.

    Those of a surface are drawn by area, with the colour between those of its corners; those of a cloud are some of
    its own. Nothing is left out by height, so a ceiling stays.
    """
    if not len(mesh.faces):
        count = len(mesh.vertices)
        kept = np.sort(generator.permutation(count)[:most]) if count > most else slice(None)
        return Points(mesh.vertices[kept].astype(np.float32), mesh.colors[kept], count)
    a, b, c = mesh.corners()
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    total = float(area.sum())
    count = int(min(most, max(np.ceil(total * FINEST), 1))) if total > 0 else 0
    # Evenly spaced along the summed areas, so that no part of the surface gets none by chance.
    steps = (np.arange(count) + generator.random(count)) / max(count, 1) * total
    faces = np.minimum(np.searchsorted(np.cumsum(area), steps, side="right"), len(area) - 1)
    u, v = generator.random((2, count))
    over = u + v > 1
    u[over], v[over] = 1 - u[over], 1 - v[over]
    weights = np.stack([1 - u - v, u, v], axis=1)
    corners = mesh.faces[faces]
    places = np.einsum("nk,nkd->nd", weights, mesh.vertices[corners])
    colors = np.einsum("nk,nkd->nd", weights, mesh.colors[corners].astype(np.float64))
    return Points(places.astype(np.float32), np.rint(colors).astype(np.uint8), len(mesh.faces), "triangles")
