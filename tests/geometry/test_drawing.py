"""Pictures of questions: what is asked about stands out, the way one looks is drawn, the page has what is drawn."""

import importlib.util
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from geometry_rooms import box, drawn_room

from gpt4scene.geometry.drawing import ASKED, footprint, plan_svg
from gpt4scene.geometry.question import GeometryQuestion
from gpt4scene.geometry.room import RoomObject, polygon_area, room
from gpt4scene.geometry.rules import questions_of, read_rules

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", ["revsi", "vsi"])
def test_every_kind_of_question_can_be_drawn(name):
    some = drawn_room(8, 20, side=14, kinds=17)
    made = questions_of(some, read_rules()[name], per_kind=2)
    assert len({question.kind for question in made.questions}) >= 8
    for question in made.questions:
        picture = ElementTree.fromstring(plan_svg(some, question))
        assert picture.findtext(f"{SVG}title") == f"{question.question} {question.truth}"
        shapes = [shape.get("stroke") for shape in picture.iter(f"{SVG}polygon")]
        assert len(shapes) == 1 + len(some.objects) and shapes.count(ASKED) == len(question.objects)
        assert [text.text for text in picture.iter(f"{SVG}text")] == [item.label for item in some.objects]
        limits = {"easy": 2, "medium": 2, "hard": 3}.get(question.kind.rsplit("_", 1)[1])
        lines = list(picture.iter(f"{SVG}line"))
        assert len(lines) == (1 + limits if limits else 0)


def test_footprints_of_turned_tilted_and_flat_boxes():
    assert polygon_area(footprint(box(0, "a", [0, 0, 0], [2, 1, 3], 30))) == pytest.approx(2)
    tilted = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    assert polygon_area(footprint(RoomObject(0, "a", np.zeros(3), np.array([1.0, 1, 1]), tilted))) == pytest.approx(1.4)
    assert footprint(box(0, "a", [0, 0, 0], [0, 0, 0])).shape == (2, 2)


def test_labels_are_escaped_and_an_empty_room_is_drawn():
    odd = room("a", [box(0, "<b> & co", [0, 0, 0], [1, 1, 1])])
    asked = GeometryQuestion("a", "vsi", "object_size_estimation", "How large?", "100", objects=(0,))
    assert "&lt;b&gt; &amp; co" in plan_svg(odd, asked)
    empty = GeometryQuestion("a", "vsi", "room_size_estimation", "How large?", "9.0")
    ElementTree.fromstring(plan_svg(room("a", []), empty))


def test_the_picture_of_the_page_is_what_its_script_draws(root):
    path = root / "docs" / "images" / "draw_geometry.py"
    spec = importlib.util.spec_from_file_location("draw_geometry", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert path.with_name("geometry-direction.svg").read_text(encoding="utf-8") == plan_svg(*script.drawn())
