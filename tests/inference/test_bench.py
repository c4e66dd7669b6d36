import json
import subprocess

import pytest


@pytest.mark.slow
def test_benchmark_compares_equal_answers(python, root, tmp_path):
    out = tmp_path / "figures.json"
    program = [python, root / "scripts" / "bench" / "infer.py", "--small", "--json", out]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert report["bench"] == "infer" and {"hardware", "versions", "sizes"} <= report.keys()
    assert [line["questions"] for line in report["results"]] == [1, 6]
    assert all(line["equal"] and line["usual_s"] > 0 and line["ours_s"] > 0 for line in report["results"])
