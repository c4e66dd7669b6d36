import numpy as np

from gpt4scene.scans.geometry import product, transformed
from gpt4scene.scans.types import Camera


def test_product_is_the_matrix_product():
    random = np.random.default_rng(0)
    points, matrix = random.normal(size=(100, 3)), random.normal(size=(3, 3))
    assert np.allclose(product(points, matrix), points @ matrix.T, rtol=0, atol=1e-12)
    assert product(np.zeros((0, 3)), matrix).shape == (0, 3)


def test_rays_and_projection_are_each_others_inverse():
    random = np.random.default_rng(1)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = np.linalg.qr(random.normal(size=(3, 3)))[0], random.normal(size=3)
    camera = Camera(np.array([[500.0, 2, 320], [0, 480, 240], [0, 0, 1]]), pose, 640, 480)
    pixels, depth = random.uniform(0, 480, (50, 2)), random.uniform(0.5, 5, 50)
    points = pose[:3, 3] + depth[:, None] * camera.rays(pixels)
    back, found = camera.project(points)
    assert np.allclose(back, pixels, atol=1e-9) and np.allclose(found, depth, atol=1e-12)
    assert np.allclose(
        transformed(points, pose) - transformed(points[:1], pose), (points - points[:1]) @ pose[:3, :3].T
    )


def test_a_lost_camera_stays_lost_when_the_world_moves():
    camera = Camera(np.eye(3), np.full((4, 4), -np.inf), 4, 4)
    assert not camera.tracked and not camera.moved(np.eye(4)).tracked
