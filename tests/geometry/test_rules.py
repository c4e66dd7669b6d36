"""Questions of whole rooms: what they must hold whatever the room, and what no change of the room may change."""

import itertools
import string
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from geometry_rooms import drawn_room, moved
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4scene.errors import ConfigError
from gpt4scene.geometry.ask_directions import Direction
from gpt4scene.geometry.ask_sizes import NO_AREA
from gpt4scene.geometry.asking import read_data
from gpt4scene.geometry.measures import Measures
from gpt4scene.geometry.question import Made
from gpt4scene.geometry.room import room
from gpt4scene.geometry.rules import GeometryRules, questions_of, read_rules, rules_named

SEEDS = st.integers(0, 10**6)
NAMED = pytest.mark.parametrize("name", ["revsi", "vsi"])


def made(some, name="revsi", **options) -> Made:
    return questions_of(some, rules_named(name), **options)


def direction_questions(some, name):
    return [question for question in made(some, name, per_kind=99).questions if "direction" in question.kind]


@pytest.mark.slow
@NAMED
@given(SEEDS, st.floats(0, 360), st.floats(-50, 50))
@settings(max_examples=25)
def test_turning_and_shifting_a_room_changes_no_question(name, seed, degrees, shift):
    some = drawn_room(seed, kinds=12)
    assert made(moved(some, degrees, (shift, -shift, shift / 9)), name) == made(some, name)


@pytest.mark.slow
@NAMED
@given(SEEDS)
@settings(max_examples=25)
def test_renaming_objects_changes_names_only(name, seed):
    some = drawn_room(seed, kinds=12)
    names = {label: f"widget {label.split()[1]}" for label in some.by_label}
    before, after = made(some, name), made(moved(some, names=names), name)
    assert after.dropped == before.dropped
    for old, new in zip(before.questions, after.questions, strict=True):
        assert (new.kind, new.objects) == (old.kind, old.objects)
        assert new.question == old.question.replace("thing", "widget") and new.truth == old.truth.replace(
            "thing", "widget"
        )


MIRROR = {"left": "right", "front-left": "front-right", "back-left": "back-right", "back": "back"}
MIRROR |= {there: here for here, there in MIRROR.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(
            ("revsi", f"object_rel_direction_{way}_{hard}")
            for way in ("forward", "backward")
            for hard in ("easy", "hard")
        ),
        ("vsi", "object_rel_direction_easy"),
        ("vsi", "object_rel_direction_medium"),
    ],
)
@given(SEEDS)
@settings(max_examples=15)
def test_a_mirrored_room_swaps_left_and_right_of_every_triple(name, kind, seed):
    some = drawn_room(seed, 10)
    plain = {q.objects: q.truth for q in made(some, name, kinds=[kind], per_kind=10**6).questions}
    mirrored = {
        q.objects: q.truth for q in made(moved(some, mirrored=True), name, kinds=[kind], per_kind=10**6).questions
    }
    assert mirrored == {triple: MIRROR[answer] for triple, answer in plain.items()}


@given(SEEDS, st.floats(0.5, 4))
@settings(max_examples=25)
def test_scaling_a_room_scales_its_measures(seed, scale):
    some = drawn_room(seed, 8)
    large = moved(some, scale=scale)
    assert np.allclose(Measures(large).distances_NN, Measures(some).distances_NN * scale)
    assert large.area == pytest.approx(some.area * scale**2)
    sizes = {
        q.objects: float(q.truth) for q in made(some, "vsi", kinds=["object_size_estimation"], per_kind=99).questions
    }
    for q in made(large, "vsi", kinds=["object_size_estimation"], per_kind=99).questions:
        assert float(q.truth) == pytest.approx(sizes[q.objects] * scale, abs=0.5 * scale + 0.5)


@NAMED
@given(SEEDS)
@settings(max_examples=25)
def test_questions_are_well_formed_and_their_labels_stand_in_them(name, seed):
    some = drawn_room(seed, kinds=12)
    labels = {item.id: item.label for item in some.objects}
    rules = rules_named(name)
    found = made(some, name, per_kind=20)
    assert len(set(found.questions)) == len(found.questions)
    for question in found.questions:
        assert question.kind in rules.kinds and question.rules == name and question.scene_id == some.scene_id
        told = question.question + " ".join(question.options)
        assert all(labels[number] in told for number in question.objects) and "{" not in told
        if question.options:
            assert question.truth in question.options and len(set(question.options)) == len(question.options)
        else:
            assert float(question.truth) > 0


@NAMED
@given(SEEDS)
@settings(max_examples=15)
def test_directions_are_those_of_plain_trigonometry(name, seed):
    """By signs of the scalar and the cross product instead of angles."""
    some = drawn_room(seed, 10)
    at = {item.id: item.center_3[:2] for item in some.objects}
    for question in direction_questions(some, name):
        stand, face, asked = (at[number] for number in question.objects)
        ahead = (face - stand) * (-1 if "backward" in question.kind else 1)
        way = asked - stand
        along = ahead @ way / np.linalg.norm(ahead) / np.linalg.norm(way)
        side = "left" if ahead[0] * way[1] - ahead[1] * way[0] > 0 else "right"
        if "hard" in question.kind:
            assert question.truth == f"{'front' if along > 0 else 'back'}-{side}"
        else:
            assert question.truth == ("back" if along < -(0.5**0.5) else side)


@NAMED
@given(SEEDS)
@settings(max_examples=15)
def test_relative_distances_are_those_of_a_full_comparison(name, seed):
    some = drawn_room(seed, 16, kinds=12)
    away_NN = Measures(some).distances_NN
    at = {item.id: place for place, item in enumerate(some.objects)}
    for question in made(some, name, per_kind=20).questions:
        if "rel_distance" in question.kind:
            first = at[question.objects[0]]
            metres = {label: away_NN[first, list(some.by_label[label])].min() for label in question.options}
            ordered = sorted(metres.values())
            assert question.truth == (max if "farthest" in question.kind else min)(metres, key=metres.__getitem__)
            assert len(metres) == 4 and np.diff(ordered).min() > 0.15 and ordered[0] >= 0.15


@pytest.mark.slow
@NAMED
@given(SEEDS, st.integers(0, 5))
@settings(max_examples=15)
def test_the_same_seed_gives_the_same_questions_whatever_else_is_asked(name, seed, draw):
    some = drawn_room(seed, kinds=12)
    everything = made(some, name, seed=draw)
    assert everything == made(some, name, seed=draw)
    for kind in rules_named(name).kinds:
        alone = made(some, name, seed=draw, kinds=[kind]).questions
        assert alone == tuple(question for question in everything.questions if question.kind == kind)


def test_another_seed_draws_others():
    some = drawn_room(1, 14)
    assert made(some, seed=1) != made(some, seed=2)


@NAMED
def test_answers_of_directions_are_as_even_as_the_room_allows(name):
    some = drawn_room(4, 20, side=14)
    for kind, value in rules_named(name).kinds.items():
        if isinstance(value.ask, Direction):
            counts = Counter(q.truth for q in made(some, name, kinds=[kind], per_kind=12).questions)
            assert len(counts) == len(value.ask.rule.options) and max(counts.values()) - min(counts.values()) <= 1


def test_wordings_are_varied_for_training_and_the_first_otherwise():
    some = drawn_room(6, 14)
    first, varied = made(some), made(some, varied=True)
    assert len({q.question.split("thing")[0] for q in varied.questions}) > len(
        {q.question.split("thing")[0] for q in first.questions}
    )


@NAMED
@given(SEEDS)
@settings(max_examples=10)
def test_varied_wordings_change_nothing_but_words(name, seed):
    some = drawn_room(seed, 14, kinds=12)
    first, varied = (
        [replace(question, question="") for question in made(some, name, varied=each).questions]
        for each in (False, True)
    )
    assert first == varied


def test_an_empty_room_has_no_questions_and_a_room_without_outline_says_so():
    assert made(room("a", [])).questions == ()
    assert made(room("a", []), "vsi").dropped == {("room_size_estimation", NO_AREA): 1}


def test_several_rooms_have_a_kind_of_their_own():
    for several, kind in ((True, "multiple"), (False, "single")):
        some = room("a", [], [[0, 0], [4, 0], [4, 5], [0, 5]], several_rooms=several)
        (question,) = made(some).questions
        assert question.kind == f"room_size_estimation_{kind}" and question.truth == "20.0"


def test_unknown_rules_and_kinds_are_named_with_those_there_are():
    with pytest.raises(ConfigError, match="no rules 'nuscenes' .* there are revsi, vsi, vsi_published"):
        rules_named("nuscenes")
    with pytest.raises(ConfigError, match="rules 'vsi' have no kind of question 'colour'; they have object_counting, "):
        made(drawn_room(1), "vsi", kinds=["colour", "object_counting"])
    with pytest.raises(ConfigError, match="per_kind is -1"):
        made(drawn_room(1), per_kind=-1)


def test_the_files_of_rules_are_whole():
    rules = read_rules()
    assert list(rules)[0] == "revsi" and all(isinstance(value, GeometryRules) for value in rules.values())
    assert (
        rules["vsi"].kinds == rules["vsi_published"].kinds
        and rules["vsi"].distances is not rules["vsi_published"].distances
    )
    assert {name: len(value.path_kinds) for name, value in rules.items()} == {"revsi": 1, "vsi": 2, "vsi_published": 2}
    assert not any(set(value.path_kinds) & set(value.kinds) for value in rules.values())
    for kind, texts in read_data("wordings.yaml").items():
        fields = {frozenset(name for _, name, _, _ in string.Formatter().parse(text) if name) for text in texts}
        assert len(texts) >= 2 and len(fields) == 1, kind
    sizeless = [label for line in read_data("labels.yaml")["sizeless"] for label in line]
    assert len(sizeless) == len(set(sizeless)) > 80


@pytest.mark.parametrize("kind", ["closest", "farthest"])
def test_questions_about_kinds_say_which_of_several_objects_counts(kind):
    assert all("several objects" in text and "nearest" in text for text in read_data("wordings.yaml")[kind])


def test_every_wording_is_used():
    """A room full of things, asked everything under all rules, needs each text of the file."""
    some = drawn_room(8, 20, side=14, kinds=17)
    two = [room("b", some.objects, some.outline_N2, several_rooms=several) for several in (True, False)]
    asked = {
        question.question
        for name, each, seed in itertools.product(["revsi", "vsi"], two, range(12))
        for question in made(each, name, per_kind=9, varied=True, seed=seed).questions
    }
    for kind, texts in read_data("wordings.yaml").items():
        for text in texts:
            start = text.split("{")[0]
            end = text.rsplit("}")[-1]
            assert any(line.startswith(start) and line.endswith(end) for line in asked), (kind, text)
