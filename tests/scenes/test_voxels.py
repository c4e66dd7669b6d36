"""Voxels: closed, with masks, and no farther than a scene can be."""

import numpy as np
import pytest

from gpt4scene.errors import DataError
from gpt4scene.scans.types import Mesh, SceneObject
from gpt4scene.scenes.voxels import voxel_keys, voxel_mesh


def test_voxels_are_closed_and_keep_masks():
    rng = np.random.default_rng(2)
    points = rng.random((400, 3)) * [1, 0.6, 0.4]
    cloud = Mesh(points, np.zeros((0, 3), int), rng.integers(0, 256, (400, 3)).astype(np.uint8))
    voxels = voxel_mesh(cloud, 0.1)
    a, b, c = (voxels.mesh.vertices[voxels.mesh.faces[:, i]] for i in range(3))
    volume = np.einsum("ij,ij->i", np.cross(a, b), c).sum() / 6
    assert volume == pytest.approx(len(np.unique(voxel_keys(points, 0.1))) * 0.001)  # outward faces, no gap
    mask = np.nonzero(points[:, 0] < 0.3)[0]
    carried = voxels.carried(SceneObject(0, "x", np.zeros(3), np.ones(3), mask))
    held = voxels.mesh.vertices[carried.vertices]
    assert held[:, 0].min() >= 0 and held[:, 0].max() <= 0.3 + 1e-9
    outer = set(voxels.of_vertices)  # a voxel with six neighbours has no side
    assert set(voxels.of_vertices[carried.vertices]) == set(voxels.of_points[mask]) & outer


def test_points_kilometres_away_are_an_error():
    with pytest.raises(DataError, match="in metres"):
        voxel_keys(np.array([[1e6, 0, 0]]), 0.02)
