"""``examples/slurm/train.sh`` on a real Slurm of two nodes: a node is lost, a job is stopped, a node is missing."""

import json
import os
import sys

import pytest
from small_slurm import SmallSlurm, free_ports, needs_slurm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), needs_slurm]

KEYS = {"per_device_train_batch_size": 2, "save_steps": 6, "save_strategy": "steps", "max_steps": 60}


@pytest.fixture(scope="module")
def slurm():
    small = SmallSlurm()
    try:
        small.start()
        yield small
    finally:
        small.stop()


@pytest.fixture
def submit(forked, slurm, root, flags, tmp_path):
    """Return a function: output folder, number of nodes, keys -> the number of a job that trains as a YAML says."""

    def run(output, nodes=2, **keys) -> str:
        words = flags(output, **KEYS | keys)
        names = [word.removeprefix("--") for word in words[::2]]
        yaml = tmp_path / f"{output.name}-{nodes}.yaml"
        yaml.write_text("".join(f"{name}: {value}\n" for name, value in zip(names, words[1::2], strict=True)))
        call = ["sbatch", "--parsable", f"--nodes={nodes}", "--gres=none", "--cpus-per-task=1"]
        call += [f"--output={slurm.folder}/job-%j.out", str(root / "examples/slurm/train.sh"), str(yaml)]
        path = os.pathsep.join([str(forked.launchers), os.path.dirname(sys.executable), slurm.environment["PATH"]])
        python = os.pathsep.join([str(root / "src"), os.environ.get("PYTHONPATH", "")])
        small = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": python}
        small["MASTER_PORT"] = str(free_ports(1)[0])  # another small Slurm has jobs of the same numbers
        return slurm.call(*call, folder=root, PATH=path, **small)

    return run


def ended(slurm, job, state):
    """Wait for the end of a job and return what it printed; it must end in ``state``."""
    slurm.wait(lambda: slurm.state(job) in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"), 600)
    text = (slurm.folder / f"job-{job}.out").read_text()
    assert slurm.state(job) == state, text
    return text


def test_a_job_that_loses_a_node_goes_on_by_itself_and_exactly(slurm, submit, losses_of, tmp_path):
    job, out = submit(tmp_path / "run"), tmp_path / "run"
    slurm.wait((out / "checkpoint-6/batches.json").is_file, 400)
    slurm.lose(slurm.nodes[1])
    slurm.wait(lambda: slurm.state(job) == "PENDING", 60)
    assert not (out / "model.safetensors").exists(), "the run was over before its node was lost"
    slurm.give_back(slurm.nodes[1])
    text = ended(
        slurm, job, "COMPLETED"
    )  # Slurm waits two minutes; at once, nodes would still be busy with the old step
    resumed = json.loads((out / "run.json").read_text())["resumed_from"]
    assert text.count("8 training rows in") == 2 and "checkpoint-" in resumed, "the output of both starts is kept"

    whole = submit(tmp_path / "whole", save_steps=1000)
    job = submit(tmp_path / "fewer", nodes=1, resume_from_checkpoint=out / "checkpoint-54")
    ended(slurm, whole, "COMPLETED")
    assert losses_of(out) == losses_of(tmp_path / "whole")
    text = ended(slurm, job, "FAILED")
    assert text.count("checkpoint-54: can't be continued exactly: ") == 1
    assert "number of processes was 2 and is 1; use 2 processes and the same values; or, for the same 4 quest" in text
    assert not list((tmp_path / "fewer").glob("checkpoint-*"))


def test_a_job_that_is_told_of_its_time_limit_saves(slurm, submit, losses_of, tmp_path):
    job, out = submit(tmp_path / "run", max_steps=2000), tmp_path / "run"
    slurm.wait((out / "checkpoint-6/batches.json").is_file, 400)
    slurm.call("scancel", "--signal=TERM", job)  # the way of #SBATCH --signal=TERM@900
    ended(slurm, job, "FAILED")
    run, step = json.loads((out / "run.json").read_text()), len(losses_of(out))
    assert run["status"] == "stopped", run
    assert f"stopped by SIGTERM after step {step} of 2000, saved in checkpoint-{step}; go on with" in run["note"]
    assert (out / f"checkpoint-{step}/batches.json").is_file() and (
        out / f"checkpoint-{step}/rng_state_1.pth"
    ).is_file()
