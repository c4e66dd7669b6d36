"""Sixty real rooms of VSI-Bench's own scene files go through both sets of rules."""

from collections import Counter

import numpy as np
import pytest
from geometry_rooms import scene_file_room

from gpt4scene.files.whole import read_json
from gpt4scene.geometry.options import balanced
from gpt4scene.geometry.question import together
from gpt4scene.geometry.rules import questions_of, rules_named


@pytest.fixture(scope="module")
def scene_files(shared_data):
    path = shared_data / "annotations" / "vsibench_arkitscenes" / "arkitscenes_meta_info_val_60.json"
    if not path.is_file():
        pytest.skip(f"scene files are absent: {path}")
    return read_json(path, "scene files")


@pytest.fixture(scope="module")
def rooms(scene_files):
    return [scene_file_room(name, content) for name, content in scene_files.items()]


def test_rows_of_normalized_axes_are_axes_so_that_corners_reproduce_the_limits(scene_files, rooms):
    boxes = 0
    for content, some in zip(scene_files.values(), rooms, strict=True):
        given = [item for items in content["object_bbox"].values() for item in items]
        for item, found in zip(given, some.objects, strict=True):
            assert np.allclose(found.corners_83.min(axis=0), item["min"], atol=1e-6)
            assert np.allclose(found.corners_83.max(axis=0), item["max"], atol=1e-6)
            boxes += 1
        assert some.counts == content["object_counts"]
    assert boxes > 400


def test_columns_would_not_be_axes(scene_files):
    """The other reading misses the limits of tilted boxes, so the test above can tell the two apart."""
    misses = 0
    for content in scene_files.values():
        for item in (item for items in content["object_bbox"].values() for item in items):
            spread = np.abs(np.array(item["normalizedAxes"]).reshape(3, 3)) @ (np.array(item["axesLengths"]) / 2)
            misses += not np.allclose(np.array(item["centroid"]) + spread, item["max"], atol=1e-6)
    assert misses > 100


@pytest.mark.parametrize(("name", "least"), [("revsi", 400), ("vsi", 1000)])
def test_real_rooms_give_sound_questions(rooms, name, least):
    rules = rules_named(name)
    found = together(questions_of(some, rules, seed=1) for some in rooms)
    asked = balanced(found.questions, 1)
    assert len(asked) > least
    by_kind = Counter(question.kind for question in asked)
    assert set(by_kind) | {"room_size_estimation_multiple"} >= set(rules.kinds)
    for question in asked:
        value = 0.0 if question.options else float(question.truth)
        if "counting" in question.kind:
            assert 1 <= value <= 30
        if question.kind == "object_abs_distance":
            assert 0.2 <= value < 12
        if question.kind == "object_size_estimation":
            assert 5 < value < 500
        if question.kind.startswith("room_size"):
            assert 2 < value < 200
    for kind in by_kind:
        letters = Counter(question.answer for question in asked if question.kind == kind and question.options)
        assert not letters or max(letters.values()) - min(letters.values()) <= 1
    assert found.dropped.total() > len(asked)
