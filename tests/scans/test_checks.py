"""Cameras that can't be are named with the way out, whatever the format; cameras that can be are not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gpt4scene.errors import DataError
from gpt4scene.scans.checks import check_scan
from gpt4scene.scans.types import Camera, Frame, Scan

K = np.array([[500.0, 0, 319.5], [0, 500, 239.5], [0, 0, 1]])


def scan_of(camera, depth_camera=None):
    depth = Path("depth.png") if depth_camera is not None else None
    frame = Frame("00003", Path("image.jpg"), camera, depth, depth_camera)
    return Scan("room", (frame,), None, None, (), Path("scans/room"))


def pose(**changes):
    found = np.eye(4)
    for where, value in changes.items():
        found[int(where[1]), int(where[2])] = value
    return found


def with_k(factor, width=640, height=480):
    k = K.copy()
    k[:2] *= factor
    return Camera(k, np.eye(4), width, height)


GOOD = Camera(K, np.eye(4), 640, 480)
KINECT = Camera(np.array([[571.6, 0, 322], [0, 574.6, 241], [0, 0, 1]]), np.eye(4), 640, 480)
RIGHT = {
    "a plain camera": (GOOD, None),
    "rescaled depth": (GOOD, GOOD.resized(256, 192)),
    "ScanNet's sizes": (GOOD.resized(1296, 968), GOOD),
    "Kinect's own depth camera": (GOOD, KINECT),
    "a cropped image": (Camera(K - [[0, 0, 60], [0, 0, 0], [0, 0, 0]], np.eye(4), 560, 480), None),
    "a lost pose": (replace(GOOD, pose=np.full((4, 4), -np.inf)), None),
    "a lost pose that ends as poses do": (replace(GOOD, pose=np.array([[np.nan] * 4] * 3 + [[0, 0, 0, 1]])), None),
}
WRONG = {
    "intrinsics of larger images": (with_k(3), None, "images of about 1917x1437"),
    "intrinsics of smaller images": (with_k(1 / 3), None, "far from its middle"),
    "no principal point": (Camera(np.diag([500.0, 500, 1]), np.eye(4), 640, 480), None, "far from its middle"),
    "intrinsics of images that lie": (Camera(K, np.eye(4), 300, 640), None, "far from its middle"),
    "depth of another shape": (GOOD.resized(1280, 720), GOOD, "depth_intrinsics.txt"),
    "depth camera of another size": (GOOD, replace(with_k(3), width=256, height=192), "00003, depth: the optical axis"),
    "one nan": (replace(GOOD, pose=pose(m03=np.nan)), None, "mixed"),
    "one inf in the rotation": (replace(GOOD, pose=pose(m11=np.inf)), None, "mixed"),
    "a scale in the rotation": (replace(GOOD, pose=pose(m00=2, m11=2, m22=2)), None, "stretches"),
    "a mirror": (replace(GOOD, pose=pose(m22=-1)), None, "determinant -1"),
    "shear": (replace(GOOD, pose=pose(m01=0.2)), None, "skews"),
    "a transposed pose": (replace(GOOD, pose=pose(m30=1.5)), None, "0 0 0 1"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_can_be_is_taken(name):
    check_scan(scan_of(*RIGHT[name]))


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_named(name):
    camera, depth_camera, sentence = WRONG[name]
    with pytest.raises(DataError, match="scans/room, frame 00003") as error:
        check_scan(scan_of(camera, depth_camera))
    assert sentence in str(error.value)


def test_an_alignment_that_shears_is_named():
    scan = replace(scan_of(GOOD), align=pose(m01=0.3))
    with pytest.raises(DataError, match="the axis alignment stretches or skews"):
        check_scan(scan)
