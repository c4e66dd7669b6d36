import json
import subprocess
import sys


def test_both_sides_are_measured_and_agree(root, tmp_path):
    command = [sys.executable, root / "scripts/bench/encode.py", "--small", "--json", tmp_path / "encode.json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "encode.json").read_text())
    assert {"bench", "hardware", "versions", "sizes", "results"} <= report.keys()
    assert [line["questions"] for line in report["results"]] == [16, 1, 4]
    assert all(line["equal"] and line["usual_s"] > 0 and line["ours_s"] > 0 for line in report["results"])
