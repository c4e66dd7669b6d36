"""The block of text that tells a scene's geometry: every number in it, and what it leaves out."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.geometry.text import CameraPose, Frame, camera_pose, estimated_tokens, geometry_block

BOXES = np.array([[1.234, -0.001, 0.5, 1, 2, 1.005], [0] * 6, [-2, 0, 0.25, 0.1, 0, 0.5]], dtype=np.float64)


def pose(ahead, down, place=(0.0, 0.0, 0.0)):
    """A camera-to-world matrix whose image looks along ``ahead`` with ``down`` towards its lower edge."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([np.cross(down, ahead), down, ahead], axis=1)
    matrix[:3, 3] = place
    return matrix


def test_every_object_with_a_box_has_a_line():
    block = geometry_block(BOXES, ["office  chair", "gone"], Frame())
    first, *rows = block.splitlines()
    assert first.startswith("Marked objects, metres in the aligned frame; z up:") and block.endswith("\n")
    assert rows == ["<OBJ000> office chair 1.23,0.00,0.50 1.00,2.00,1.00", "<OBJ002> -2.00,0.00,0.25 0.10,0.00,0.50"]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (Frame(), "metres in the aligned frame; z up:"),
        (Frame(floor=-0.004), "metres in the aligned frame; z up (floor at 0.00):"),
        (Frame(1.5, bev=True), "metres, x right and y up in image 1, the view from above; z up (floor at 1.50):"),
    ],
)
def test_the_frame_of_the_coordinates_is_named(frame, said):
    assert said in geometry_block(BOXES, [], frame).splitlines()[0]


def test_a_scene_without_boxes_has_no_block():
    assert geometry_block(np.zeros((3, 6)), ["chair"] * 3, Frame()) is None
    assert geometry_block(np.zeros((0, 6)), [], Frame(), (CameraPose(1, (0, 0, 0), 0, 0),)) is None


def test_objects_without_an_identifier_are_left_out():
    block = geometry_block(np.ones((1003, 6)), [], Frame())
    assert block.count("<OBJ") == 1000 and "<OBJ999>" in block


@pytest.mark.parametrize(
    ("ahead", "down", "heading", "pitch"),
    [
        ((1, 0, 0), (0, 0, -1), 0, 0),
        ((0, 1, 0), (0, 0, -1), 90, 0),
        ((-1, 0, 0), (0, 0, -1), 180, 0),
        ((0, -1, 0), (0, 0, -1), 270, 0),
        ((0, 0, -1), (0, -1, 0), 90, -90),
        ((0, 0, 1), (-1, 0, 0), 180, 90),
    ],
)
def test_heading_and_pitch_of_plain_views(ahead, down, heading, pitch):
    found = camera_pose(3, pose(ahead, down, (1, 2, 3)))
    assert found.number == 3 and found.place == (1, 2, 3)
    assert found.heading == pytest.approx(heading) and found.pitch == pytest.approx(pitch)


@given(st.floats(0, 359), st.floats(-80, 80))
def test_heading_and_pitch_give_back_the_view(heading, pitch):
    around, upward = np.radians([heading, pitch])
    ahead = np.array([np.cos(around) * np.cos(upward), np.sin(around) * np.cos(upward), np.sin(upward)])
    right = np.array([np.sin(around), -np.cos(around), 0])
    found = camera_pose(1, pose(ahead, np.cross(ahead, right)))
    assert found.heading == pytest.approx(heading, abs=1e-6) and found.pitch == pytest.approx(pitch, abs=1e-6)


def test_cameras_follow_the_objects_and_a_full_turn_is_zero():
    cameras = (CameraPose(2, (1.0, -0.5, 1.6), 359.7, -12.4), CameraPose(3, (0, 0, 0), 90, 0.4))
    block = geometry_block(BOXES, [], Frame(), cameras)
    assert block.splitlines()[-2:] == ["2 1.00,-0.50,1.60 0 -12", "3 0.00,0.00,0.00 90 0"]
    assert block.splitlines()[-3].startswith("Cameras: image, place x,y,z, heading in degrees")


@given(st.lists(st.lists(st.floats(-50, 50), min_size=6, max_size=6), min_size=1, max_size=5))
def test_the_numbers_are_the_boxes_to_the_centimetre(rows):
    boxes = np.abs(np.array(rows)) * [[1, 1, 1, 1, 1, 1]] + [[0, 0, 0, 0.01, 0.01, 0.01]]
    block = geometry_block(boxes, [], Frame())
    found = [[float(number) for number in re.findall(r"-?\d+\.\d\d", line)] for line in block.splitlines()[1:]]
    assert np.abs(np.array(found) - boxes).max() <= 0.005 + 1e-9
    assert "-0.00" not in block


def test_the_estimate_counts_digits_words_and_signs():
    assert estimated_tokens("<OBJ012> office chair 1.23,-0.4") == 17
    assert estimated_tokens("") == 0
