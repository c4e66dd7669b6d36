"""Pairs of answers in the training recipe: every way to cut a step gives the same losses, and a run goes on exactly."""

import json
import math

import pytest

PAIRS = {"dataset": "pairs", "stage": "dpo", "finetuning_type": "lora", "learning_rate": 1e-2}


def lines_of(output):
    lines = [json.loads(line) for line in (output / "trainer_log.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line]


@pytest.fixture(scope="module")
def plain_losses():
    """Losses of the plainest run, kept for comparison."""
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "full", "orpo"])
@pytest.mark.parametrize(
    "cut",
    [
        {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
        {"scene_packing": 4},
        {"scene_packing": 3, "disable_gradient_checkpointing": True},
    ],
    ids=["1x8", "packs of 4", "uneven packs"],
)
def test_every_way_to_cut_a_step_gives_the_same_losses(train, tmp_path, plain_losses, kind, cut):
    keys = PAIRS | ({"finetuning_type": "full", "learning_rate": 1e-3} if kind == "full" else {})
    keys |= {"pref_loss": "orpo"} if kind == "orpo" else {}
    found = train(tmp_path / "run", **keys, **cut, max_steps=3, freeze_vision_tower=kind != "lora")
    assert found == pytest.approx(plain_losses.setdefault(kind, found), rel=2e-5)
    assert found[2] < found[0]
    if kind != "orpo":
        assert found[0] == pytest.approx(math.log(2)), "the model is its own reference at first"
