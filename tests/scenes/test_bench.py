import json
import subprocess
import sys


def test_the_scene_benchmark_finds_what_the_straightforward_way_finds(root, tmp_path):
    script = root / "scripts" / "bench" / "scene.py"
    done = subprocess.run(
        [sys.executable, str(script), "--small", "--json", str(tmp_path / "bench.json")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "bench.json").read_text())
    (line,) = report["results"]
    assert line["equal"] is True and line["ours_s"] > 0 and line["peak_mib"] > 0
    assert line["ours_cpu_s"] > 0 and "extrapolated, not measured: 1513 such scenes" in done.stdout
    assert report["bench"] == "scene" and "embreex" in report["versions"]
