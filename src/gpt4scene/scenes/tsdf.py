"""A smooth mesh from depth frames: a truncated signed distance field around the surface, and its zero level as a mesh.

The field follows Curless and Levoy (SIGGRAPH 1996), kept only in blocks that readings touch (Niessner et al., 2013);
the mesh is a surface net (Gibson, MICCAI 1998): one vertex a cell, the mean of the places where its edges change sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import minimum_filter
from scipy.spatial import KDTree

from gpt4scene.errors import DataError
from gpt4scene.scans.images import read_color, read_depth
from gpt4scene.scans.types import Camera, Frame, Mesh
from gpt4scene.scenes.frame_choice import evenly
from gpt4scene.scenes.fusion import (
    FARTHEST,
    MOST_FRAMES,
    at_edges,
    fuse_depth,
    unpacked,
    voxel_keys,
    voxel_mesh,
)
from gpt4scene.scenes.render import all_pixels

VOXEL = 0.025
"""Edge of a voxel in metres."""
BLOCK = 8
"""Voxels along a block's edge."""
TRUNCATION = 4 * VOXEL
"""Metres in front of and behind a reading that it speaks about."""
_CORNERS = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)])


@dataclass
class _Field:
    """Weighted sums of voxels by block: ``keys`` [B] sorted; ``distance``, ``weight`` [B, V], ``color`` [B, V, 3]."""

    keys: np.ndarray
    distance: np.ndarray
    weight: np.ndarray
    color: np.ndarray


def fuse_mesh(frames: Sequence[Frame]) -> Mesh:
    """The fused surface with colours, closed by plain voxels where readings are too few for a field.

    Raises DataError when no frame has depth or nothing can be made of it.
    """
    smooth, cloud = _fused_field(frames), fuse_depth(frames)
    near, _ = KDTree(smooth.vertices).query(cloud.vertices, k=6, distance_upper_bound=1.8 * VOXEL)
    bare = ~np.isfinite(near).all(axis=1)
    if not bare.any():
        return smooth
    rest = voxel_mesh(Mesh(cloud.vertices[bare], cloud.faces, cloud.colors[bare])).mesh
    return Mesh(
        np.concatenate([smooth.vertices, rest.vertices]),
        np.concatenate([smooth.faces, rest.faces + len(smooth.vertices)]),
        np.concatenate([smooth.colors, rest.colors]),
    )


def _fused_field(frames: Sequence[Frame]) -> Mesh:
    frames = [frame for frame in frames if frame.depth is not None and frame.camera.tracked]
    if not frames:
        raise DataError("the scan has neither a mesh nor depth frames with poses; one of them is needed")
    frames = [frames[index] for index in evenly(len(frames), MOST_FRAMES)]
    touched = [_touched_blocks(frame) for frame in frames]
    keys = np.unique(np.concatenate(touched))
    if not len(keys):
        raise DataError("the depth frames hold no usable reading")
    shape = (len(keys), BLOCK**3)
    field = _Field(keys, np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros((*shape, 3), np.float32))
    for frame, blocks in zip(frames, touched, strict=True):
        _integrate(field, frame, np.searchsorted(keys, blocks))
    return _zero_level(field)


def _depth_of(frame: Frame) -> np.ndarray:
    depth = read_depth(frame)
    assert depth is not None, "the caller keeps frames with depth"
    return np.where((depth > 0.1) & (depth < FARTHEST) & ~at_edges(depth), depth, np.float32(0))


def _steepness(depth_HW: np.ndarray, camera: Camera) -> np.ndarray:
    """How much distance from the surface a metre of depth means at each reading, from 0.25 to about 1, float [H, W].

    Where the floor is seen at a flat angle, a point far along the ray is still close to it.
    """
    pixels = all_pixels(camera.width, camera.height)
    rays = camera.rays(pixels)
    points = (rays * depth_HW.reshape(-1, 1)).reshape(*depth_HW.shape, 3)
    across, along = np.gradient(points, axis=1), np.gradient(points, axis=0)
    normals = np.cross(across, along)
    length = np.maximum(np.linalg.norm(normals, axis=2), 1e-12)
    steep = np.abs((normals * rays.reshape(*depth_HW.shape, 3)).sum(axis=2)) / length
    whole = minimum_filter(depth_HW, size=3, mode="nearest") > 0
    return np.where(whole, np.clip(steep, 0.25, None), 1.0).astype(np.float32)


def _touched_blocks(frame: Frame) -> np.ndarray:
    """Keys of the blocks that a frame's readings speak about, sorted."""
    depth = _depth_of(frame)
    assert frame.depth_camera is not None, "a frame with depth has a depth camera"
    rows, columns = np.nonzero(depth[::2, ::2])
    pixels = np.stack([columns, rows], axis=1) * 2
    rays, z = frame.depth_camera.rays(pixels), depth[pixels[:, 1], pixels[:, 0]].astype(np.float64)
    reach = TRUNCATION / _steepness(depth, frame.depth_camera)[pixels[:, 1], pixels[:, 0]]
    side = BLOCK * VOXEL
    steps = (-1.0, -0.5, 0.0, 0.5, 1.0)
    ends = [frame.depth_camera.pose[:3, 3] + (z + step * reach)[:, None] * rays for step in steps]
    return np.unique(np.concatenate([np.unique(voxel_keys(points, side)) for points in ends]))


def _integrate(field: _Field, frame: Frame, blocks: np.ndarray) -> None:
    """Add one frame to the field."""
    assert frame.depth_camera is not None, "a frame with depth has a depth camera"
    depth, camera, image = _depth_of(frame), frame.depth_camera, read_color(frame)
    inside = np.stack(np.meshgrid(*[np.arange(BLOCK)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    corners = unpacked(field.keys[blocks]) * BLOCK
    centers = ((corners[:, None] + inside[None]).reshape(-1, 3) + 0.5) * VOXEL
    pixels, z = camera.project(centers)
    with np.errstate(invalid="ignore"):
        places = np.where(z[:, None] > 0.05, np.rint(pixels), -1)
        seen = ((places >= 0) & (places < [camera.width, camera.height])).all(axis=1)
    index = np.nonzero(seen)[0]
    places = places[index].astype(np.int64)
    reading = depth[places[:, 1], places[:, 0]]
    ahead = (reading - z[index]) * _steepness(depth, camera)[places[:, 1], places[:, 0]]
    use = (reading > 0) & (ahead > -TRUNCATION)
    index, places, reading, ahead = index[use], places[use], reading[use], ahead[use]
    weight = (1.0 / reading**2).astype(np.float32)
    target = blocks[index // BLOCK**3], index % BLOCK**3  # a voxel comes once a frame
    field.distance[target] += weight * np.minimum(ahead / TRUNCATION, 1.0)
    field.weight[target] += weight
    color = np.rint(camera.pixels_in(frame.camera, places)).astype(np.int64)
    color = np.clip(color, 0, [frame.camera.width - 1, frame.camera.height - 1])
    field.color[target] += weight[:, None] * image[color[:, 1], color[:, 0]]


def _zero_level(field: _Field) -> Mesh:
    """The surface net of the field's zero level, facing the side that was seen."""
    block, voxel = np.nonzero(field.weight > 0)
    weight = field.weight[block, voxel]
    value = field.distance[block, voxel] / weight
    color = field.color[block, voxel] / weight[:, None]
    inside = np.stack([voxel // BLOCK**2, voxel // BLOCK % BLOCK, voxel % BLOCK], axis=1)
    position = unpacked(field.keys[block]) * BLOCK + inside
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
    vertices = (position[base] + _net_points(values) + 0.5) * VOXEL
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
