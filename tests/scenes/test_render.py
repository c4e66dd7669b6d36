import numpy as np
import pytest
import trimesh

from gpt4scene.scans.types import Mesh
from gpt4scene.scenes.pixels import all_pixels
from gpt4scene.scenes.render import Raycaster


def slab_depth(origin, directions, low, high):
    """Where rays enter a box (Kay and Kajiya's slabs); inf for a miss."""
    with np.errstate(divide="ignore"):
        near, far = (low - origin) / directions, (high - origin) / directions
    enter, leave = np.minimum(near, far).max(axis=1), np.maximum(near, far).min(axis=1)
    return np.where((enter <= leave) & (enter > 0), enter, np.inf)


def test_depth_of_a_box_is_the_analytic_one(make_camera, make_cuboid):
    vertices, faces, colors = make_cuboid((0.2, -0.1, 0.3), (0.8, 0.5, 0.6), (10, 20, 30))
    camera = make_camera((2, 1.5, 1.2), (0, 0, 0.3))
    hits = Raycaster(Mesh(vertices, faces, colors)).first_hits(camera)
    expected = slab_depth(
        camera.pose[:3, 3], camera.rays(all_pixels(200, 150)), vertices.min(axis=0), vertices.max(axis=0)
    )
    both = np.isfinite(expected) & hits.found
    assert both.sum() > 1000 and (np.isfinite(expected) != hits.found).sum() <= 3  # grazing rays may differ
    assert np.abs(hits.depth[both] - expected[both]).max() < 1e-4
    assert np.isinf(hits.depth[~hits.found]).all()


def test_depth_of_a_sphere_is_the_analytic_one(make_camera):
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.7)
    mesh = Mesh(np.asarray(ball.vertices), np.asarray(ball.faces), np.full((len(ball.vertices), 3), 99, np.uint8))
    camera = make_camera((3, 0, 0.5), (0, 0, 0))
    hits = Raycaster(mesh).first_hits(camera)
    rays, origin = camera.rays(all_pixels(200, 150)), camera.pose[:3, 3]
    a, b, c = (rays**2).sum(axis=1), rays @ origin, origin @ origin - 0.49
    inside = b**2 - a * c
    depth = (-b - np.sqrt(np.maximum(inside, 0))) / a
    clear = inside > 0.05
    assert clear.sum() > 1000 and hits.found[clear].all()
    assert np.abs(hits.depth[clear] - depth[clear]).max() < 2e-3  # the ball is a polyhedron


def test_far_from_the_origin_no_precision_is_lost(make_camera, make_cuboid):
    shift = np.eye(4)
    shift[:3, 3] = 40_000, -70_000, 900
    vertices, faces, colors = make_cuboid((0, 0, 0), (1, 1, 1), (0, 0, 0))
    camera = make_camera((2, 1, 1), (0, 0, 0))
    near = Raycaster(Mesh(vertices, faces, colors)).first_hits(camera)
    far = Raycaster(Mesh(vertices + shift[:3, 3], faces, colors)).first_hits(camera.moved(shift))
    assert np.array_equal(near.found, far.found)
    assert np.abs(near.depth[near.found] - far.depth[near.found]).max() < 1e-4


def test_colours_are_interpolated_between_corners(make_camera):
    mesh = Mesh(
        np.array([[0, -1, -1], [0, 1, -1], [0, 0, 2.0]]),
        np.array([[0, 1, 2]]),
        np.array([[240, 0, 0], [0, 240, 0], [0, 0, 240]], np.uint8),
    )
    caster = Raycaster(mesh)
    hits = caster.cast(np.array([[1.0, 0, 0], [1, 0, 9]]), np.array([[-1.0, 0, 0], [-1, 0, 0]]))
    assert np.allclose(caster.colors(hits), [[80, 80, 80], [0, 0, 0]], atol=0.01)


def test_projection_is_the_inverse_of_rays(make_camera):
    camera = make_camera((1, 2, 1.5), (0, 0, 0.5))
    pixels = all_pixels(200, 150)[::97]
    points = camera.pose[:3, 3] + 2.5 * camera.rays(pixels)
    found, depth = camera.project(points)
    assert np.allclose(found, pixels) and np.allclose(depth, 2.5)


def test_resizing_keeps_where_things_are(make_camera):
    camera = make_camera((1, 2, 1.5), (0, 0, 0.5))
    small = camera.resized(50, 50)
    point = np.array([[0.1, 0.2, 0.3]])
    (big_x, big_y), (x, y) = camera.project(point)[0][0], small.project(point)[0][0]
    assert np.allclose([(x + 0.5) * 4, (y + 0.5) * 3], [big_x + 0.5, big_y + 0.5])


def test_a_cloud_cannot_be_hit():
    with pytest.raises(ValueError, match="without faces"):
        Raycaster(Mesh(np.zeros((3, 3)), np.zeros((0, 3), int), np.zeros((3, 3), np.uint8)))
