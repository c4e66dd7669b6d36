"""Answers in the 3D view have the verdicts of the report, and the boxes of both sides."""

import json

import pytest
import torch

from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.files.annotation import GROUND_TRUTH, PROPOSALS
from gpt4scene.files.prepared import SceneBox
from gpt4scene.view.answers import read_answers, shown_answers
from gpt4scene.view.answers_panel import answer_html

BOXES = [[0, 0, 0, 1, 1, 1], [5, 0, 0, 1, 1, 1], [5.1, 0, 0, 1, 1, 1]]
LABELS = ["chair", "desk", "<b>lamp</b>"]


@pytest.fixture
def folders(tmp_path):
    annotation, predictions = tmp_path / "annotation", tmp_path / "predictions"
    annotation.mkdir(), predictions.mkdir()
    row = {"scene_id": "room", "obj_id": 1, "qid": None, "prompt": "Which <i>desk</i>?", "ref_captions": ["<OBJ001>."]}
    (annotation / BENCHMARKS["scanrefer"].question_name("val")).write_text(json.dumps([row] * 3))
    content = {"room": {"objects": LABELS, "locs": torch.tensor(BOXES)}}
    for name in (PROPOSALS, GROUND_TRUTH):
        torch.save(content, annotation / name.format(split="val"))
    said = {"scene_id": "room", "gt_id": 1, "qid": None, "prompt": row["prompt"], "ref_captions": row["ref_captions"]}
    rows = [said | {"pred": f"<OBJ00{number}>.", "index": place} for place, number in enumerate((1, 2, 0))]
    (predictions / "scanrefer.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return predictions, annotation


def test_verdicts_and_boxes_of_both_sides(folders):
    assert read_answers(*folders, ["elsewhere"]) == {}
    first, near, wrong = read_answers(*folders, ["room"])["room"]
    assert [answer.verdict for answer in (first, wrong)] == ["right", "wrong"]
    assert near.named == (SceneBox(2, "<b>lamp</b>", (pytest.approx(5.1), 0, 0), (1, 1, 1)),)
    assert wrong.meant == (SceneBox(1, "desk", (5, 0, 0), (1, 1, 1)),) and wrong.points
    answers = [first, near, wrong]
    assert shown_answers(answers, "wrong")[-1] == wrong and shown_answers(answers, "all") == answers
    html = answer_html(near, 1, 3)
    assert (
        "1 of 3 answers" in html and "&lt;i&gt;desk" in html and "<b>lamp" not in html and "true object 1 desk" in html
    )
