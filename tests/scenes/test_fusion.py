"""Surfaces from depth frames: they lie where the room is, and free space where it is not."""

import numpy as np
import pytest

from gpt4scene.errors import DataError
from gpt4scene.scans.posed import read_posed
from gpt4scene.scenes.freespace import FreeSpace
from gpt4scene.scenes.fusion import fuse_depth
from gpt4scene.scenes.tsdf import fuse_mesh


def surface_distance(room, points):
    """Distance of points to the nearest side of the room's solids."""
    best = np.full(len(points), np.inf)
    for first in range(0, len(room.mesh.vertices), 8):
        low, high = room.mesh.vertices[first : first + 8].min(axis=0), room.mesh.vertices[first : first + 8].max(axis=0)
        outside = np.linalg.norm(np.maximum(np.maximum(low - points, points - high), 0), axis=1)
        inside = np.minimum(points - low, high - points).min(axis=1)
        best = np.minimum(best, np.where(outside > 0, outside, np.abs(inside)))
    return best


@pytest.fixture(scope="module")
def depth_scan(box_room, tmp_path_factory):
    folder = box_room.write(tmp_path_factory.mktemp("depth") / "room", mesh=False, align=np.eye(4))
    return read_posed(folder)


def test_fused_points_lie_on_the_surface_in_its_colour(box_room, depth_scan):
    cloud = fuse_depth(depth_scan.frames)
    assert len(cloud.vertices) > 5000
    assert np.percentile(surface_distance(box_room, cloud.vertices), 99) < 0.02
    on_sofa = (np.abs(cloud.vertices - [0.5, 1.9, 0.8]) < [0.8, 0.3, 0.005]).all(axis=1)
    shade = box_room.mesh.colors[box_room.objects[6].vertices[0]].astype(int)
    assert on_sofa.sum() > 50 and np.abs(cloud.colors[on_sofa].astype(int) - shade).max() <= 3


@pytest.mark.slow
def test_the_smooth_surface_is_closer_than_its_voxels_and_faces_the_cameras(box_room, depth_scan):
    mesh = fuse_mesh(depth_scan.frames[::2])
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    normals, centers = np.cross(b - a, c - a), (a + b + c) / 3
    assert len(mesh.faces) > 5000
    assert np.percentile(surface_distance(box_room, centers), 90) < 0.012
    floor = (np.abs(centers[:, 2]) < 0.01) & (np.abs(normals[:, 2]) > 0.9 * np.linalg.norm(normals, axis=1))
    assert floor.sum() > 500 and (normals[floor, 2] > 0).mean() > 0.9


def test_without_mesh_and_depth_there_is_one_clear_sentence(depth_scan):
    bare = [type(f)(f.name, f.image, f.camera) for f in depth_scan.frames]
    with pytest.raises(DataError, match="neither a mesh nor depth"):
        fuse_depth(bare)


def test_free_space_tells_open_ways_from_unmeasured_ones(depth_scan, make_camera):
    free = FreeSpace(depth_scan.frames)
    camera = make_camera((1.9, 0, 1.5), (0, 0.3, 0.6))
    middle = np.array([[100, 75]])
    assert free.leads_to(camera, middle, np.array([1.5]))[0]
    assert not free.leads_to(camera, middle, np.array([np.inf]))[0]
    outside = make_camera((8.0, 0, 1.5), (0, 0, 1.5))
    assert not free.leads_to(outside, middle, np.array([5.0]))[0]
