"""Edits of boxes: each gives new boxes, keeps numbers, and can be taken back."""

import numpy as np
import pytest

from gpt4scene.errors import DataError
from gpt4scene.files.prepared import SceneBox
from gpt4scene.view.editing import Cutter, History, added, merged, moved, removed, renamed, split_off

CHAIR = SceneBox(2, "chair", (0.0, 0.0, 0.5), (1.0, 1.0, 1.0))
DESK = SceneBox(5, "desk", (2.0, 0.0, 0.5), (2.0, 1.0, 1.0))
BOXES = (CHAIR, DESK)


def by_number(boxes):
    return {box.id: box for box in boxes}


def test_names_places_and_removal_leave_all_else_as_it_was():
    assert by_number(renamed(BOXES, 2, "  office   chair ")) == {
        2: SceneBox(2, "office chair", CHAIR.center, CHAIR.size),
        5: DESK,
    }
    assert by_number(moved(BOXES, 5, (1, 1, 1), (1, 2, 3)))[5] == SceneBox(5, "desk", (1, 1, 1), (1, 2, 3))
    assert removed(BOXES, 2) == (DESK,)
    assert added(BOXES, "lamp", (0, 0, 0), (1, 1, 1))[-1] == SceneBox(6, "lamp", (0, 0, 0), (1, 1, 1))
    assert BOXES == (CHAIR, DESK)


def test_a_merged_object_keeps_the_first_number_and_holds_both_boxes():
    (one,) = merged(BOXES, 2, [5])
    assert one == SceneBox(2, "chair", (1.25, 0.0, 0.5), (3.5, 1.0, 1.0))
    empty = SceneBox(7, "nothing", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    assert merged((DESK, empty), 5, [7]) == (DESK,)  # what is nowhere does not move the box


def test_a_split_measures_both_parts_by_the_points():
    generator = np.random.default_rng(0)
    left = generator.uniform((1.05, -0.4, 0.1), (1.7, 0.4, 0.9), (400, 3))
    right = generator.uniform((2.3, -0.2, 0.2), (2.9, 0.2, 0.8), (400, 3))
    after = by_number(split_off(BOXES, 5, Cutter((2.5, 0, 0.5), (1.0, 2.0, 2.0)), np.concatenate([left, right])))
    for number, points in ((5, left), (6, right)):
        np.testing.assert_allclose(after[number].center, (points.min(0) + points.max(0)) / 2, atol=1e-6)
        np.testing.assert_allclose(after[number].size, np.ptp(points, axis=0), atol=1e-6)
    assert after[6].label == "desk" and after[2] == CHAIR


def test_a_split_without_points_cuts_the_box_itself():
    after = by_number(split_off(BOXES, 5, Cutter((2.75, 0, 0.5), (0.5, 2.0, 2.0))))
    assert after[5] == SceneBox(5, "desk", (1.75, 0.0, 0.5), (1.5, 1.0, 1.0))
    assert after[6] == SceneBox(6, "desk", (2.75, 0.0, 0.5), (0.5, 1.0, 1.0))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda: renamed(BOXES, 2, "  "), "at least one letter"),
        (lambda: renamed(BOXES, 2, "a\x07b"), "printable"),
        (lambda: renamed(BOXES, 3, "lamp"), "no object 3"),
        (lambda: merged(BOXES, 2, [2]), "not with itself"),
        (lambda: moved(BOXES, 2, (0, 0, float("nan")), (1, 1, 1)), "three numbers"),
        (lambda: moved(BOXES, 2, (0, 0, 0), (1, 0, 1)), "at least 0.01 m"),
        (lambda: split_off(BOXES, 2, Cutter((9, 9, 9), (1, 1, 1))), "does not reach"),
        (lambda: split_off(BOXES, 2, Cutter((0, 0, 0.5), (3, 3, 3))), "holds all"),
        (
            lambda: split_off(BOXES, 2, Cutter((0.5, 0, 0.5), (1, 2, 2)), np.full((20, 3), [-0.1, 0, 0.5])),
            "only 0 points",
        ),
    ],
)
def test_what_can_not_be_done_is_said(change, said):
    with pytest.raises(DataError, match=said):
        change()


def test_steps_are_taken_back_and_done_again():
    history = History.of(BOXES)
    assert (history.undo, history.redo) == (None, None)
    assert history.undone() == history and history.after("nothing", BOXES) is history
    later = history.after("rename 2", renamed(BOXES, 2, "stool")).after("remove 5", removed(BOXES, 5))
    assert later.undo == "remove 5"
    back = later.undone().undone()
    assert back.boxes == BOXES and back.redo == "rename 2" and back.redone().redone() == later
    other = back.after("remove 2", removed(BOXES, 2))
    assert other.redo is None and other.undone().boxes == BOXES
