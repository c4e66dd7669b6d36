"""The zero level of a sampled distance field as a mesh: a surface net (Gibson, MICCAI 1998).

One vertex a cell of the grid, the mean of the places where the cell's edges change sign.
"""

from __future__ import annotations

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.types import Mesh
from gpt4scene.scenes.voxels import voxel_keys

_CORNERS = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)])


def surface_net(position: np.ndarray, value: np.ndarray, color: np.ndarray, edge: float) -> Mesh:
    """The coloured zero level of a field that is known at some points of a grid, facing where it is positive.

    ``position`` int [N, 3] are the grid's points, each once, ``edge`` metres apart and half an edge off the origin;
    ``value`` float [N] is the field there from -1 to 1, ``color`` float [N, 3]. Raises DataError without zero level.
    """
    keys = voxel_keys(position + 0.5, 1.0)
    order = np.argsort(keys)
    keys, value, color, position = keys[order], value[order], color[order], position[order]
    near = np.nonzero(np.abs(value) < 0.999)[0]
    base = np.unique(np.concatenate([_find(keys, voxel_keys(position[near] - c + 0.5, 1.0)) for c in _CORNERS]))
    base = base[base >= 0]
    corner = np.stack([_find(keys, voxel_keys(position[base] + c + 0.5, 1.0)) for c in _CORNERS], axis=1)
    whole = (corner >= 0).all(axis=1)
    base, corner = base[whole], corner[whole]
    values = value[corner]
    crossed = (values > 0).any(axis=1) & (values <= 0).any(axis=1)
    base, corner, values = base[crossed], corner[crossed], values[crossed]
    if not len(base):
        raise DataError("the depth frames agree on no surface; are the poses right?")
    vertices = (position[base] + _net_points(values) + 0.5) * edge
    shares = 1.0 / (np.abs(values) + 0.05)
    paint = (color[corner] * shares[..., None]).sum(axis=1) / shares.sum(axis=1, keepdims=True)
    faces = _quads(keys[base], position[base], values)
    return Mesh(vertices, faces, np.clip(np.rint(paint), 0, 255).astype(np.uint8))


def _find(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Places of ``wanted`` in sorted ``keys``, -1 where there is none."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)


def _net_points(values_N8: np.ndarray) -> np.ndarray:
    """The mean place in each unit cell where its edges cross zero, [N, 3]."""
    total, count = np.zeros((len(values_N8), 3)), np.zeros(len(values_N8))
    for first in range(8):
        for axis in range(3):
            second = first | 4 >> axis
            if second == first:
                continue
            a, b = values_N8[:, first], values_N8[:, second]
            crosses = (a > 0) != (b > 0)
            share = np.where(crosses, a / np.where(crosses, a - b, 1.0), 0.0)
            step = _CORNERS[first] + share[:, None] * (_CORNERS[second] - _CORNERS[first])
            total += np.where(crosses[:, None], step, 0.0)
            count += crosses
    return total / count[:, None]


def _quads(cells: np.ndarray, position: np.ndarray, values_N8: np.ndarray) -> np.ndarray:
    """Faces [F, 3]: two triangles around each edge that changes sign, between the four cells that share it."""
    faces = []
    for axis in range(3):
        a, b = np.eye(3, dtype=np.int64)[(axis + 1) % 3], np.eye(3, dtype=np.int64)[(axis + 2) % 3]
        here, there = values_N8[:, 0] > 0, values_N8[:, 4 >> axis] > 0
        edge = np.nonzero(here != there)[0]
        around = [_find(cells, voxel_keys(position[edge] - s + 0.5, 1.0)) for s in (0 * a, a, a + b, b)]
        quad = np.stack(around, axis=1)
        held = (quad >= 0).all(axis=1)
        quad, flip = quad[held], here[edge[held]]
        quad[~flip] = quad[~flip][:, ::-1]
        faces += [quad[:, [0, 2, 1]], quad[:, [0, 3, 2]]]
    return np.concatenate(faces)
