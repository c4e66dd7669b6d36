"""Cognitive maps: what can be read of an answer, and how two maps compare under turns."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.metrics.cognitive_maps import compare_maps, read_map

TRUTH = {
    "objects": [
        {"name": "lamp", "position": [1, 1], "facing": "up"},
        {"name": "bed", "position": [8, 2]},
        {"name": "sofa", "position": [4, 9], "facing": "left"},
    ],
    "views": [{"name": "View 1", "position": [5, 5], "facing": "right"}],
}

names = st.sampled_from(["lamp", "bed", "sofa", "desk", "View 1"])
places = st.lists(st.integers(0, 10), min_size=2, max_size=2)
facings = st.sampled_from(["up", "down", "left", "right", "inner", "outer", None])


def long_maps():
    things = st.builds(lambda name, place, facing: {"name": name, "position": place, "facing": facing}, *_of())
    return st.builds(lambda objects, views: {"objects": objects, "views": views}, st.lists(things), st.lists(things))


def _of():
    return names, places, facings


@pytest.mark.slow
@given(long_maps(), long_maps())
def test_scores_are_shares_and_their_parts_fit_together(guess, truth):
    score = compare_maps(guess, truth)
    shares = (score.coverage, score.directional_similarity, score.facing_similarity, score.overall_similarity)
    assert all(0 <= share <= 1 for share in shares)
    assert score.overall_similarity == pytest.approx(0.7 * shares[1] + 0.3 * shares[2])
    assert (score.best_rotation is None) == (score.overall_similarity == 0)
    assert not score.isomorphic or score.coverage == 1


@given(long_maps().filter(lambda one: one["objects"]))
def test_a_map_compared_with_itself_has_every_relation_and_facing(truth):
    score = compare_maps(truth, truth)
    assert score.coverage == 1 and score.facing_similarity == 1 and score.isomorphic
    assert score.directional_similarity in (0, 1)  # 0 where no two names have a relation


@given(st.text())
def test_any_text_gives_a_map_or_nothing(text):
    found = read_map(text)
    assert found is None or isinstance(found, dict)
    compare_maps(found, TRUTH)


def test_a_quarter_turn_is_found():
    turned = {
        "objects": [
            {"name": "lamp", "position": [1, -1], "facing": "left"},
            {"name": "bed", "position": [2, -8]},
            {"name": "sofa", "position": [9, -4], "facing": "down"},
        ],
    }
    score = compare_maps(turned, TRUTH)
    assert (score.best_rotation, score.isomorphic, score.overall_similarity) == ("z_rot_90", True, 1.0)


def test_the_short_form_is_compared_with_the_objects_only():
    short = {one["name"]: {"position": one["position"], "facing": one.get("facing")} for one in TRUTH["objects"]}
    assert compare_maps(short, TRUTH).coverage == 1
    assert compare_maps({"objects": TRUTH["objects"], "views": []}, TRUTH).coverage == 0.75


@pytest.mark.parametrize(
    "text",
    [
        '{"bed": {"position": [8, 2]}}',
        "so: {bed: {position: [8, 2],},}",
        '{// a room\n"bed": {"position": [8, 2]} // there\n}',
        '{"bed": {"position": [8, 2]}, "lamp": {"position": [1',
    ],
)
def test_json_is_mended_as_far_as_it_can_be(text):
    assert read_map(text + "}" if text.endswith("[1") else text)["bed"] == {"position": [8, 2]}


@pytest.mark.parametrize(
    "text", ["", "no map", "}{", "{", "{]}", '{"a": ' + "[" * 100_000 + "}", "{" + "9" * 5000 + "}"]
)
def test_what_is_no_map_is_nothing(text):
    assert read_map(text) is None


@pytest.mark.parametrize(
    "thing",
    [
        {"position": [1]},
        {"position": ["x", 1]},
        {"position": [None, 1]},
        {"position": {"x": 1}},
        {"facing": "up"},
        {"position": [1, 2], "facing": "viewer"},
        {"position": [1, 2], "facing": 5},
        {"position": [10**400, 2]},
        [],
        [[1, 2]],
        None,
    ],
)
def test_one_thing_that_cannot_be_read_makes_the_map_invalid(thing):
    score = compare_maps({"bed": {"position": [8, 2]}, "lamp": thing}, TRUTH)
    assert not score.valid_format and not score.valid_graph and score.overall_similarity == 0
    assert not compare_maps({"objects": [{"name": ["bed"], "position": [1, 2]}]}, TRUTH).valid_format
    assert not compare_maps({"objects": TRUTH["objects"], "views": 5}, TRUTH).valid_format


@pytest.mark.parametrize("facing", ["Up ", "top", "north", ["up", "down"]])
def test_other_words_for_a_facing_and_numbers_as_texts_are_known(facing):
    guess = {"lamp": {"position": ["1", 1.0], "facing": facing}, "bed": {"position": [8, 2, 5], "facing": []}}
    score = compare_maps(json.loads(json.dumps(guess)), TRUTH)
    assert score.valid_graph and score.facing_similarity == 1 and score.directional_similarity == 1


@pytest.mark.parametrize(
    ("one", "other", "relation"),
    [
        ({"facing": "inner"}, {}, "inner"),
        ({}, {"facing": "outer"}, "inner"),
        ({"facing": "outer"}, {}, "outer"),
        ({}, {"facing": "inner"}, "outer"),
        ({}, {}, None),
    ],
)
def test_things_that_nearly_meet_are_inside_or_outside_of_each_other(one, other, relation):
    truth = {"a": {"position": [0, 0], **one}, "b": {"position": [0.3, 0], **other}}
    same = compare_maps(truth, truth)
    assert same.directional_similarity == (0 if relation is None else 1)
    nearer = {"a": {"position": [0, 0], **one}, "b": {"position": [0.1, 0], **other}}
    assert compare_maps(nearer, nearer).directional_similarity == 1  # nearer still, one is always inside


@pytest.mark.parametrize(("guess", "truth"), [({}, TRUTH), (None, TRUTH), (TRUTH, None), (TRUTH, {})])
def test_where_one_map_is_absent_nothing_is_compared(guess, truth):
    assert compare_maps(guess, truth) is None


def test_a_place_beyond_all_places_is_compared_without_a_warning(recwarn):
    far = {"bed": {"position": [float("inf"), 1]}, "door": {"position": [2, 3]}}
    score = compare_maps(far, {"bed": {"position": [1, 1]}, "door": {"position": [2, 3]}})
    assert score is not None and score.valid_graph and not recwarn.list
