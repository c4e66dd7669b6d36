"""Distances and meetings of boxes against hand-made cases, sampled points and a solver."""

import numpy as np
import pytest
from geometry_rooms import box
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import lsq_linear
from scipy.spatial.transform import Rotation

from gpt4scene.geometry.boxes import Boxes, box_distances, boxes_meet, boxes_of, first_two_sides_meet, flat_distances
from gpt4scene.geometry.sampled import grid_points, sampled_distances


def both(first, second):
    boxes = boxes_of([first, second])
    return box_distances(boxes)[0, 1], bool(boxes_meet(boxes)[0, 1]), flat_distances(boxes)[0, 1]


@pytest.mark.parametrize(
    ("second", "away", "flat"),
    [
        (box(1, "b", [3, 0, 0], [1, 1, 1]), 2.0, 2.0),  # face to face
        (box(1, "b", [3, 3, 0], [1, 1, 1]), 8**0.5, 8**0.5),  # edge to edge
        (box(1, "b", [3, 3, 3], [1, 1, 1]), 12**0.5, 8**0.5),  # corner to corner
        (box(1, "b", [0, 0, 3], [1, 1, 1]), 2.0, 0.0),  # one over the other
        (box(1, "b", [1, 0, 0], [1, 1, 1]), 0.0, 0.0),  # touching
        (box(1, "b", [0, 0, 0], [0.1, 0.1, 0.1]), 0.0, 0.0),  # one inside the other
        (box(1, "b", [3, 0, 0], [2**0.5, 2**0.5, 1], 45), 1.5, 1.5),  # an edge towards a face
        (box(1, "b", [3, 0, 0], [0, 0, 0]), 2.5, 2.5),  # a point
    ],
)
def test_distances_that_are_known(second, away, flat):
    assert both(box(0, "a", [0, 0, 0], [1, 1, 1]), second) == (
        pytest.approx(away, abs=1e-9),
        away == 0,
        pytest.approx(flat, abs=1e-9),
    )


def test_crossed_poles_meet_edge_to_edge():
    along, up = box(0, "a", [0, 0, 0], [4, 0.2, 0.2]), box(1, "b", [0, 1, 1], [0.2, 4, 0.2])
    assert both(along, up)[0] == pytest.approx(0.8)


def drawn_boxes(seed, number=6):
    draw = np.random.default_rng(seed)
    turns = Rotation.random(number, random_state=seed).as_matrix()
    return Boxes(draw.uniform(0, 4, (number, 3)), draw.uniform(0.05, 2, (number, 3)), turns)


@pytest.mark.slow
@given(st.integers(0, 10**6))
def test_distances_equal_those_of_a_solver(seed):
    """The closest points of two boxes, found as a least squares problem with bounds."""
    boxes = drawn_boxes(seed, 3)
    away_NN, meet_NN = box_distances(boxes), boxes_meet(boxes)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        sides = np.concatenate([boxes.axes_N33[i], -boxes.axes_N33[j]], axis=1)
        half = np.concatenate([boxes.sizes_N3[i], boxes.sizes_N3[j]]) / 2
        found = lsq_linear(sides, boxes.centers_N3[j] - boxes.centers_N3[i], (-half, half), tol=1e-14)
        solved = float(np.sqrt(2 * found.cost))
        assert away_NN[i, j] == pytest.approx(solved, abs=2e-5)
        if solved > 1e-4:
            assert not meet_NN[i, j]
    assert np.array_equal(away_NN, away_NN.T) and not away_NN.diagonal().any() and meet_NN.diagonal().all()


@given(st.integers(0, 10**6))
def test_seen_from_above_boxes_are_never_farther_apart(seed):
    boxes = drawn_boxes(seed)
    away_NN, flat_NN = box_distances(boxes), flat_distances(boxes)
    assert (flat_NN <= away_NN + 1e-9).all() and (flat_NN >= 0).all() and np.array_equal(flat_NN, flat_NN.T)


def test_upright_boxes_on_one_floor_are_as_far_apart_from_above():
    some = [box(n, "a", [3 * n, n % 2, 0.5], [1, 0.6, 1], 40 * n) for n in range(5)]
    boxes = boxes_of(some)
    assert np.allclose(box_distances(boxes), flat_distances(boxes))
    assert np.array_equal(first_two_sides_meet(boxes), flat_distances(boxes) == 0)


def test_the_first_two_sides_are_the_footprint_only_of_an_upright_box():
    """A pole whose third axis lies flat is taken for a long thing across: ReVSI's own way."""
    lying = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], float)  # first side upwards
    pole = Boxes(np.zeros((1, 3)), np.array([[3.0, 0.2, 0.2]]), lying[None])
    other = boxes_of([box(1, "b", [1, 0, 0], [0.5, 0.5, 0.5])])
    two = Boxes(
        *(np.concatenate([getattr(pole, n), getattr(other, n)]) for n in ("centers_N3", "sizes_N3", "axes_N33"))
    )
    assert first_two_sides_meet(two)[0, 1] and flat_distances(two)[0, 1] == pytest.approx(0.65)


def test_many_boxes_are_compared_in_steps_with_the_same_result():
    boxes = drawn_boxes(3, 100)
    few = Boxes(boxes.centers_N3[90:], boxes.sizes_N3[90:], boxes.axes_N33[90:])
    assert np.allclose(box_distances(boxes)[90:, 90:], box_distances(few), atol=1e-12)


def test_no_boxes_and_one_box():
    assert box_distances(boxes_of([])).shape == (0, 0)
    assert box_distances(boxes_of([box(0, "a", [0, 0, 0], [1, 1, 1])])).tolist() == [[0.0]]


def test_points_of_the_grid_fill_the_outer_half_of_a_box():
    points_P3 = grid_points(np.zeros(3), np.array([1.0, 0.5, 0.25]), np.eye(3))
    assert (np.abs(points_P3) <= [0.5, 0.25, 0.125]).all()
    assert ((np.abs(points_P3) > [0.25, 0.125, 0.0625]).any(axis=1)).all()
    assert len(points_P3) > 500


def test_sampled_distances_are_a_little_larger_than_the_exact_ones():
    boxes = drawn_boxes(5, 8)
    over_NN = sampled_distances(boxes) - box_distances(boxes)
    apart_NN = ~boxes_meet(boxes)
    assert (over_NN[apart_NN] >= -1e-9).all() and over_NN[apart_NN].max() < 0.25


def test_a_flat_thing_has_points_too():
    boxes = boxes_of([box(0, "rug", [0, 0, 0], [1, 1, 0]), box(1, "b", [0, 0, 2], [1, 1, 1])])
    assert sampled_distances(boxes)[0, 1] == pytest.approx(1.5, abs=0.1)
