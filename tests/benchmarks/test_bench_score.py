"""The speed bench of scoring runs and both of its sides agree."""

import json
import subprocess

import pytest

from gpt4scene.metrics.java import coco_folder, find_java


@pytest.mark.slow
def test_both_sides_agree(python, root, tmp_path):
    if find_java() is None or coco_folder() is None:
        pytest.skip("the bench needs Java and pycocoevalcap")
    out = tmp_path / "bench.json"
    command = [python, str(root / "scripts" / "bench" / "score.py"), "--small", "--repeats", "1"]
    subprocess.run([*command, "--json", str(out)], check=True, capture_output=True)
    result = json.loads(out.read_text())["results"][0]
    assert result["equal"] is True
    assert set(result) == {"usual_s", "ours_s", "ratio", "spread", "equal"}
