"""The speed bench of spatial scoring runs, and times every rule of every benchmark that it knows."""

import json
import runpy

from gpt4scene.benchmarks.registry import BENCHMARKS


def test_every_rule_is_timed(root, tmp_path):
    out = tmp_path / "bench.json"
    bench = runpy.run_path(str(root / "scripts" / "bench" / "spatial.py"))
    assert bench["main"](["--small", "--repeats", "1", "--json", str(out)]) == 0
    content = json.loads(out.read_text())
    assert content["results"].keys() == content["sizes"].keys() == bench["ROWS"].keys()
    assert {task: set(times) - {"all"} for task, times in content["results"].items()} == {
        task: set(BENCHMARKS[task].rule_names) for task in bench["ROWS"]
    }
