"""A checkpoint whose parts are missing, broken or of another step is refused before a model is loaded."""

import json
import random

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gpt4scene.errors import DataError
from gpt4scene.files.run_folder import MARK
from gpt4scene.training.checkpoint_parts import STATE, check_own_parts, check_parts


def made(folder, processes=1, step=2, **settings):
    """Write a checkpoint of two weights as a run of AdamW leaves it."""
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    weights = {"a": torch.ones(3, 2), "b": torch.ones(4)}
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    (path / "config.json").write_text('{"model_type": "qwen2_vl"}')
    (path / MARK).write_text(json.dumps({"processes": processes, "settings": {"optim": "adamw_torch"} | settings}))
    (path / STATE).write_text(json.dumps({"global_step": step}))
    memory = {
        number: {"step": torch.tensor(2.0), "exp_avg": torch.ones_like(one), "exp_avg_sq": torch.ones_like(one)}
        for number, one in enumerate(weights.values())
    }
    torch.save({"state": memory, "param_groups": [{"params": [0]}, {"params": [1]}]}, path / "optimizer.pt")
    torch.save({"last_epoch": step, "lr_lambdas": [None]}, path / "scheduler.pt")
    state = {"python": random.getstate(), "numpy": np.random.get_state(), "cpu": torch.get_rng_state()}
    for name in ["rng_state.pth"] if processes == 1 else [f"rng_state_{n}.pth" for n in range(processes)]:
        torch.save(state, path / name)
    return path


def change(name, function):
    def spoil(path):
        content = torch.load(path / name)
        torch.save(function(content) or content, path / name)

    return spoil


def gone(name):
    return lambda path: (path / name).unlink()


def text(name, content):
    return lambda path: (path / name).write_text(content)


def weights(**tensors):
    return lambda path: save_file(tensors, path / "model.safetensors")


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("step", [2, 30])
def test_a_whole_checkpoint_passes(tmp_path, processes, step):
    check_parts(made(tmp_path, processes, step))


FILES = ("optimizer.pt", "scheduler.pt", "rng_state.pth", STATE, MARK, "model.safetensors")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("left", [None, 0, 0.5])
def test_a_file_that_is_missing_or_cut_off_is_named(tmp_path, name, left):
    path = made(tmp_path)
    content = (path / name).read_bytes()
    if left is None:
        (path / name).unlink()
    else:
        (path / name).write_bytes(content[: int(len(content) * left)])
    with pytest.raises(DataError, match=name):
        check_parts(path)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            change("optimizer.pt", lambda one: one["state"][0].update(exp_avg=torch.full((3, 2), float("nan")))),
            "exp_avg holds NaN",
        ),
        (change("optimizer.pt", lambda one: one["state"].popitem() and None), "of 1 parameters, but has 2"),
        (change("optimizer.pt", lambda one: one["state"].clear()), "of 0 parameters, but has 2"),
        (change("optimizer.pt", lambda one: one["param_groups"].pop() and None), "of 2 parameters, but has 1"),
        (change("optimizer.pt", lambda one: one["state"][1].update(exp_avg=torch.ones(9))), r"is of \[9\]"),
        (change("optimizer.pt", lambda one: {"a": 1}), "lacks 'param_groups'"),
        (change("optimizer.pt", lambda one: {"param_groups": one["param_groups"]}), "not what an optimizer saves"),
        (change("optimizer.pt", lambda one: one | {"state": [1]}), "not what an optimizer saves"),
        (change("optimizer.pt", lambda one: one | {"state": {0: 1}}), "not what an optimizer saves"),
        (change("optimizer.pt", lambda one: one | {"param_groups": 2}), "not what an optimizer saves"),
        (change("scheduler.pt", lambda one: one.update(last_epoch=3)), "the schedule is of step 3"),
        (change("scheduler.pt", lambda one: one.update(last_epoch=1)), "the schedule is of step 1"),
        (change("scheduler.pt", lambda one: [1]), "lacks 'last_epoch'"),
        (lambda path: torch.save({"a": 1}, path / "rng_state.pth"), "rng_state.pth: lacks 'python'"),
        (text(STATE, '{"global_step": 3}'), "is of step 3"),
        (text(STATE, '{"global_step": "2"}'), "'global_step' is missing, or no whole number"),
        (text(STATE, "[]"), "'global_step' is missing"),
        (text(MARK, "{}"), "'processes' is missing"),
        (weights(a=torch.full((3, 2), float("nan")), b=torch.ones(4)), "'a' holds NaN"),
    ],
)
def test_parts_that_are_not_of_this_checkpoint_are_refused(tmp_path, spoil, sentence):
    path = made(tmp_path)
    spoil(path)
    with pytest.raises(DataError, match=sentence):
        check_parts(path)


def test_every_process_has_its_random_numbers(tmp_path, monkeypatch):
    path = made(tmp_path, processes=2)
    (path / "rng_state_1.pth").unlink()
    with pytest.raises(DataError, match="rng_state_1.pth is missing"):
        check_parts(path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    check_parts(path)  # another machine keeps it


def test_a_schedule_stands_still_in_steps_that_fp16_skips(tmp_path):
    path = made(tmp_path, fp16=True)
    change("scheduler.pt", lambda one: one.update(last_epoch=1))(path)
    check_parts(path)


def test_an_optimizer_without_memory_passes(tmp_path):
    path = made(tmp_path, optim="sgd")
    change("optimizer.pt", lambda one: one["state"].clear())(path)
    check_parts(path)


def test_each_process_looks_for_its_own_random_numbers(tmp_path):
    """The first process of several machines can't see what lies on the others."""
    path = made(tmp_path, 2)
    check_own_parts(path, 0)
    check_own_parts(path, 3)  # one of more processes than before
    (path / "rng_state_1.pth").unlink()
    check_own_parts(path, 0)
    with pytest.raises(DataError, match=r"rng_state_1.pth is missing, so it can't be gone on with exactly"):
        check_own_parts(path, 1)
    with pytest.raises(DataError, match="is not there for process 1 on .*; all machines must see one output_dir"):
        check_own_parts(tmp_path / "elsewhere", 1)
