"""Synthetic rooms whose answers follow from the numbers of their floor plans, by other formulas than the engine's.

All pieces stand at right angles, so gaps, quarters and sizes come from intervals and signs. The rooms are turned and
shifted before they are asked about, as a recording is.
"""

import itertools
from collections import Counter

import numpy as np
import pytest
from geometry_rooms import box, moved

from gpt4scene.demo.plan import RoomPlan, draw_plan
from gpt4scene.geometry.measures import Measures
from gpt4scene.geometry.room import room
from gpt4scene.geometry.rules import questions_of, rules_named


def plan_room(plan: RoomPlan):
    """The plan as a room, its pieces' boxes turned by quarter turns."""
    objects = [
        box(piece.id, piece.label, [piece.x, piece.y, piece.size[2] / 2], piece.size, 90 * piece.turns)
        for piece in plan.pieces
    ]
    half = np.array([plan.width, plan.depth]) / 2
    return room(plan.scene_id, objects, half * [[-1, -1], [1, -1], [1, 1], [-1, 1]])


@pytest.fixture(scope="module", params=range(12))
def planned(request):
    plan = draw_plan(f"plan{request.param}", np.random.default_rng(request.param), request.param)
    return plan, moved(plan_room(plan), degrees=37.0 * request.param + 11, by=(3.0, -2.0, 0.5))


def gap(one, other):
    """Distance of two pieces from the gaps of their intervals along x and y: all stand on the floor."""
    flat = np.maximum(np.abs(one.spot - other.spot) - one.half - other.half, 0)
    return float(np.hypot(*flat))


def test_gaps_of_intervals_are_the_distances(planned):
    plan, some = planned
    away_NN = Measures(some).distances_NN
    for one, other in itertools.combinations(plan.pieces, 2):
        assert away_NN[one.id, other.id] == pytest.approx(gap(one, other), abs=1e-9)


@pytest.mark.parametrize("name", ["revsi", "vsi"])
def test_every_answer_is_the_one_of_the_plan(planned, name):
    plan, some = planned
    pieces = {piece.id: piece for piece in plan.pieces}
    made = questions_of(some, rules_named(name), per_kind=12)
    kinds = Counter(question.kind.split("_")[1] for question in made.questions)
    assert kinds["size"] and kinds["counting"] and len(made.questions) > 20
    for question in made.questions:
        asked = [pieces[number] for number in question.objects]
        if "counting" in question.kind:
            told = {piece.label for piece in asked}
            assert int(question.truth) == sum(piece.label in told for piece in plan.pieces)
        elif question.kind == "object_size_estimation":
            assert float(question.truth) == pytest.approx(100 * max(asked[0].size), abs=0.5)
        elif question.kind.startswith("room_size"):
            assert float(question.truth) == pytest.approx(plan.width * plan.depth, abs=0.051)
        elif question.kind == "object_abs_distance":
            assert float(question.truth) == pytest.approx(gap(*asked), abs=0.051)
        elif "rel_distance" in question.kind:
            away = {label: min(gap(asked[0], piece) for piece in plan.of(label)) for label in question.options}
            assert question.truth == (max if "farthest" in question.kind else min)(away, key=away.__getitem__)
        else:
            stand, face, other = (piece.spot for piece in asked)
            ahead = (face - stand) * (-1 if "backward" in question.kind else 1)
            turn = np.degrees(np.angle(complex(*(other - stand)) / complex(*ahead)))
            words = {"left": 10 < turn < 125, "right": -125 < turn < -10, "back": abs(turn) > 145}
            words |= {"front-left": 0 < turn < 90, "front-right": -90 < turn < 0}
            words |= {"back-left": 90 < turn < 180, "back-right": -180 < turn < -90}
            assert words[question.truth]
