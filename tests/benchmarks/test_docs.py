"""The Python in the pages about scores runs as it stands."""

import re

from gpt4scene.benchmarks import text
from gpt4scene.benchmarks.boxes import scene_boxes
from gpt4scene.benchmarks.making import Record, Rooms


def blocks(path):
    return re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)


def test_scores_from_python(root, capsys, monkeypatch):
    monkeypatch.setattr(text, "coco_folder", lambda: None)  # the text metrics, which take METEOR's time, are left out
    (block,) = blocks(root / "docs" / "scores.md")
    exec(block, {})
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "1.0"
    assert out[1].startswith("0.99999")
    assert "'Acc@0.25': 1.0" in out[2]
    assert out[3] == "1.0"
    assert "'objects without an answer': 0" in out[4]
    assert out[5] == "0 0.5"
    assert out[6] == "(0.0, 1.0)"


def test_the_worked_example_of_a_new_benchmark(root):
    (block,) = blocks(root / "docs" / "benchmarks-adding.md")
    assert len([line for line in block.splitlines() if line.strip()]) < 40
    module = {}
    exec(block, module)
    boxes = scene_boxes({}, "none")
    record = Record({"scene_id": "s", "label": "chair", "count": 2}, "row 0")
    made = module["training"]([record], Rooms({"s": ("a.jpg",)}, boxes, boxes))
    assert made.rows[0].answer == "2."
    rows = [{"scene_id": "s", "pred": pred, "ref_captions": ["2"]} for pred in ("Two.", "three")]
    assert module["score"](rows).scores == {"Acc": 0.5}
