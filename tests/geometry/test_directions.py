"""Directions of hand-made triples: sectors, limits, corners, backward; and the mirror."""

import numpy as np
import pytest
from geometry_rooms import box

from gpt4scene.geometry.boxes import boxes_of
from gpt4scene.geometry.directions import (
    BEHIND,
    KEEP,
    NEAR_LIMIT,
    QUARTERS,
    STRADDLES,
    THIRDS,
    DirectionRule,
    decide_directions,
)


def asked_at(degrees, rule, size=0.01, away=4.0, turn=0.0):
    """Stand at the origin, face +x (turned by ``turn``), ask for a box at an angle: (answer, reason)."""
    heading, place = np.radians(turn), np.radians(degrees + turn)
    boxes = boxes_of(
        [
            box(0, "stand", [0, 0, 0], [0.1, 0.1, 0.1]),
            box(1, "face", [3 * np.cos(heading), 3 * np.sin(heading), 1], [0.1, 0.1, 0.1]),
            box(2, "asked", [away * np.cos(place), away * np.sin(place), 2], [size] * 3),
        ]
    )
    found = decide_directions(boxes, rule, (), np.zeros((3, 3), int))
    return found.names[found.answers_NNN[0, 1, 2]], found.reasons[found.reasons_NNN[0, 1, 2]]


@pytest.mark.parametrize(
    ("sectors", "degrees", "answer"),
    [
        (THIRDS, 60, "left"),
        (THIRDS, 134, "left"),
        (THIRDS, 136, "back"),
        (THIRDS, 180, "back"),
        (THIRDS, 224, "back"),
        (THIRDS, 226, "right"),
        (THIRDS, 300, "right"),
        (QUARTERS, 45, "front-left"),
        (QUARTERS, 135, "back-left"),
        (QUARTERS, 225, "back-right"),
        (QUARTERS, 315, "front-right"),
    ],
)
@pytest.mark.parametrize("turn", [0, 77, 210])
def test_the_sector_of_an_angle_whichever_way_the_room_is_turned(sectors, degrees, answer, turn):
    assert asked_at(degrees, DirectionRule(sectors, 0.5), turn=turn) == (answer, KEEP)


@pytest.mark.parametrize(
    ("sectors", "degrees", "answer"),
    [(THIRDS, 60, "right"), (THIRDS, 20, "back"), (THIRDS, 200, "left"), (QUARTERS, 45, "back-right")],
)
def test_backward_one_looks_the_other_way(sectors, degrees, answer):
    assert asked_at(degrees, DirectionRule(sectors, 5, backward=True)) == (answer, KEEP)


@pytest.mark.parametrize("degrees", [1, 34, 101, 169, 191, 259, 326, 359])
def test_within_the_margin_of_a_limit_nothing_is_asked(degrees):
    assert asked_at(degrees, DirectionRule(THIRDS, 35))[1] == NEAR_LIMIT


@pytest.mark.parametrize(("degrees", "reason"), [(85, NEAR_LIMIT), (95, KEEP), (355, NEAR_LIMIT), (5, KEEP)])
def test_below_only_has_no_margin_above_a_limit(degrees, reason):
    assert asked_at(degrees, DirectionRule(QUARTERS, 10, below_only=True))[1] == reason


def test_an_object_that_reaches_into_another_sector_is_not_asked_for():
    assert asked_at(45, DirectionRule(QUARTERS, 10), size=1.0)[1] == KEEP
    assert asked_at(45, DirectionRule(QUARTERS, 10), size=9.0)[1] == STRADDLES


def test_back_is_no_answer_where_it_is_no_option():
    rule = DirectionRule(THIRDS, 10, without="back")
    assert rule.options == ("left", "right")
    assert asked_at(180, rule)[1] == BEHIND and asked_at(90, rule) == ("left", KEEP)


def test_a_reason_of_a_pair_goes_before_that_of_an_angle_and_no_object_stands_twice():
    boxes = boxes_of([box(n, "x", [n, n * n, 0], [0.1] * 3) for n in range(4)])
    pairs_NN = np.zeros((4, 4), int)
    pairs_NN[0, 1] = pairs_NN[1, 0] = 1
    found = decide_directions(boxes, DirectionRule(THIRDS, 0), ("meet",), pairs_NN)
    for triple in np.ndindex(4, 4, 4):
        reason = found.reasons_NNN[triple]
        assert (reason == -1) == (len(set(triple)) < 3)
        if reason >= 0:
            assert (found.reasons[reason] == "meet") == ({0, 1} <= set(triple))


def test_straight_ahead_is_front_left_and_never_falls_off_the_circle():
    """An angle that rounds to 360 degrees is 0."""
    assert asked_at(-1e-15, DirectionRule(QUARTERS, 0))[0] == "front-left"
