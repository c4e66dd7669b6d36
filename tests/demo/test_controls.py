from __future__ import annotations

import json
import random

import pytest
from five import FIVE

from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.rows import TrainingRow
from gpt4scene.benchmarks.wordings import Prompts
from gpt4scene.demo import controls
from gpt4scene.files.predictions import read_predictions
from gpt4scene.types import Question

FIELDS = {
    "scanqa": {"question": "What color is the bed?"},
    "sqa3d": {"situation": "I sit on the sofa.", "question": "What is behind me?"},
    "scanrefer": {"description": "this is the only bed in the room."},
    "multi3dref": {"description": "every lamp"},
    "scan2cap": {"object": "<OBJ003>"},
}


@pytest.mark.parametrize("task", FIVE)
def test_all_templates_of_a_question_have_one_core(task):
    wordings = BENCHMARKS[task].wordings()
    drawn = Prompts(wordings, random.Random(0))
    prompts = {drawn.fill(**FIELDS[task]) for _ in range(40)}
    assert len(prompts) == len(wordings)
    cores = {controls.core(task, prompt) for prompt in prompts}
    assert cores == {" ".join(FIELDS[task].values())}


def test_a_prompt_of_no_template_is_its_own_core():
    assert controls.core("scanqa", "Why?") == "Why?"


def _row(question, answer, scene="room"):
    return TrainingRow(scene, f"{question} Answer with one word or a short phrase.", answer)


ROWS = [
    _row("A?", "Red."),
    _row("A?", "Blue."),
    _row("A?", "Blue."),
    _row("B?", "Two."),
    _row("B?", "Two."),
    _row("B?", "Two."),
]


def test_commonest_answers():
    asked = [Question("scanqa", i, "room", _row(q, "").question) for i, q in enumerate(("A?", "B?", "C?"))]
    assert controls.answers_by_task(ROWS, asked) == ["Two."] * 3
    assert controls.answers_by_wording("scanqa", ROWS, asked) == ["Blue.", "Two.", "Two."]


def test_of_equally_common_answers_the_first_is_taken():
    assert controls.commonest([_row("A?", "Red."), _row("A?", "Blue.")]) == "Red."


def test_controls_are_predictions_that_the_scorers_read(tmp_path):
    (tmp_path / "scanqa_val.json").write_text(
        json.dumps([{"scene_id": "room", "obj_id": 2, "prompt": ROWS[0].question, "ref_captions": ["red"]}])
    )
    controls.write_controls({"scanqa": ROWS}, tmp_path, tmp_path / "predictions")
    row = read_predictions(tmp_path / "predictions" / "wording", "scanqa").rows[0]
    assert (row.pred, row.gt_id, row.texts, row.index) == ("Blue.", 2, ["red"], 0)
    assert read_predictions(tmp_path / "predictions" / "commonest", "scanqa").rows[0].pred == "Two."


def test_questions_of_rooms_are_answered_by_their_kind():
    """Each names other objects, so the commonest answer to one prompt would be its own."""
    asked = [Question("spatial", place, "room", f"question {place}", type_info="far") for place in range(3)]
    rows = [TrainingRow("room", f"question {place}", answer) for place, answer in enumerate(("2", "1", "1"))]
    assert controls.answers_by_wording("spatial", rows, asked) == ["1", "1", "1"]
