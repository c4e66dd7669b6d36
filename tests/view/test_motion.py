"""Slow browsers are told by how the places of their camera arrive."""

from functools import reduce

import numpy as np

from gpt4scene.view.motion import PAUSE, Pace
from gpt4scene.view.scenery import coarse_middle


def pace(*times):
    return reduce(Pace.after, times, Pace())


def test_a_browser_is_slow_where_few_places_of_its_camera_arrive():
    assert pace(0, 0.5, 1.0, 1.5, 2.0, 2.5).slow and not pace(0, 0.5, 1.0, 1.5, 2.0).slow
    assert pace(0, 0.02, 5, 5.02, 10, 10.02).slow, "frames that come two at a time"
    fast = [move * 2 + frame / 60 for move in range(9) for frame in range(10)]  # moves with rests between them
    assert not any(pace(*fast[:count]).slow for count in range(len(fast)))
    assert not pace(0, 0.5, 1.0, 1.5, 2.0, 2.1 + PAUSE).slow


def test_a_camera_rests_later_where_frames_take_longer():
    assert pace(0, 0.02).rest == 0.8 and pace(0, 1.0, 1.02).rest == 1.5 and pace(0, 2.9).rest == 3.0


def test_half_precision_is_for_rooms_only():
    room = np.random.default_rng(0).uniform((100, 100, 0), (110, 112, 3), (9999, 3)).astype(np.float32)
    middle, coarse = coarse_middle(room)
    sent = (room - middle).astype(np.float16).astype(np.float64) + middle
    assert coarse and np.abs(sent - room).max() <= 0.0021
    assert not coarse_middle(room * (2, 1, 1))[1] and not coarse_middle(np.zeros((0, 3), np.float32))[1]
