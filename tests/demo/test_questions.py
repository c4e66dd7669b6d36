from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from gpt4scene.benchmarks.multi3dref import TYPES
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.sqa3d import question_type
from gpt4scene.demo.balance import choose_plans
from gpt4scene.demo.plan import Piece, RoomPlan
from gpt4scene.demo.questions import ASKED_COLOURS, NUMBERS, Viewpoint, nearest, questions
from gpt4scene.demo.raw import write_raw
from gpt4scene.metrics import exact_match


def commonest_share(plans):
    """Return for each kind of question how often the commonest answer to its wording is right, over all ``plans``."""
    answers = {}
    for plan in plans:
        for item in questions(plan):
            answers.setdefault(item.wording, Counter())[item.truth] += 1
    right = Counter()
    total = Counter()
    for wording, counts in answers.items():
        right[wording[0]] += max(counts.values())
        total[wording[0]] += sum(counts.values())
    return {kind: right[kind] / total[kind] for kind in sorted(total)}


@pytest.fixture(scope="module")
def plans():
    return choose_plans(6, seed=0, candidates=10, exchanges=16)


def _by_words(plan, kind):
    return {item.words: item for item in questions(plan) if item.kind == kind}


def test_answers_are_true_of_the_plan(plans):
    for plan in plans:
        asked = _by_words(plan, "qa")
        for piece in plan.unique:
            assert asked[f"What color is the {piece.label}?"].answer == piece.colour
            if piece.colour in ASKED_COLOURS:
                assert asked[f"Which piece of furniture is {piece.colour}?"].answer == piece.label
        lamps = [piece for piece in plan.pieces if piece.label == "lamp"]
        assert asked["How many lamps are in the room?"].answer == NUMBERS[len(lamps)]
        found = _by_words(plan, "several")["every lamp in the room"]
        assert found.objects == tuple(piece.id for piece in lamps)
        assert found.eval_type == ("mt" if len(lamps) > 1 else "st_wo_d")


def test_left_and_right_are_the_viewers():
    view = Viewpoint("", np.zeros(2), np.array([0.0, 1.0]))
    piece = Piece(0, "bed", "red", -2.0, 0.0, 0, (1, 1, 1))
    assert view.bearing(piece) == pytest.approx(90)
    assert view.distance(piece) == pytest.approx(1.5)
    turned = Viewpoint("", np.zeros(2), np.array([-1.0, 0.0]))
    assert turned.bearing(piece) == pytest.approx(0)


def test_nearest_says_nothing_when_in_doubt():
    pieces = [Piece(n, "lamp", "", x, 0.0, 0, (0.2, 0.2, 1)) for n, x in enumerate((1.0, 1.1, 3.0))]
    assert nearest(pieces, lambda piece: piece.x) is None
    assert nearest(pieces[1:], lambda piece: piece.x) is pieces[1]
    assert nearest([], lambda piece: 0.0) is None


def test_no_question_is_asked_twice_in_a_room(plans):
    for plan in plans:
        wordings = Counter(item.wording for item in questions(plan))
        assert max(wordings.values()) == 1


def test_most_wordings_come_back_and_their_commonest_answer_is_seldom_right(plans):
    rooms = Counter(item.wording for plan in plans for item in questions(plan))
    asked = sum(rooms.values())
    assert sum(count for count in rooms.values() if count >= 3) > 0.9 * asked
    assert min(rooms.values()) >= 1
    share = commonest_share(plans)
    assert share["one"] < 0.3 and share["several"] < 0.4 and share["qa"] < 0.4 and share["situated"] < 0.6


def test_choosing_beats_taking_the_first_draw(plans):
    unchosen = choose_plans(6, seed=0, candidates=1, exchanges=0)
    assert np.mean(list(commonest_share(plans).values())) <= np.mean(list(commonest_share(unchosen).values()))


def test_choice_depends_on_the_seed_alone():
    first, second, other = (choose_plans(2, seed=seed, candidates=2, exchanges=4) for seed in (4, 4, 5))
    assert first == second != other
    assert all(isinstance(plan, RoomPlan) for plan in other)


def test_every_kind_of_benchmark_question_occurs(plans):
    kinds = Counter(item.eval_type for plan in plans for item in questions(plan) if item.kind == "several")
    assert set(kinds) == set(TYPES)
    types = {question_type(item.words) for plan in plans for item in questions(plan) if item.kind == "situated"}
    assert types == set(range(6))


def test_words_survive_the_cleaning_of_answers(plans):
    for item in (item for plan in plans for item in questions(plan) if item.answer):
        said = f"{item.answer.capitalize()}."
        assert exact_match.clean(exact_match.trim(said)) == item.answer


def test_raw_files_have_the_official_names_and_keys(plans, tmp_path):
    write_raw(plans[:2], tmp_path, "val")
    expected = {
        "scanqa": {"scene_id", "question_id", "question", "answers", "object_ids", "object_names"},
        "sqa3d": {"scene_id", "situation", "alternative_situation", "question", "question_id", "answers"},
        "scanrefer": {"scene_id", "object_id", "object_name", "ann_id", "description", "token"},
        "multi3dref": {"scene_id", "object_ids", "description", "eval_type", "ann_id"},
    }
    total = 0
    for task, keys in expected.items():
        benchmark = BENCHMARKS[task]
        records = benchmark.read([tmp_path / name for name in benchmark.raw_names("val")])
        assert all(set(record.values) == keys for record in records), task
        total += len(records)
    assert total == sum(len(questions(plan)) for plan in plans[:2])
