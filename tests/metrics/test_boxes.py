import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.errors import DataError
from gpt4scene.metrics.boxes import PUBLISHED_EPSILON, flat_targets, iou, iou_matrix, scene_boxes

corners = st.tuples(*[st.integers(0, 6)] * 3, *[st.integers(1, 4)] * 3)


def box(low_and_size):
    low, size = np.array(low_and_size[:3]), np.array(low_and_size[3:])
    return np.concatenate([low + size / 2, size])


def cells(low_and_size):
    x, y, z, w, d, h = low_and_size
    return {(i, j, k) for i in range(x, x + w) for j in range(y, y + d) for k in range(z, z + h)}


@given(corners, corners)
def test_exact_on_whole_numbers_and_symmetric(first, second):
    a, b = cells(first), cells(second)
    assert iou(box(first), box(second)) == len(a & b) / len(a | b)
    assert iou(box(first), box(second), PUBLISHED_EPSILON) == iou(box(second), box(first), PUBLISHED_EPSILON)


@given(st.lists(corners, min_size=1, max_size=4), st.lists(corners, min_size=1, max_size=4))
def test_matrix_is_every_pair(first, second):
    first_N6, second_M6 = np.array([box(b) for b in first]), np.array([box(b) for b in second])
    expected = [[iou(a, b) for b in second_M6] for a in first_N6]
    assert iou_matrix(first_N6, second_M6).tolist() == expected


def test_empty_proposals_meet_nothing():
    assert iou(np.zeros(6), np.zeros(6)) == 0
    assert iou(np.zeros(6), np.array([0, 0, 0, 1, 1, 1])) == 0


def test_no_boxes_at_all():
    assert iou_matrix(np.zeros((0, 6)), np.zeros((3, 6))).shape == (0, 3)


@pytest.mark.parametrize(
    ("boxes", "sentence"),
    [
        ([[0, 0, 0, 1, 1, 1], [0, 0, float("nan"), 1, 1, 1]], "box 1 of scene 's' holds a value that is not finite"),
        ([[0, 0, 0, 1, -1, 1]], "negative size"),
        ([[0, 0, 0, 1, 1]], r"shape \(1, 5\)"),
    ],
)
def test_broken_boxes_are_named(boxes, sentence):
    with pytest.raises(DataError, match=sentence):
        scene_boxes({"s": boxes}, "boxes.pt")


def test_the_other_splits_file_is_suspected():
    boxes = scene_boxes({"room": [[0, 0, 0, 1, 1, 1]]}, "boxes.pt")
    with pytest.raises(DataError, match=r"x.json, row 1: scene 'hall' is not in boxes.pt .*'room'.*another split"):
        boxes.of("hall", "x.json, row 1")
    with pytest.raises(DataError, match="object 1 is past the 1 boxes of scene 'room' in boxes.pt"):
        boxes.row("room", 1, "x.json, row 1")


@pytest.mark.parametrize(
    ("boxes", "row"),
    [
        ([[0] * 6, [1, 2, 3]], "box 1 is [1, 2, 3]"),
        ([[0] * 6, None], "box 1 is None"),
        ([["wide"] * 6], "box 0 is ['wide'"),
        ("boxes", "box 0 is b"),
        ({"0": [0] * 6}, "rows of six numbers"),
        ([[[0] * 6]], "shape (1, 1, 6)"),
    ],
)
def test_boxes_that_are_no_rows_of_six_numbers_are_named(boxes, row):
    with pytest.raises(DataError) as error:
        scene_boxes({"room": boxes}, "file.pt")
    assert row in str(error.value) and "file.pt" in str(error.value) and "room" in str(error.value)


def test_targets_without_volume_are_noted():
    truth = scene_boxes({"s": [[0, 0, 0, 1, 1, 1], [0] * 6, [0, 0, 0, 1, 1, 0]]}, "truth.pt")
    assert flat_targets(truth, [("s", 0)]) == ()
    (note,) = flat_targets(truth, [("s", 0), ("s", 1), ("s", 2)])
    assert note.startswith("2 targets are boxes without volume") and "object 1 of scene 's' in truth.pt" in note
