"""What rules do not ask about, with a reason for every candidate: names, limits, what can be guessed."""

import random
from collections import Counter

import pytest
from geometry_rooms import box, drawn_room
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4scene.geometry.ask_counts import GUESSABLE as USUAL_NUMBER
from gpt4scene.geometry.ask_counts import NOT_COUNTABLE, TOO_FEW, CountOne
from gpt4scene.geometry.ask_directions import PAIRS, Direction
from gpt4scene.geometry.ask_directions import TOO_CLOSE as NEAR
from gpt4scene.geometry.ask_distances import GUESSABLE as SHORT
from gpt4scene.geometry.ask_distances import TOO_CLOSE, PairDistance
from gpt4scene.geometry.ask_sizes import GUESSABLE as USUAL_SIZE
from gpt4scene.geometry.ask_sizes import NO_SIZE, SIZELESS, LongestSide
from gpt4scene.geometry.asking import MORE_THAN_ASKED_FOR, Asking
from gpt4scene.geometry.measures import Measures
from gpt4scene.geometry.question import Made, together
from gpt4scene.geometry.room import room
from gpt4scene.geometry.rules import UNCLEAR, names_of_others, questions_of, rules_named

SEEDS = st.integers(0, 10**6)
NAMED = pytest.mark.parametrize("name", ["revsi", "vsi"])


def made(some, name="revsi", **options) -> Made:
    return questions_of(some, rules_named(name), **options)


@pytest.mark.slow
@given(SEEDS)
@settings(max_examples=15)
def test_every_candidate_is_kept_or_counted_with_a_reason(seed):
    some = drawn_room(seed, 12, kinds=9)
    singles, labels = len(some.single_places), len(some.by_label)
    for name in ("revsi", "vsi"):
        for kind, value in rules_named(name).kinds.items():
            found = made(some, name, kinds=[kind])
            total = len(found.questions) + found.dropped.total()
            if isinstance(value.ask, Direction):
                assert total == singles * (singles - 1) * (singles - 2)
            elif isinstance(value.ask, PairDistance):
                assert total == singles * (singles - 1) // 2
            elif isinstance(value.ask, CountOne | LongestSide):
                assert total == labels


@NAMED
def test_an_excluded_label_is_in_no_question_and_is_counted(name):
    some = drawn_room(3, 14)
    found = made(some, name, excluded={"thing 1": "never shown", "thing 99": "not in this room"}, per_kind=50)
    assert found.questions and found.dropped[("object_size_estimation", "never shown")] == 1
    reasons = Counter(reason for _, reason in found.dropped)
    assert reasons["never shown"] >= 7 and not reasons["not in this room"]
    for question in found.questions:
        assert 1 not in question.objects
        assert all(f"thing 1{end}" not in question.question for end in " .,?:") and "thing 1" not in question.options


@pytest.mark.parametrize(
    ("labels", "unclear"),
    [
        (["chair", "office chair", "armchair"], ["chair"]),
        (["Chair", "office  chair"], ["Chair"]),
        (["lamp", "table", "table lamp"], ["lamp"]),
        (["table lamp", "floor lamp"], []),
        (["chair leg", "chair"], []),
        (["chair", "chairs", "sofa"], ["chair", "chairs"]),
        (["box", "cardboard boxes"], ["box"]),
        (["glass", "glasses case"], []),
    ],
)
def test_a_name_that_fits_objects_of_another_name_is_not_asked_about(labels, unclear):
    some = room("a", [box(n, label, [2 * n, 0, 0], [1, 1, 1]) for n, label in enumerate(labels)])
    assert names_of_others(some) == unclear
    for name, number in (("revsi", len(unclear)), ("vsi", len(unclear)), ("vsi_published", 0)):
        assert made(some, name).dropped[("object_size_estimation", UNCLEAR)] == number
        assert not any(kind.startswith("room_size") and reason == UNCLEAR for kind, reason in made(some, name).dropped)


@pytest.mark.parametrize(
    ("height", "aside", "reason"), [(0.5, 2.0, "keep"), (0.5, 1.0, NEAR), (4.0, 1.0, NEAR), (4.0, 2.0, "keep")]
)
def test_objects_one_above_the_other_are_too_close_to_be_told_apart_by_direction(height, aside, reason):
    """ReVSI asks for 1.5 m from above as well; what hangs 4 m higher is far away in space only."""
    some = room(
        "a",
        [
            box(0, "desk", [0, 0, 0.5], [0.2, 0.2, 1]),
            box(1, "lamp", [0.2 + aside, 0, height], [0.2, 0.2, 0.2]),
            box(2, "plant", [1, 4, 0.5], [0.2, 0.2, 1]),
        ],
    )
    ask = rules_named("revsi").kinds["object_rel_direction_forward_easy"].ask
    assert isinstance(ask, Direction)
    measures = Measures(some)
    asking = Asking(measures, "revsi", "any", None, random.Random(0), {})
    found_NN = ask.pairs(asking, [0, 1, 2])
    assert ("keep", *PAIRS)[found_NN[0, 1]] == reason and found_NN[0, 2] == 0


def test_per_kind_limits_each_kind_but_asks_the_floor_area_once():
    found = made(drawn_room(5, 14), per_kind=2)
    counts = Counter(question.kind for question in found.questions)
    assert max(counts.values()) == 2 and counts["room_size_estimation_single"] == 1
    assert made(drawn_room(5, 14), per_kind=0).questions == ()


@pytest.mark.parametrize(
    ("label", "number", "chance", "reason"),
    [
        ("sofa", 1, 0.0, TOO_FEW),
        ("sofa", 2, 1.0, None),
        ("Window", 3, 0.0, NOT_COUNTABLE),
        ("chair", 1, 0.39, None),
        ("chair", 1, 0.41, USUAL_NUMBER),
        ("Trash  Can", 2, 0.06, USUAL_NUMBER),
        ("chair", 3, 1.0, None),
    ],
)
def test_counting_leaves_out_what_is_not_countable_and_thins_what_can_be_guessed(label, number, chance, reason):
    ask = rules_named("revsi").kinds["object_counting_single"].ask
    assert isinstance(ask, CountOne) and ask.reason(label, number, chance) == reason


@pytest.mark.parametrize(
    ("label", "centimetres", "chance", "reason"),
    [
        ("bed", 200, 0.0, SIZELESS),
        ("piano", 150, 1.0, None),
        ("piano", 0.3, 0.0, NO_SIZE),
        ("chair", 80, 0.04, None),
        ("chair", 80, 0.06, USUAL_SIZE),
        ("chair", 96, 1.0, None),
        ("tv", 120, 0.5, USUAL_SIZE),
    ],
)
def test_sizes_leave_out_what_can_be_known_without_looking(label, centimetres, chance, reason):
    ask = rules_named("revsi").kinds["object_size_estimation"].ask
    assert isinstance(ask, LongestSide) and ask.reason(label, centimetres, chance) == reason


@pytest.mark.parametrize(
    ("name", "metres", "chance", "reason"),
    [
        ("revsi", 0.99, 0.0, TOO_CLOSE),
        ("revsi", 1.5, 0.19, None),
        ("revsi", 1.5, 0.21, SHORT),
        ("revsi", 2.5, 0.51, SHORT),
        ("revsi", 3.5, 1.0, None),
        ("vsi", 0.14, 0.0, TOO_CLOSE),
        ("vsi", 0.16, 1.0, None),
    ],
)
def test_short_distances_are_left_out_or_thinned(name, metres, chance, reason):
    ask = rules_named(name).kinds["object_abs_distance"].ask
    assert isinstance(ask, PairDistance) and ask.reason(metres, chance) == reason


def test_thinning_keeps_the_share_that_the_rules_name():
    many = [room(f"r{n}", [box(0, "chair", [0, 0, 0], [1, 1, 1])]) for n in range(600)]
    kept = together(made(some, kinds=["object_counting_single"]) for some in many)
    assert 0.33 < len(kept.questions) / 600 < 0.47
    assert kept.dropped == {("object_counting_single", USUAL_NUMBER): 600 - len(kept.questions)}


def test_more_than_asked_for_is_counted():
    some = drawn_room(7, 12)
    found = made(some, "vsi", kinds=["object_size_estimation"])
    assert len(found.questions) == 6 and found.dropped == {("object_size_estimation", MORE_THAN_ASKED_FOR): 6}
