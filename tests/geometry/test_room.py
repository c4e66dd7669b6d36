"""A room's facts are checked when it is made, and what is derived of them is right."""

import numpy as np
import pytest
from geometry_rooms import box, sighting

from gpt4scene.errors import DataError
from gpt4scene.geometry.room import RoomObject, polygon_area, room


def test_corners_of_a_turned_box_are_where_they_are_drawn():
    corners_83 = box(0, "desk", [1, 2, 3], [2, 4, 6], 90).corners_83
    assert np.allclose(corners_83.min(axis=0), [-1, 1, 0]) and np.allclose(corners_83.max(axis=0), [3, 3, 6])
    assert len(np.unique(corners_83.round(6), axis=0)) == 8


@pytest.mark.parametrize(
    ("corners", "area"),
    [
        ([[0, 0], [4, 0], [4, 3], [0, 3]], 12.0),
        ([[0, 3], [4, 3], [4, 0], [0, 0]], 12.0),
        ([[0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2]], 3.0),
        ([[1000, 1000], [1001, 1000], [1000, 1001]], 0.5),
    ],
)
def test_area_of_a_polygon_whichever_way_round(corners, area):
    assert polygon_area(np.array(corners)) == pytest.approx(area, abs=1e-12)


def test_a_stated_area_goes_before_that_of_the_outline_and_without_both_there_is_none():
    outline = [[0, 0], [4, 0], [4, 3], [0, 3]]
    assert room("a", [], outline).area == 12 and room("a", [], outline, stated_area=9.5).area == 9.5
    assert room("a", []).area is None


def test_labels_in_order_of_their_first_object_with_their_places():
    some = room("a", [box(n, label, [n, 0, 0], [1, 1, 1]) for n, label in enumerate("bab")])
    assert some.by_label == {"b": (0, 2), "a": (1,)} and some.counts == {"b": 2, "a": 1} and some.single_places == (1,)


def test_axes_rounded_to_three_digits_are_taken():
    axes = np.array([[-0.721, -0.676, 0.152], [-0.691, 0.717, -0.09], [-0.048, -0.17, -0.984]])
    assert room("a", [RoomObject(0, "tv", np.zeros(3), np.ones(3), axes)]).counts == {"tv": 1}


def test_labels_that_differ_in_case_or_spaces_are_one():
    some = room(
        "a", [box(n, label, [n, 0, 0], [1, 1, 1]) for n, label in enumerate(["Trash  can", "trash can ", "TV"])]
    )
    assert some.counts == {"Trash can": 2, "TV": 1}


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_an_upright_box_is_the_same_box_with_its_third_axis_up(order):
    tilted = box(0, "a", [1, 2, 3], [1, 2, 3], 20)
    turn = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    mixed = RoomObject(0, "a", tilted.center_3, tilted.size_3[list(order)], (turn @ tilted.axes_33)[:, list(order)])
    found = mixed.upright
    assert abs(found.axes_33[2, 2]) == np.abs(mixed.axes_33[2]).max() and found.size_3[2] == 3
    assert {tuple(c) for c in found.corners_83.round(9)} == {tuple(c) for c in mixed.corners_83.round(9)}


def test_the_path_has_the_known_positions_only():
    assert room("a", [box(1, "a", [0, 0, 0], [1, 1, 1])], sightings=[sighting("0", o1=0.5)]).path_T3.shape == (0, 3)


GOOD = {"id": 3, "label": "chair", "center_3": [0, 0, 0], "size_3": [1, 1, 1], "axes_33": np.eye(3)}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"label": " "}, "object 3: has no label"),
        ({"center_3": [0, 0]}, r"object 3: its centre must be finite numbers of the shape \(3,\)"),
        ({"center_3": [0, 0, np.nan]}, "object 3: its centre must be finite"),
        ({"center_3": ["x", 0, 0]}, "object 3: its centre is not made of numbers"),
        ({"size_3": [1, -1, 1]}, "object 3: has a negative size"),
        ({"axes_33": np.ones((3, 3))}, "object 3: its axes are not perpendicular"),
        ({"axes_33": np.eye(3) * 2}, "object 3: its axes are not perpendicular"),
    ],
)
def test_a_broken_object_is_named_with_its_scene(change, sentence):
    with pytest.raises(DataError, match=f"scene 'a', {sentence}"):
        room("a", [RoomObject(**(GOOD | change))])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"objects": [RoomObject(**GOOD), RoomObject(**GOOD)]}, "two objects have the id 3"),
        ({"outline_N2": [[0, 0], [1, 1]]}, "three or more corners"),
        ({"outline_N2": [[0, 0], [1, 1], "x"]}, "three or more corners"),
        ({"outline_N2": 5}, "three or more corners"),
        ({"stated_area": 0.0}, "must be above 0"),
        ({"stated_area": float("nan")}, "must be above 0"),
        ({"sightings": [sighting("17", o9=0.5)]}, "frame '17' sees object 9"),
    ],
)
def test_a_broken_room_is_named(arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        room("a", **({"objects": []} | arguments))
