"""What a run says of its memory: in run.json, on a device that is too small, and when it has run out."""

import json

import pytest
import torch

from gpt4scene.errors import DataError
from gpt4scene.settings.config import parse
from gpt4scene.training import ready_model, sft
from gpt4scene.training.trainer import PackTrainer

GB = 10**9


def activations_of(output):
    return json.loads((output / "run.json").read_text())["activations"]


@pytest.mark.slow
def test_run_json_says_what_is_computed_again(train, tmp_path):
    train(tmp_path / "run", max_steps=1)
    found = activations_of(tmp_path / "run")
    assert found["recomputed_every"] == 0 and found["free_gb"] > 0, "a tiny model fits into any CPU's memory"
    train(tmp_path / "again", max_steps=1, gradient_checkpointing=True)
    assert activations_of(tmp_path / "again")["recomputed_every"] == 1


@pytest.mark.slow
def test_a_device_with_room_keeps_all_and_learns_the_same(train, tmp_path, monkeypatch, capsys):
    """The device is a CPU that says what a GPU would."""
    again = train(tmp_path / "again", max_steps=2, scene_packing=4, gradient_checkpointing=True)
    monkeypatch.setattr(ready_model, "free_bytes", lambda device: 10 * GB)
    kept = train(tmp_path / "kept", max_steps=2, scene_packing=4)
    assert kept == pytest.approx(again, rel=2e-6)
    found = activations_of(tmp_path / "kept")
    assert found["recomputed_every"] == 0 and found["free_gb"] == 10
    assert "activations are kept (estimate 0.0 of 8.3 GB" in capsys.readouterr().err


@pytest.mark.slow
def test_memory_that_runs_out_names_the_way_out(flags, tmp_path, monkeypatch):
    def run_out(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(PackTrainer, "training_step", run_out)
    with pytest.raises(
        DataError,
        match="step 1: the device's memory ran out .*try disable_gradient_checkpointing: false; or a lower scene_p",
    ):
        sft.run(parse(flags(tmp_path / "run", scene_packing=4)))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"


@pytest.mark.slow
@pytest.mark.parametrize("keys", [{"do_train": False, "do_eval": True}, {"max_steps": 1}], ids=["alone", "last"])
def test_memory_that_runs_out_in_an_evaluation_names_its_own_way_out(flags, tmp_path, monkeypatch, keys):
    def run_out(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(PackTrainer, "prediction_step", run_out)
    with pytest.raises(DataError, match="evaluation after step [01]: .*try a lower per_device_eval_batch_size"):
        sft.run(parse(flags(tmp_path / "run", val_size=4, per_device_train_batch_size=4, **keys)))
