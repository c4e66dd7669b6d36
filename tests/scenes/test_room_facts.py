"""Outline, turned boxes and floor map against shapes whose answers are known."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4scene.demo.plan import draw_plan
from gpt4scene.demo.rooms import View, write_room
from gpt4scene.scenes.floor_map import CELL, floor_map
from gpt4scene.scenes.prepare import PrepareArguments, prepare
from gpt4scene.scenes.room_outline import outline_of
from gpt4scene.scenes.turned_boxes import turned_box


def filled(width, depth, step=0.05, x=0.0, y=0.0, z=0.0):
    xs, ys = np.linspace(x, x + width, round(width / step) + 1), np.linspace(y, y + depth, round(depth / step) + 1)
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    return np.concatenate([grid, np.full((len(grid), 1), z)], axis=1)


def turned(points, angle):
    cosine, sine = np.cos(angle), np.sin(angle)
    return points @ np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]).T


def test_a_rectangle_has_four_corners_and_its_area():
    outline = outline_of(filled(4, 3))
    assert outline.area == pytest.approx(12, abs=0.01) and len(outline.corners_N2) == 4 and outline.beside == 0
    np.testing.assert_allclose(outline.corners_N2[0], [0, 0], atol=0.01)


def test_an_l_shape_keeps_its_inner_corner_but_for_the_width_of_the_circle():
    points = np.concatenate([filled(4, 1.5), filled(1.5, 4)])
    outline = outline_of(points)
    assert outline.area == pytest.approx(4 * 1.5 + 1.5 * 2.5, rel=0.01) and len(outline.corners_N2) in (6, 7)


def test_a_hole_where_nothing_was_scanned_is_floor():
    points = filled(4, 3)
    middle = (np.abs(points[:, 0] - 2) < 0.6) & (np.abs(points[:, 1] - 1.5) < 0.6)
    assert outline_of(points[~middle]).area == pytest.approx(12, abs=0.01)


def test_pieces_that_are_not_joined_are_named_apart():
    outline = outline_of(np.concatenate([filled(4, 3), filled(2, 1, x=5)]))
    assert outline.area == pytest.approx(12, abs=0.01) and outline.beside == pytest.approx(2, abs=0.01)


def test_specks_beside_a_room_are_not_mentioned():
    assert outline_of(np.concatenate([filled(4, 3), filled(0.5, 0.5, x=5)])).beside == 0


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.zeros((5, 3)), filled(1, 0), np.eye(3) * 9])
def test_points_without_area_have_no_outline(points):
    assert outline_of(points) is None


@pytest.mark.slow
@settings(max_examples=20)
@given(st.floats(0, 3), st.floats(2, 5), st.floats(2, 5), st.integers(0, 5))
def test_the_area_holds_whichever_way_the_room_is_turned_and_points_are_ordered(angle, width, depth, seed):
    points = turned(filled(width, depth), angle)
    outline = outline_of(points)
    assert outline.area == pytest.approx(width * depth, rel=0.02)
    again = outline_of(np.random.default_rng(seed).permutation(points))
    assert again.area == pytest.approx(outline.area, rel=1e-9)
    np.testing.assert_array_equal(again.corners_N2, outline.corners_N2)


def test_two_squares_that_touch_at_a_corner_are_two_pieces():
    outline = outline_of(np.concatenate([filled(2, 2), filled(1.5, 1.5, x=2, y=2)]))
    assert outline.area + outline.beside == pytest.approx(4 + 2.25, abs=0.05)


@given(st.floats(0.15, 1.4), st.floats(0.8, 3), st.floats(0.1, 0.6))
def test_a_turned_box_is_found_again(angle, length, depth):
    points = turned(np.concatenate([filled(length, depth, 0.02), filled(length, depth, 0.02, z=0.7)]), angle)
    center, size, turn = turned_box(points)
    assert sorted(size) == pytest.approx(sorted([length, depth, 0.7]), abs=0.03)
    np.testing.assert_allclose(center, turned(np.array([[length / 2, depth / 2, 0.35]]), angle)[0], atol=0.02)
    assert 0 < turn < np.pi / 2


def test_a_box_along_the_axes_is_not_turned():
    center, size, turn = turned_box(filled(2, 1))
    assert turn == 0 and size == pytest.approx([2, 1, 0]) and center == pytest.approx([1, 0.5, 0])


@pytest.mark.parametrize("points", [np.zeros((1, 3)), np.zeros((4, 3)), filled(1, 0)])
def test_points_on_a_line_are_boxed_along_the_axes(points):
    assert turned_box(points)[2] == 0


def walkable_at(found, x, y):
    return bool(found.walkable_YX[int((y - found.y) / CELL), int((x - found.x) / CELL)])


def test_furniture_and_other_rooms_are_not_walkable():
    floor = filled(4, 3, 0.02)
    table = filled(1, 1, 0.02, x=1.5, y=1, z=0.7)
    lamp = filled(0.5, 0.5, 0.02, x=3, y=2, z=2.0)
    yard = filled(2, 2, 0.02, x=5)
    found = floor_map(np.concatenate([floor, table, lamp, yard]), 0.0, np.array([[0.5, 0.5, 1.5]]))
    assert walkable_at(found, 0.55, 0.55) and walkable_at(found, 3.25, 2.25)
    assert not walkable_at(found, 2.05, 1.55) and not walkable_at(found, 5.55, 0.55)
    assert len(found.rows) == len(found.walkable_YX) and found.rows[-1].startswith(".....")


def test_without_floor_under_the_camera_there_is_no_map():
    assert floor_map(filled(2, 2), 0.0, np.zeros((0, 3))) is None
    assert floor_map(filled(2, 2), 0.0, np.array([[9.0, 9.0, 1.5]])) is None
    assert floor_map(np.zeros((0, 3)), 0.0, np.array([[0.0, 0.0, 1.5]])) is None


@pytest.mark.slow
def test_prepare_writes_the_facts_of_a_room_the_same_every_time(tmp_path):
    plan = draw_plan("room0000_00", np.random.default_rng(5))
    write_room(plan, tmp_path / "rooms", View(96, 72, 6))
    texts = []
    for name in ("one", "two"):
        arguments = PrepareArguments((str(tmp_path / "rooms"),), str(tmp_path / name), frames=3, bev_size=96)
        assert not prepare(arguments).failed
        texts.append((tmp_path / name / "scenes" / "room0000_00" / "scene.json").read_text())
    assert texts[0] == texts[1]
    content = json.loads(texts[0])
    facts = content["room"]
    assert facts["area"] == pytest.approx(plan.width * plan.depth, rel=0.01) and facts["beside"] == 0
    assert [frame["place"] for frame in content["frames"]] == [0, 2, 4]
    assert len(facts["path"]) == 6 and facts["floor_height"] == pytest.approx(0, abs=0.03)
    assert sum(row.count(".") for row in facts["walkable"]["rows"]) * CELL**2 > 0.3 * plan.width * plan.depth
