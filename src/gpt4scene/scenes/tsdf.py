"""A smooth mesh from depth frames: a truncated signed distance field (TSDF) around the surface, and its zero level.

The field follows Curless and Levoy (SIGGRAPH 1996), kept only in blocks that readings touch (Niessner et al., 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import minimum_filter
from scipy.spatial import KDTree

from gpt4scene.errors import DataError
from gpt4scene.scans.images import read_color
from gpt4scene.scans.types import Camera, Frame, Mesh
from gpt4scene.scenes.depth_frames import frames_with_depth, trusted_depth
from gpt4scene.scenes.fusion import fuse_depth
from gpt4scene.scenes.pixels import all_pixels
from gpt4scene.scenes.surface_net import surface_net
from gpt4scene.scenes.voxels import voxel_cells, voxel_keys, voxel_mesh

VOXEL = 0.025
"""Edge of a voxel in metres."""
BLOCK = 8
"""Voxels along a block's edge."""
TRUNCATION = 4 * VOXEL
"""Metres in front of and behind a reading that it speaks about."""


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
    frames = frames_with_depth(frames)
    touched = [_touched_blocks(frame) for frame in frames]
    keys = np.unique(np.concatenate(touched))
    if not len(keys):
        raise DataError("the depth frames hold no usable reading")
    shape = (len(keys), BLOCK**3)
    field = _Field(keys, np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros((*shape, 3), np.float32))
    for frame, blocks in zip(frames, touched, strict=True):
        _integrate(field, frame, np.searchsorted(keys, blocks))
    return _mesh(field)


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
    depth, camera = trusted_depth(frame)
    rows, columns = np.nonzero(depth[::2, ::2])
    pixels = np.stack([columns, rows], axis=1) * 2
    rays, z = camera.rays(pixels), depth[pixels[:, 1], pixels[:, 0]].astype(np.float64)
    reach = TRUNCATION / _steepness(depth, camera)[pixels[:, 1], pixels[:, 0]]
    side = BLOCK * VOXEL
    steps = (-1.0, -0.5, 0.0, 0.5, 1.0)
    ends = [camera.pose[:3, 3] + (z + step * reach)[:, None] * rays for step in steps]
    return np.unique(np.concatenate([np.unique(voxel_keys(points, side)) for points in ends]))


def _integrate(field: _Field, frame: Frame, blocks: np.ndarray) -> None:
    """Add one frame to the field."""
    (depth, camera), image = trusted_depth(frame), read_color(frame)
    inside = np.stack(np.meshgrid(*[np.arange(BLOCK)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    corners = voxel_cells(field.keys[blocks]) * BLOCK
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


def _mesh(field: _Field) -> Mesh:
    """The surface of the field's voxels that have been measured."""
    block, voxel = np.nonzero(field.weight > 0)
    weight = field.weight[block, voxel]
    inside = np.stack([voxel // BLOCK**2, voxel // BLOCK % BLOCK, voxel % BLOCK], axis=1)
    position = voxel_cells(field.keys[block]) * BLOCK + inside
    color = field.color[block, voxel] / weight[:, None]
    return surface_net(position, field.distance[block, voxel] / weight, color, VOXEL)
