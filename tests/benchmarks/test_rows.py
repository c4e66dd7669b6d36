"""The one loop over records: every record becomes rows or is counted under a reason."""

import random

import pytest

from gpt4scene.benchmarks.joining import same_prompt
from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.rows import Dropped, make_rows
from gpt4scene.benchmarks.wordings import Prompts, spoken, without_end_mark
from gpt4scene.files.raw import Record
from gpt4scene.metrics.boxes import SceneBoxes, scene_boxes

BOXES = scene_boxes({"a": [[0, 0, 0, 1, 1, 1]]}, "boxes")
SCENES = Scenes({"a": ("a.jpg",), "b": ("b.jpg",), "c": ()}, BOXES, BOXES)
ALL = Prompts(("first {x}", "second {x}"))


def record(scene):
    return Record({"scene_id": scene}, f"row about {scene}")


def rows_of(one, scenes, prompts):
    yield one.text("scene_id")
    yield Dropped("second half")


def test_rows_and_dropped_ones_are_counted_in_order():
    records = [record("b"), Dropped("left out before"), record("gone"), record("c"), record("a")]
    made = make_rows(records, rows_of, SCENES, ALL, boxes=False)
    assert made.rows == ["b", "a"]
    assert made.dropped == {"left out before": 1, "scene without images": 2, "second half": 2}


def test_rows_about_objects_need_boxes():
    made = make_rows([record("a"), record("b"), record("c")], rows_of, SCENES, ALL, boxes=True)
    assert made.rows == ["a"]
    assert made.dropped["scene without proposals or ground truth"] == made.dropped["scene without images"] == 1
    lacking = Scenes(SCENES.images, BOXES, SceneBoxes({}, "none"))
    assert not make_rows([record("a")], rows_of, lacking, ALL, boxes=True).rows


def test_prompts_are_the_first_or_drawn_among_the_first():
    assert ALL.fill(x="one") == "first one"
    drawn = Prompts(ALL.wordings, random.Random(0))
    assert {drawn.fill(x="") for _ in range(20)} == {"first ", "second "}
    assert {Prompts(ALL.wordings, random.Random(0), most=1).fill(x="") for _ in range(20)} == {"first "}


def test_ends_of_answers_and_descriptions():
    assert [spoken(text) for text in (" tv", "Yes!", "A lamp.")] == ["Tv.", "Yes!", "A lamp."]
    assert [without_end_mark(text) for text in ("a bed . ", "chairs?", "a")] == ["a bed", "chairs", "a"]


@pytest.mark.parametrize("written", [r"What is \<image>?", "What is <image>?", r"What  is\n\\\<image> ?"])
def test_prompts_are_the_same_whether_marks_in_them_are_escaped_or_not(written):
    assert same_prompt(written.replace(r"\n", "\n")).replace(" ", "") == "Whatis?"
