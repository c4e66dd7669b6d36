from pathlib import Path

import numpy as np
import pytest

from gpt4scene.errors import DataError
from gpt4scene.scans.types import Camera, Frame, Scan
from gpt4scene.scenes.frame_choice import covering, evenly, tracked_frames


@pytest.mark.parametrize(("count", "wanted"), [(100, 32), (33, 32), (1000, 8), (7, 3)])
def test_even_choice_is_the_published_formula(count, wanted):
    assert evenly(count, wanted) == [int(np.floor((i - 1) * count / wanted)) for i in range(1, wanted + 1)]


def test_fewer_frames_than_wanted_are_all_taken_once():
    assert evenly(5, 32) == [0, 1, 2, 3, 4]


def scan_with(poses):
    cameras = [Camera(np.eye(3), pose, 4, 4) for pose in poses]
    frames = tuple(Frame(str(i), Path("x.png"), camera) for i, camera in enumerate(cameras))
    return Scan("s", frames, None, None, (), Path("folder"))


def test_lost_poses_are_skipped_before_choosing():
    poses = [np.eye(4), np.full((4, 4), -np.inf), np.eye(4), np.full((4, 4), np.nan)]
    assert [frame.name for frame in tracked_frames(scan_with(poses))] == ["0", "2"]
    with pytest.raises(DataError, match="none of the 1 frames has a pose"):
        tracked_frames(scan_with(poses[1:2]))


def test_coverage_shows_every_object_with_the_fewest_frames():
    areas = np.zeros((10, 5))
    areas[:, 0] = 0.1
    areas[3, [1, 2]] = 0.2
    areas[8, [3, 4]] = 0.2
    areas[6, 4] = 0.5
    assert {3, 8} <= set(covering(areas, 3))
    assert covering(areas, 2) == [3, 8]


def test_coverage_fills_up_with_frames_far_apart_and_keeps_their_order():
    areas = np.zeros((9, 1))
    areas[0] = 1
    assert covering(areas, 3) == [0, 4, 8]
    assert covering(np.zeros((4, 0)), 9) == [0, 1, 2, 3]


def test_coverage_never_shows_fewer_objects_than_even_spacing():
    rng = np.random.default_rng(3)
    for _ in range(50):
        areas = rng.random((60, 20)) * (rng.random((60, 20)) < 0.03)
        count = [len(np.unique(np.nonzero(areas[chosen])[1])) for chosen in (covering(areas, 6), evenly(60, 6))]
        assert count[0] >= count[1]
