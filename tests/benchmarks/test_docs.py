"""The Python in the pages about scores runs as it stands."""

import re

from gpt4scene.metrics import texts as text


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
