import json
import subprocess

import pytest


@pytest.mark.slow
def test_both_sides_agree_and_packs_are_faster(python, root, tmp_path):
    command = [python, root / "scripts/bench/train.py", "--small", "--json", tmp_path / "train.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads((tmp_path / "train.json").read_text())
    assert report["bench"] == "train"
    ways = [(line["work"], line["questions"]) for line in report["results"]]
    assert ways == [(work, count) for work in ("usual", "recipe", "alone") for count in (1, 6)]
    assert all(0 < line["utilisation"] < 1 for line in report["results"])
    assert all(line["equal"] and line["gradient_difference"] < 1e-3 for line in report["results"])
    assert "ratio" in done.stdout
