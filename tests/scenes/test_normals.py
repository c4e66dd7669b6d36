"""Normals of point clouds, small and large."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from gpt4scene.scans.posed import read_posed
from gpt4scene.scans.types import Mesh
from gpt4scene.scenes import normals
from gpt4scene.scenes.clusters import spread_points
from gpt4scene.scenes.normals import point_normals, some_points
from gpt4scene.scenes.upright import upright
from gpt4scene.scenes.voxels import voxel_mesh


def cloud_of(points):
    return Mesh(points, np.zeros((0, 3), np.int64), np.full((len(points), 3), 90, np.uint8))


def peak(work):
    """Most bytes that ``work()`` holds at once, on top of what was there."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_points_of_a_plane_have_its_normal():
    points = np.random.default_rng(0).random((300, 3)) * [1, 1, 0]
    assert np.allclose(np.abs(point_normals(points)), [0, 0, 1])
    assert point_normals(points[:1]).shape == (1, 3) and point_normals(points[:0]).shape == (0, 3)


def test_parts_give_the_same_as_the_whole_in_less_memory(monkeypatch):
    points = np.random.default_rng(0).random((20_000, 3))
    whole, before = point_normals(points), peak(lambda: point_normals(points))
    monkeypatch.setattr(normals, "_AT_ONCE", 999)
    assert np.array_equal(point_normals(points), whole)
    assert peak(lambda: point_normals(points)) < before / 4


def test_few_points_are_all_kept_and_many_are_thinned(monkeypatch):
    points = np.random.default_rng(0).random((1000, 3))
    assert some_points(points) is points
    monkeypatch.setattr(normals, "MOST_POINTS", 999)
    monkeypatch.setattr(normals, "ENOUGH_POINTS", 200)
    some = some_points(points)
    places = [int(np.nonzero((points == point).all(axis=1))[0][0]) for point in some]
    assert len(set(places)) == 200 and places == sorted(places)
    assert np.array_equal(some, some_points(points))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.slow
def test_a_large_cloud_is_set_upright_by_some_of_its_points(box_room_folder, monkeypatch, large):
    scan = read_posed(box_room_folder)
    points = spread_points(scan.mesh)
    lying = np.array([[1, 0, 0], [0, np.cos(0.1), -np.sin(0.1)], [0, np.sin(0.1), np.cos(0.1)]])
    scan = replace(scan, mesh=cloud_of(points @ lying.T), align=None, objects=())
    move = np.eye(4)
    move[:3, :3] = lying
    frames = [replace(one, camera=one.camera.moved(move), depth=None, depth_camera=None) for one in scan.frames]
    used = []
    if large:
        monkeypatch.setattr(normals, "MOST_POINTS", len(points) // 2)
        monkeypatch.setattr(normals, "ENOUGH_POINTS", len(points) // 3)
    monkeypatch.setattr(
        "gpt4scene.scenes.upright.point_normals", lambda some: used.append(len(some)) or point_normals(some)
    )
    standing = upright(replace(scan, frames=tuple(frames)))
    assert used == [len(points) // 3 if large else len(points)]
    assert np.abs(standing.align[2, :3] - lying[:, 2]).max() < 0.01
    assert len(standing.mesh.vertices) == len(points)


def test_voxels_of_a_large_cloud_hold_few_copies_of_it():
    points = np.random.default_rng(0).random((200_000, 3))
    assert peak(lambda: voxel_mesh(cloud_of(points), 0.2)) < 8 * points[0].nbytes * len(points) / 3
