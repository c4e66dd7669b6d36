"""The speed bench of preparing scenes runs, and finds what the straightforward way finds."""

import json
import runpy

import pytest


@pytest.mark.slow
def test_the_scene_benchmark_finds_what_the_straightforward_way_finds(root, tmp_path, capsys):
    bench = runpy.run_path(str(root / "scripts" / "bench" / "scene.py"))
    assert bench["main"](["--small", "--json", str(tmp_path / "bench.json")]) == 0
    report = json.loads((tmp_path / "bench.json").read_text())
    (line,) = report["results"]
    assert line["equal"] is True and line["ours_s"] > 0 and line["peak_mib"] > 0
    assert line["ours_cpu_s"] > 0 and "extrapolated, not measured: 1513 such scenes" in capsys.readouterr().out
    assert report["bench"] == "scene" and "embreex" in report["versions"]
