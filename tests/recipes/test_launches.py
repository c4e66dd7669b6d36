"""The launches of docs/scaling.md on two machines, run as they stand there: two launchers here, a CPU process each."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_slurm import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/scaling.md").read_text()
COMMANDS = {
    "torchrun": next(re.finditer(r"^torchrun .*--nnodes.*$", PAGE, re.MULTILINE)).group(),
    "accelerate": next(re.finditer(r"^accelerate launch .*$", PAGE, re.MULTILINE)).group(),
    "sky": yaml.safe_load((ROOT / "examples/sky/train.yaml").read_text())["run"],
}
STEPS = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "scene_packing": 2, "logging_steps": 1}
"""Keys in place of the file's: 4 questions a step on two processes."""


@pytest.fixture
def on_two_machines(forked, environment, flags):
    """Return a function: command, output folder, keys -> what both launchers ended with, and what they said."""

    def run(command: str, output: Path, **keys):
        port, given = free_ports(1)[0], flags(output, **STEPS | {"save_strategy": "no", "optim": "adamw_torch"} | keys)
        command = command.replace("29400", str(port)).replace("--num_processes 16", "--num_processes 2")
        command = re.sub(r"--nproc_per_node 8\b", "--nproc_per_node 1", command.strip())
        path = os.pathsep.join([str(forked.launchers), str(Path(sys.executable).parent), environment["PATH"]])
        python = os.pathsep.join([str(ROOT / "src"), environment.get("PYTHONPATH", "")])
        clean = environment | {"PATH": path, "PYTHONPATH": python, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        both = []
        for rank in "01":
            here = {"NODE_RANK": rank, "MASTER_ADDR": "127.0.0.1"}
            here |= {"SKYPILOT_NODE_RANK": rank, "SKYPILOT_NODE_IPS": "127.0.0.1\n127.0.0.1"}
            here |= {"SKYPILOT_NUM_NODES": "2", "SKYPILOT_NUM_GPUS_PER_NODE": "1"}
            words = ["bash", "-c", f'{command} "$@"', "launch", *given]
            both.append(subprocess.Popen(words, cwd=ROOT, env=clean | here, stderr=subprocess.PIPE, text=True))
        try:
            said = [one.communicate(timeout=400)[1] for one in both]
        finally:
            for one in both:
                one.kill()
        return [one.returncode for one in both], said

    return run


@pytest.mark.parametrize("way", COMMANDS)
def test_two_machines_train_as_one_process(way, on_two_machines, train, losses_of, tmp_path):
    if way != "accelerate":
        pytest.importorskip("deepspeed")
    keys = {"lr_scheduler_type": "cosine", "max_steps": 4, "num_train_epochs": 2}
    codes, said = on_two_machines(COMMANDS[way], tmp_path / "run", **keys)
    assert codes == [0, 0], said[0][-3000:] + said[1][-3000:]
    assert "4 questions a step (2 on each of 2 processes" in said[0] and "questions a step" not in said[1]
    alone = train(
        tmp_path / "alone", per_device_train_batch_size=4, scene_packing=2, bf16=True, warmup_steps=0.1, **keys
    )
    assert losses_of(tmp_path / "run") == pytest.approx(alone, rel=5e-3)
