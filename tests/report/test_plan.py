"""Boxes from above: where they lie in pixels, and which are drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.benchmarks.judging import Judged, Pointed
from gpt4scene.files.answers import AnswerRow
from gpt4scene.metrics.answer_boxes import answer_boxes, themselves
from gpt4scene.metrics.boxes import SceneBoxes
from gpt4scene.report.plan import EDGE, SIDE, RoomPlan

PROPOSALS = [[0, 0, 1, 2, 2, 2], [8, 0, 0.5, 4, 2, 1], [0, 0, 0, 0, 0, 0]]
TRUTH = [[0, 4, 1, 2, 2, 2]]


class Boxes:
    """Stands for an annotation folder."""

    def __init__(self, proposals=PROPOSALS, truth=TRUTH):
        self.proposals = SceneBoxes({"s": np.array(proposals, dtype=float).reshape(-1, 6)}, "p", {"s": ["bed", "sofa"]})
        self.ground_truth = SceneBoxes({"s": np.array(truth, dtype=float).reshape(-1, 6)}, "t", {"s": ["lamp"]})


def draw(room, pointed):
    return room.draw(Judged(AnswerRow("s", ""), "", "", (), pointed=pointed))


@pytest.fixture
def room():
    return RoomPlan.of(Boxes(), "s")


def test_one_scale_for_both_axes_and_y_up(room):
    low, high = room.others()  # the empty proposal is not drawn
    scale = SIDE / 11  # from x = -1 to 10
    assert (low.x, low.width, low.height) == (EDGE, round(2 * scale, 1), round(2 * scale, 1))
    assert high.width == round(4 * scale, 1) and high.x > low.x and high.y == low.y
    meant = draw(room, Pointed((), (0,))).shapes[0]
    assert meant.y == EDGE and meant.y < low.y  # y = 4 lies above y = 0


def test_named_over_meant_with_their_heights_beside(room):
    drawing = draw(room, Pointed((0,), (0,)))
    assert [shape.kind for shape in drawing.shapes] == ["meant", "meant", "named", "named"]
    assert [shape.name for shape in drawing.shapes[::2]] == ["object 0 lamp", "marked 0 bed"]
    assert drawing.shapes[1].x < drawing.shapes[3].x  # the bars stand side by side
    assert "0.00 to 2.00 m above the lowest box" in drawing.shapes[1].name
    alone = draw(room, Pointed((), (0,)))
    assert alone.width < drawing.width


def test_nothing_to_draw_gives_no_plan(room):
    assert draw(room, Pointed((), ())) is None
    assert draw(room, Pointed((7,), (9,))) is None  # numbers past the last box
    assert RoomPlan.of(Boxes([], []), "s") is None and RoomPlan.of(Boxes(), "other") is None
    assert RoomPlan.of(Boxes([[0, 0, 0, 0, 0, 0]], []), "s") is None


def test_answers_with_boxes_of_their_own_stand_before_the_annotated_objects():
    folder = Boxes()
    own = {"row": np.array([[0.0, 4, 1, 1, 1, 1]]), "other": np.array([[3.0, 3, 3, 1, 1, 1]])}
    folder.proposals = answer_boxes(own, {"row": "s", "other": "s"})
    room = RoomPlan.of(folder, "s")
    assert room.others_are == "annotated objects" and len(room.others()) == len(TRUTH)
    judged = Judged(AnswerRow("s", "", origin="row"), "", "", (), pointed=Pointed((0,), (0,)))
    assert [shape.name for shape in room.draw(judged).shapes[::2]] == ["object 0 lamp", "marked 0"]
    silent = Judged(AnswerRow("s", "", origin="a third"), "", "", (), pointed=Pointed((0,), ()))
    assert room.draw(silent) is None


def test_where_no_box_is_compared_none_is_drawn():
    folder = Boxes()
    folder.ground_truth = folder.proposals = themselves([("s", 2)])
    assert RoomPlan.of(folder, "s") is None


number = st.floats(-50, 50)
box = st.tuples(number, number, number, *[st.floats(0.01, 30)] * 3)


@given(proposals=st.lists(box, min_size=1, max_size=5), truth=st.lists(box, max_size=3))
def test_every_shape_lies_inside_the_drawing(proposals, truth):
    room = RoomPlan.of(Boxes(proposals, truth), "s")
    drawing = draw(room, Pointed(tuple(range(len(proposals))), tuple(range(len(truth)))))
    for shape in (*drawing.shapes, *room.others()):
        assert shape.x >= 0 and shape.x + shape.width <= drawing.width + 1
        assert shape.y >= 0 and shape.y + shape.height <= drawing.height + 1
    assert max(drawing.height, drawing.width) < SIDE + 60
