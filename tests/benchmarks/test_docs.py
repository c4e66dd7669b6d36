"""The Python in the pages about scores runs as it stands."""

import json
import re
from types import ModuleType

import torch

from gpt4scene.benchmarks import annotate, questions, records
from gpt4scene.benchmarks import score as scoring
from gpt4scene.metrics import texts as text
from gpt4scene.types import TASKS


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


def test_the_worked_example_of_a_new_benchmark(root, tmp_path, monkeypatch):
    """The module of the page, entered where the page says, makes questions and training rows and scores answers."""
    (block,) = blocks(root / "docs" / "benchmarks-adding.md")
    assert len([line for line in block.splitlines() if line.strip()]) < 40
    module = ModuleType("counting")
    exec(block, vars(module))
    monkeypatch.setattr(scoring, "TASKS", (*TASKS, "counting"))
    monkeypatch.setitem(records.RAW_FILES, "counting", ("counting_{split}.json",))
    monkeypatch.setitem(questions.QUESTION_FILES, "counting", "counting_{split}.json")
    monkeypatch.setitem(annotate.BENCHMARKS, "counting", module)
    (tmp_path / "a.jpg").write_bytes(b"")
    for split in ("train", "val"):
        record = {"scene_id": "s", "label": "chair", "count": 2}
        (tmp_path / f"counting_{split}.json").write_text(json.dumps([record]))
        (tmp_path / f"selected_images_mark_3D_{split}_1.json").write_text('{"s": ["a.jpg"]}')
        for name in ("scannet", "scannet_mask3d"):
            torch.save({"s": {"objects": [], "locs": torch.zeros(0, 6)}}, tmp_path / f"{name}_{split}_attributes.pt")
        folders = {"raw": str(tmp_path), "scenes": str(tmp_path), "out": str(tmp_path / split)}
        made = annotate.annotate(
            annotate.AnnotateArguments(**folders, split=split, task="counting"), say=lambda line: None
        )
        (row,) = made.made["counting"].rows
        assert (row.answer == "2.") if split == "train" else (row["ref_captions"] == ["2"])
    (question,) = json.loads((tmp_path / "val" / "counting_val.json").read_text())
    assert row == question
    rows = [{**question, "pred": pred} for pred in ("Two.", "three")]
    assert module.score(rows).scores == {"Acc": 0.5}
