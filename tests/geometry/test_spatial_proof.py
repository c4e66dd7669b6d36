"""Questions about synthetic rooms against answers worked out from the floor plans alone, in another way.

Nothing of ``gpt4scene.geometry`` is used for the answers: a plan's pieces lie along the axes, so sizes and distances
are differences of numbers, directions are angles between middles, and routes are walked step by step.
"""

import math
import random
import re

import numpy as np
import pytest
from plan_scenes import boxes, plan, scene_content

from gpt4scene.demo.rooms import View, write_room
from gpt4scene.files.scenes import read_scene, scene_json
from gpt4scene.geometry.scene_questions import scene_questions, wanted
from gpt4scene.scenes.prepare import PrepareArguments, prepare

ROOMS = range(6)
CENTIMETRE = 0.51


@pytest.fixture(scope="module", params=["plans", pytest.param("prepared", marks=pytest.mark.slow)])
def rooms(request, tmp_path_factory):
    """Plan, its scene's description, and many questions about it, for each room.

    The descriptions come from the plans' own numbers, or from ``gpt4scene prepare``, which sees pictures and a mesh.
    """
    folder = tmp_path_factory.mktemp("rooms")
    found = []
    for number in ROOMS:
        of = plan(number)
        if request.param == "plans":
            content = scene_content(of)
        else:
            path = write_room(of, folder / "scans", View(240, 180, 16), number)
            assert not prepare(PrepareArguments((str(path),), str(folder / "out"), frames=16, bev_size=200)).failed
            content = read_scene(scene_json(folder / "out", of.scene_id))
        found.append((of, content, scene_questions(content, "scene.json", wanted("vsi", seed=number, per_kind=12))))
    return found


def asked(rooms, kind):
    """(plan, content, question) of a kind; there must be some."""
    found = [(of, content, one) for of, content, made in rooms for one in made.questions if one.kind == kind]
    assert len(found) >= 5, kind
    return found


def middle(of, number):
    low, high = boxes(of)[number]
    return (low + high) / 2


def gap(of, one, other):
    (low, high), (low_2, high_2) = boxes(of)[one], boxes(of)[other]
    return float(np.linalg.norm(np.maximum(0, np.maximum(low - high_2, low_2 - high))))


@pytest.mark.slow
def test_counts_are_the_plans(rooms):
    for of, _, question in asked(rooms, "object_counting"):
        labels = {of.pieces[number].label for number in question.objects}
        assert len(labels) == 1 and int(question.truth) == len(of.of(labels.pop())) >= 2


@pytest.mark.slow
def test_room_sizes_are_width_times_depth(rooms):
    for of, _, question in asked(rooms, "room_size_estimation"):
        assert float(question.truth) == pytest.approx(of.width * of.depth, rel=0.007)


def test_sizes_are_the_longest_sides(rooms):
    for of, _, question in asked(rooms, "object_size_estimation"):
        low, high = boxes(of)[question.objects[0]]
        assert float(question.truth) == pytest.approx(100 * (high - low).max(), abs=CENTIMETRE)


def test_distances_are_gaps_between_boxes(rooms):
    for of, _, question in asked(rooms, "object_abs_distance"):
        assert float(question.truth) == pytest.approx(gap(of, *question.objects), abs=0.0501)


def test_the_closest_option_has_the_smallest_gap(rooms):
    for of, _, question in asked(rooms, "object_rel_distance"):
        anchor = question.objects[0]
        gaps = {label: min(gap(of, anchor, piece.id) for piece in of.of(label)) for label in question.options}
        ranked = sorted(gaps, key=lambda label: gaps[label])
        assert ranked[0] == question.truth and gaps[ranked[1]] - gaps[ranked[0]] > 0.149


@pytest.mark.parametrize("level", ["easy", "medium", "hard"])
def test_directions_are_angles_between_middles(rooms, level):
    for of, _, question in asked(rooms, f"object_rel_direction_{level}"):
        stand, face, other = (middle(of, number)[:2] for number in question.objects)
        turn = math.degrees(math.atan2(*(other - stand)[::-1]) - math.atan2(*(face - stand)[::-1])) % 360
        if level == "hard":
            name = ("front-left", "back-left", "back-right", "front-right")[int(turn // 90)]
        else:
            name = "left" if turn < 135 else "back" if turn < 225 else "right"
        assert question.truth == name


def test_orders_of_appearance_follow_the_frames(rooms):
    for of, content, question in asked(rooms, "obj_appearance_order"):
        first = {}
        for place, frame in enumerate(content["frames"]):
            for mark in frame["markers"]:
                first.setdefault(of.pieces[mark["id"]].label, place)
        order = question.truth.split(", ")
        assert sorted(order, key=lambda label: first[label]) == order
        assert len({first[label] for label in order}) == 4
        assert len(set(question.options)) == 4 and all(
            sorted(one.split(", ")) == sorted(order) for one in question.options
        )


def rectangle_gap(spot, piece):
    return float(np.hypot(*np.maximum(np.abs(spot - piece.spot) - piece.half, 0)))


def clear(of, spot, near):
    """Whether a person fits at ``spot``; beside the piece ``near`` there is less room."""
    inside = (np.abs(spot) <= np.array([of.width, of.depth]) / 2 - 0.1).all()
    others = [piece for piece in of.pieces if piece.label != "window"]
    return inside and all(rectangle_gap(spot, piece) > (0.05 if piece is near else 0.1) for piece in others)


def walked(of, spot, heading, turns, stops):
    """Where a walk ends: the goal's id, or a word for how it fails. ``heading`` is an angle in degrees."""
    for turn, stop in zip(turns, stops, strict=True):
        goal = of.pieces[stop]
        way = goal.spot - spot
        bearing = (math.degrees(math.atan2(way[1], way[0])) - heading + 180) % 360 - 180
        sector = "turn back" if abs(bearing) >= 135 else "turn left" if bearing >= 30 else "turn right"
        if abs(bearing) < 30 or sector != turn:
            return "lost"
        heading += bearing
        step = way / np.linalg.norm(way) * 0.06
        while rectangle_gap(spot, goal) > 0.6:
            spot = spot + step
            if not clear(of, spot, goal):
                return "blocked"
    return stops[-1]


def starts(of, beside, number, drawn):
    """Random places beside a piece where a person fits."""
    found = []
    for _ in range(400):
        spot = beside.spot + (drawn.uniform(-1, 1), drawn.uniform(-1, 1)) * (beside.half + 0.6)
        if 0.2 <= rectangle_gap(spot, beside) <= 0.55 and clear(of, spot, None):
            found.append(spot)
        if len(found) == number:
            break
    return found


@pytest.mark.slow
def test_following_the_answer_reaches_the_goal_and_no_other_option_does(rooms):
    drawn, reached, blocked, lost = random.Random(0), 0, 0, 0
    for of, _, question in asked(rooms, "route_planning")[:40]:
        start, faced, *stops = question.objects
        for spot in starts(of, of.pieces[start], 6, drawn):
            way = of.pieces[faced].spot - spot
            heading = math.degrees(math.atan2(way[1], way[0]))
            ends = [walked(of, spot, heading, option.split(", "), stops) for option in question.options]
            right = ends.pop(question.options.index(question.truth))
            reached, blocked, lost = (
                reached + (right == stops[-1]),
                blocked + (right == "blocked"),
                lost + (right == "lost"),
            )
            assert right == "lost" or stops[-1] not in ends
    assert reached > 25
    assert lost <= 0.03 * reached, "turns hold wherever one stands beside the start"
    assert blocked <= reached, "from half of all places and more the way is free"


def test_a_route_says_its_own_steps(rooms):
    for of, _, question in asked(rooms, "route_planning"):
        blanks = question.question.count("[please fill in]") - 1
        labels = re.findall(r"Go forward until the ([a-z ]+)\.", question.question)
        assert labels == [of.pieces[number].label for number in question.objects[2:]]
        assert blanks == len(labels) == len(question.truth.split(", ")) and blanks in (2, 3)
        assert len(set(question.options)) == 4 and question.truth in question.options
