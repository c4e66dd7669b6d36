import json
import os
import subprocess

import pytest


@pytest.mark.slow
def test_every_part_runs_on_tiny_shapes(python, root, tmp_path):
    command = [
        "bash",
        root / "scripts/bench/gpu.sh",
        tmp_path,
        "--dry",
        "--parts",
        "kernels,equality,tower,train,answer",
    ]
    environment = os.environ | {"PYTHON": python}
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, env=environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    lines = [json.loads(line) for line in (tmp_path / "gpu.jsonl").read_text().splitlines()]
    parts = {line["part"] for line in lines}
    assert {
        "machine",
        "kernels",
        "equality",
        "tower",
        "train",
        "train profile",
        "answer",
        "answer rooms",
        "end",
    } <= parts
    assert not any("failed" in line or "skipped" in line for line in lines)
    exact = next(line for line in lines if line["part"] == "equality" and line["dtype"] == "torch.float32")
    assert exact["loss"] < 1e-5 and exact["gradient"] < 1e-4 and not exact["nan"]


@pytest.mark.slow
def test_without_a_gpu_it_says_so(python, root, tmp_path):
    command = ["bash", root / "scripts/bench/gpu.sh", tmp_path / "out"]
    environment = {"PYTHON": python, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == 2 and "--dry runs tiny shapes" in done.stderr
    assert not (tmp_path / "out").exists()
