"""The training recipe on a model with recurrent layers: every way to cut a step, to go on and to share it out."""

import json

import pytest
import safetensors.torch
import torch
from hybrid import HYBRID
from launching import deepspeed_config, needs_deepspeed
from transformers import AutoModelForImageTextToText

from gpt4scene.demo import tiny_model
from gpt4scene.model.loading import load_model

pytestmark = HYBRID.marks


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory):
    """Keys of a run on two recurrent layers and one with keys."""
    shape = tiny_model.TinyShape(width=64, layers=3, vision_width=32, vision_layers=1)
    folder = tiny_model.build(tmp_path_factory.mktemp("recurrent") / "model", "qwen3_5", shape)
    return {"model_name_or_path": folder, "template": "qwen3_5"}


def weights(folder):
    return safetensors.torch.load_file(folder / "model.safetensors")


def test_every_way_to_cut_a_step_and_to_go_on_gives_the_same_losses(train, tmp_path, recurrent):
    ways = {
        "one": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
        "whole": {},
        "packs": {"scene_packing": 4, "save_strategy": "steps", "save_steps": 2},
        "uneven": {"scene_packing": 3, "disable_gradient_checkpointing": True},
    }
    found = {name: train(tmp_path / name, **recurrent, **keys) for name, keys in ways.items()}
    for name, losses in found.items():
        assert losses == pytest.approx(found["one"], rel=2e-5), name
    assert found["one"][2] < found["one"][1] < found["one"][0]
    again = {"scene_packing": 4, "resume_from_checkpoint": tmp_path / "packs/checkpoint-2"}
    assert train(tmp_path / "resumed", **recurrent, **again) == found["packs"][2:]
    assert all(
        torch.equal(one, weights(tmp_path / "packs")[name]) for name, one in weights(tmp_path / "resumed").items()
    )
    described = json.loads((tmp_path / "packs" / "run.json").read_text())
    assert described["attention"].endswith("; recurrent layers: PyTorch")
    ids = torch.arange(20)[None]
    ours, theirs = (
        one(input_ids=ids, use_cache=False).logits
        for one in (load_model(tmp_path / "packs"), AutoModelForImageTextToText.from_pretrained(tmp_path / "packs"))
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@needs_deepspeed
def test_two_processes_equal_one(on_two, train, losses_of, tmp_path, recurrent):
    keys = recurrent | {"num_train_epochs": 2}
    alone = train(tmp_path / "alone", **keys)
    runs = {f"zero{stage}": keys | {"deepspeed": deepspeed_config(tmp_path, stage)} for stage in (2, 3)}
    runs["zero2"]["scene_packing"] = 4
    for name, folder in on_two(runs).items():
        assert losses_of(folder) == pytest.approx(alone, rel=2e-5), name
        assert load_model(folder).dtype == torch.float32
