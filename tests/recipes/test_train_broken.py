"""A number that is none ends the training recipe: what is said, and what is left of the run."""

import json
import math
import shutil

import pytest
import safetensors.torch
import torch

from gpt4scene.errors import DataError
from gpt4scene.model.inputs import row_losses
from gpt4scene.report.training import page_at_end
from gpt4scene.settings.config import parse
from gpt4scene.training import sft

pytestmark = pytest.mark.slow

WEIGHTS = "model.safetensors"


@pytest.fixture
def break_row(monkeypatch):
    """Return a function: from the n-th pack on, the loss of row 3 gets ``number`` added, or its gradient only.

    With ``evaluation``, it is the loss of any row, while no gradients are computed.
    """

    def arrange(number: float, after: int = 0, gradient_only: bool = False, evaluation: bool = False):
        seen = []

        def broken(model, batch, *others):
            losses = row_losses(model, batch, *others)
            seen.append(batch)
            if evaluation:
                return losses if torch.is_grad_enabled() else losses + number
            wrong = torch.tensor([origin is not None and origin.row == 3 for origin in batch.origins])
            if len(seen) <= after or not wrong.any():
                return losses
            if gradient_only:
                losses.register_hook(lambda gradient: gradient * number)
                return losses
            return losses + torch.where(wrong, number, 0.0)

        monkeypatch.setattr("gpt4scene.training.objective.row_losses", broken)

    return arrange


@pytest.mark.parametrize("packing", [1, 4])
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_the_first_broken_loss_stops_and_leaves_what_was_good(flags, tmp_path, break_row, number, packing):
    out = tmp_path / "run"
    packs = 8 // packing
    break_row(number, after=2 * packs)
    keys = {"save_strategy": "steps", "save_steps": 1, "scene_packing": packing, "logging_nan_inf_filter": True}
    with pytest.raises(DataError, match=r"step 3: the loss .*rows\.json, row 3 \(dataset 'rooms'\).*checkpoint-2"):
        sft.run(parse(flags(out, **keys)))
    assert sorted(path.name for path in out.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-2"]
    assert not (out / WEIGHTS).exists()
    run = json.loads((out / "run.json").read_text())
    assert run["status"] == "failed" and "row 3" in run["note"]
    logged = [json.loads(line)["loss"] for line in (out / "trainer_log.jsonl").read_text().splitlines()]
    assert len(logged) == 2 and all(1 < loss < 10 for loss in logged)


@pytest.mark.parametrize("keys", [{}, {"max_grad_norm": 0}, {"bf16": True}, {"logging_steps": 100}])
def test_a_broken_gradient_stops(flags, tmp_path, break_row, keys):
    break_row(math.nan, gradient_only=True)
    with pytest.raises(DataError, match=r"step 1: the gradient .*row \d"):
        sft.run(parse(flags(tmp_path / "run", **keys)), page_at_end)
    assert not (tmp_path / "run" / WEIGHTS).exists()
    page = (tmp_path / "run/index.html").read_text()
    assert "The run failed: DataError: step 1: the gradient " in page and "before its first figures" in page


@pytest.mark.parametrize("keys", [{}, {"bf16": True}, {"pure_bf16": True}, {"finetuning_type": "lora"}])
def test_weights_that_overflow_are_never_written(train, flags, tmp_path, keys):
    """A good result of before stays, since nothing is written over it."""
    out = tmp_path / "run"
    keys = keys | {"num_train_epochs": 1}
    train(out, **keys)
    name = "adapter_model.safetensors" if "finetuning_type" in keys else WEIGHTS
    before = (out / name).read_bytes()
    keys |= {"learning_rate": 1e39, "overwrite_output_dir": True, "save_strategy": "steps"}
    with pytest.raises(DataError, match="after step 1: weights are no finite numbers"):
        sft.run(parse(flags(out, **keys)))
    assert (out / name).read_bytes() == before
    assert not list(out.glob("checkpoint-*/*.safetensors"))


def test_a_learning_rate_beyond_reason_stops_in_the_next_step(flags, tmp_path):
    with pytest.raises(DataError, match="step 2: "):
        sft.run(parse(flags(tmp_path / "run", learning_rate=1e30)))


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_broken_evaluation_stops_and_is_never_the_best(flags, tmp_path, break_row, number):
    break_row(number, evaluation=True)
    keys = {
        "val_size": 4,
        "eval_strategy": "steps",
        "eval_steps": 1,
        "save_strategy": "steps",
        "save_steps": 1,
        "load_best_model_at_end": True,
    }
    with pytest.raises(DataError, match=r"evaluation after step 1: the loss .*rows\.json, row \d"):
        sft.run(parse(flags(tmp_path / "run", **keys)))
    assert not list((tmp_path / "run").glob("checkpoint-*"))


def poisoned(folder, copy, name, number=math.nan):
    """Copy a folder and break one number of the named tensor in its weights."""
    shutil.copytree(folder, copy)
    (file,) = copy.glob("*.safetensors")
    tensors = safetensors.torch.load_file(file)
    (found,) = [key for key in tensors if name in key]
    tensors[found].view(-1)[5] = number
    safetensors.torch.save_file(tensors, file, metadata={"format": "pt"})
    return copy


@pytest.mark.parametrize("part", ["layers.1.mlp.down_proj", "visual.patch_embed.proj.weight"])
@pytest.mark.parametrize("kind", ["full", "lora"])
def test_a_checkpoint_that_is_broken_already_is_refused(flags, tmp_path, workshop, part, kind):
    model = poisoned(workshop / "model", tmp_path / "broken", part)
    with pytest.raises(DataError, match=rf"broken: .*{part}.* holds NaN or infinite numbers"):
        sft.run(parse(flags(tmp_path / "run", model_name_or_path=model, finetuning_type=kind)))
    assert not list((tmp_path / "run").glob("*.safetensors"))


def test_an_adapter_that_is_broken_already_is_refused(train, flags, tmp_path):
    train(tmp_path / "first", finetuning_type="lora", num_train_epochs=1)
    adapter = poisoned(tmp_path / "first", tmp_path / "adapter", "layers.0.mlp.down_proj.lora_A", math.inf)
    with pytest.raises(DataError, match=r"adapter.*lora_A.* holds NaN or infinite numbers"):
        sft.run(parse(flags(tmp_path / "run", finetuning_type="lora", adapter_name_or_path=adapter)))


def test_a_broken_memory_of_the_optimizer_is_refused_on_resume(train, flags, tmp_path):
    keys = {"save_strategy": "steps", "save_steps": 1, "num_train_epochs": 2}
    train(tmp_path / "run", **keys)
    file = tmp_path / "run/checkpoint-1/optimizer.pt"
    state = torch.load(file, weights_only=True)
    next(iter(state["state"].values()))["exp_avg"].view(-1)[0] = math.nan
    torch.save(state, file)
    with pytest.raises(DataError, match=r"checkpoint-1: .*the optimizer's exp_avg"):
        sft.run(parse(flags(tmp_path / "more", **keys, resume_from_checkpoint=file.parent)))
