"""Boxes in images: against numbers computed by hand, and cut at the camera and at the edges."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.files.prepared import SceneBev, SceneFrame
from gpt4scene.report.projecting import NEAR, clipped, convex, from_above, in_frame

K = np.array([[100.0, 0, 99.5], [0, 100, 49.5], [0, 0, 1]])


def frame(pose=None):
    return SceneFrame("f", Path("f.jpg"), 200, 100, K, np.eye(4) if pose is None else pose, ())


def test_a_box_ahead_lies_where_the_pinhole_puts_it():
    """Near face at 1 m, far face at 3 m, half a metre to each side: the middle of the image is (100, 50)."""
    found = in_frame(np.array([0, 0, 2, 1, 0.5, 2.0]), frame())
    assert found.lines_E22.shape == (12, 2, 2) and found.inside == 1
    near, far = {(50, 25), (150, 25), (50, 75), (150, 75)}, {(83.333, 41.667), (116.667, 58.333)}
    ends = {tuple(point) for point in found.lines_E22.reshape(-1, 2).round(3).tolist()}
    assert near | far <= ends and len(ends) == 8
    assert sorted(map(tuple, found.outline_K2.round(3).tolist())) == sorted(near)
    assert found.area == pytest.approx(100 * 50 / 20000)


def test_a_pose_leads_from_the_camera_to_the_room():
    """A camera at (5, 0, 1) looks along -x, its right is +y: (3, 0.5, 1) lies a quarter of the half to the right."""
    pose = np.eye(4)
    pose[:3, :3] = np.stack([[0, 1, 0], [0, 0, -1], [-1, 0, 0]], axis=1)
    pose[:3, 3] = 5, 0, 1
    found = in_frame(np.array([3, 0.5, 1, 1e-6, 1e-6, 1e-6]) + [0, 0, 0, 0.02, 0.02, 0.02], frame(pose))
    assert found.outline_K2.mean(axis=0) == pytest.approx([100 + 25, 50], abs=0.5)


def test_what_is_behind_is_not_drawn_and_what_passes_the_camera_is_cut():
    assert in_frame(np.array([0, 0, -2, 1, 1, 2.0]), frame()) is None
    assert in_frame(np.array([40, 0, 2, 1, 1, 1.0]), frame()) is None
    passing = in_frame(np.array([0.5, 1, 0, 0.2, 0.2, 6.0]), frame())  # from 3 m behind to 3 m ahead, low on the right
    assert 0 < passing.inside <= 0.5
    assert (passing.outline_K2 >= 0).all() and (passing.outline_K2 <= [200, 100]).all()
    far = [100 + 100 * 0.5 / 3, 50 + 100 * 1 / 3]
    assert np.linalg.norm(passing.outline_K2 - far, axis=1).min() < 6, "it reaches to its far end"
    around = in_frame(np.array([0, 0, 0, 9, 9, 9.0]), frame())
    assert around.area == 1, "the camera is inside: the box is all around"


def test_from_above_a_box_is_a_rectangle_by_the_scale_of_the_view():
    bev = SceneBev(Path("bev.jpg"), 100, 80, 0.05, -2.0, 3.0, 0.0, ())
    found = from_above(np.array([0, 1, 0.5, 1, 0.5, 1]), bev)
    assert found.outline_K2.min(axis=0).tolist() == pytest.approx([30, 35])
    assert found.outline_K2.max(axis=0).tolist() == pytest.approx([50, 45])
    assert found.inside == 1 and len(found.lines_E22) == 4
    assert from_above(np.array([50, 1, 0, 1, 1, 1.0]), bev) is None
    assert from_above(np.array([-2, 1, 0, 1, 1, 1.0]), bev).inside == 0.5


number = st.floats(-6, 6)


@given(box=st.tuples(number, number, number, *[st.floats(0.01, 8)] * 3))
def test_lines_and_outline_stay_inside_the_image(box):
    found = in_frame(np.array(box), frame())
    if found is not None:
        for points in (found.lines_E22.reshape(-1, 2), found.outline_K2):
            assert (points >= -1e-6).all() and (points <= np.array([200, 100]) + 1e-6).all()
        assert 0 < found.area <= 1 + 1e-9 and 0 <= found.inside <= 1
    ahead = box[2] + box[5] / 2 >= NEAR
    assert ahead or found is None


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=3, max_size=12))
def test_the_convex_line_has_every_point_on_its_inner_side(points):
    shape = convex(np.array(points))
    if len(shape) < 3:
        return
    for one, two in zip(shape, np.roll(shape, -1, axis=0), strict=True):
        along = two - one
        cross = along[0] * (np.array(points)[:, 1] - one[1]) - along[1] * (np.array(points)[:, 0] - one[0])
        assert (cross >= -1e-6).all()
    assert len(clipped(shape, (20, 20))) <= len(shape) + 4
