"""The speed bench of encoding runs, and both of its sides agree."""

import json
import runpy

import pytest


@pytest.mark.slow
def test_both_sides_are_measured_and_agree(root, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(root / "scripts" / "bench")
    bench = runpy.run_path(str(root / "scripts" / "bench" / "encode.py"))
    assert bench["main"](["--small", "--json", str(tmp_path / "encode.json")]) == 0
    report = json.loads((tmp_path / "encode.json").read_text())
    assert {"bench", "hardware", "versions", "sizes", "results"} <= report.keys()
    assert [line["questions"] for line in report["results"]] == [16, 1, 4]
    assert all(line["equal"] and line["usual_s"] > 0 and line["ours_s"] > 0 for line in report["results"])
