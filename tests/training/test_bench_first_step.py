import json
import subprocess

import pytest


@pytest.mark.slow
def test_training_is_timed_to_its_first_step(python, root, tmp_path):
    command = [python, root / "scripts/bench/first_step.py", "--small", "--json", tmp_path / "first.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    (found,) = json.loads((tmp_path / "first.json").read_text())["results"]
    names = ["fingerprint", "parse rows", "check rows", "hold rows out", "model", "scenes of rows", "first batches"]
    assert [stage["stage"] for stage in found["stages"]] == names
    assert [process["process"] for process in found["processes"]] == ["main", "worker", "worker"]
    assert found["first_step_s"] > 0 and all(0 < process["peak_mib"] < 2048 for process in found["processes"])
    assert "rows parsed after" in done.stdout
