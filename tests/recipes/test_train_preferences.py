"""Pairs of answers in the training recipe: every way to cut a step gives the same losses, and a run goes on exactly."""

import importlib.util
import json
import math

import pytest
from launching import deepspeed_config

from gpt4scene.demo import tiny_model
from gpt4scene.errors import ConfigError, DataError

PAIRS = {"dataset": "pairs", "stage": "dpo", "finetuning_type": "lora", "learning_rate": 1e-2}


def lines_of(output):
    lines = [json.loads(line) for line in (output / "trainer_log.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line]


@pytest.fixture(scope="module")
def plain_losses():
    """Losses of the plainest run, kept for comparison."""
    return {}


CUTS = {
    "1x8": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
    "packs of 4": {"scene_packing": 4},
    "uneven packs": {"scene_packing": 3, "disable_gradient_checkpointing": True},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "cut"),
    [(kind, cut) for kind in ("lora", "full", "orpo") for cut in CUTS if kind == "lora" or cut != "uneven packs"],
)
def test_every_way_to_cut_a_step_gives_the_same_losses(train, tmp_path, plain_losses, kind, cut):
    keys = PAIRS | ({"finetuning_type": "full", "learning_rate": 1e-3} if kind == "full" else {})
    keys |= {"pref_loss": "orpo"} if kind == "orpo" else {}
    found = train(tmp_path / "run", **keys, **CUTS[cut], max_steps=3, freeze_vision_tower=kind != "lora")
    assert found == pytest.approx(plain_losses.setdefault(kind, found), rel=2e-5)
    assert found[2] < found[0]
    if kind != "orpo":
        assert found[0] == pytest.approx(math.log(2)), "the model is its own reference at first"


@pytest.mark.slow
def test_two_processes_equal_one(on_two, train, tmp_path):
    """Three of seven pairs on one process, four on the other; figures and the evaluation are of all of them."""
    keys = PAIRS | {"max_steps": 2, "max_samples": 7, "scene_packing": 2, "logging_steps": 2}
    evaluated = PAIRS | {"max_steps": 2, "val_size": 2, "scene_packing": 2, "eval_strategy": "steps", "eval_steps": 1}
    runs = {
        "lora": keys,
        "evaluated": evaluated,
        "full": keys | {"finetuning_type": "full", "freeze_vision_tower": False},
    }
    for name, said in runs.items():
        train(tmp_path / name, **said)
    sharded = {"fsdp": keys | {"fsdp": "full_shard"}}
    if importlib.util.find_spec("deepspeed"):
        sharded["zero3"] = keys | {"deepspeed": deepspeed_config(tmp_path, 3)}
    runs |= sharded
    folders = on_two({f"two {name}": said for name, said in runs.items()})
    for name in runs:
        alone, two = history(tmp_path / ("lora" if name in sharded else name)), history(folders[f"two {name}"])
        assert [entry.keys() for entry in two] == [entry.keys() for entry in alone]
        for one, other in zip(alone, two, strict=True):
            assert {key: other[key] for key in one} == pytest.approx(one, rel=1e-4, abs=1e-6), name
        assert any("rewards/margins" in entry for entry in two)
    assert any("eval_rewards/accuracies" in entry for entry in history(tmp_path / "evaluated"))


def history(output):
    """What was logged of losses and rewards."""
    log = json.loads((output / "trainer_state.json").read_text())["log_history"]
    return [
        {key: value for key, value in entry.items() if "loss" in key or "/" in key or key == "step"} for entry in log
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_resuming_is_exact(train, tmp_path, kind):
    """Half of the pairs are held out; two a step in two epochs are four steps."""
    keys = PAIRS | {"finetuning_type": kind, "learning_rate": 1e-3 if kind == "full" else 1e-2, "scene_packing": 2}
    keys |= {"per_device_train_batch_size": 2, "num_train_epochs": 2, "save_strategy": "steps", "save_steps": 3}
    keys |= {"val_size": 2, "eval_strategy": "steps", "eval_steps": 2}
    whole = train(tmp_path / "whole", **keys)
    resume = {"resume_from_checkpoint": tmp_path / "whole/checkpoint-3"}
    rest = train(tmp_path / "rest", **keys, **resume)
    assert len(whole) == 4 and rest == whole[3:]
    last, again = ([one for one in history(tmp_path / name) if one["step"] == 4] for name in ("whole", "rest"))
    assert [{name for name in one if "loss" in name} for one in last][:2] == [{"loss"}, {"eval_loss"}]
    assert again[:2] == last[:2]
    with pytest.raises(DataError, match=r"pref_beta was 0\.1 and is 0\.2"):
        train(tmp_path / "other", **keys, **resume, pref_beta=0.2)


@pytest.mark.slow
def test_a_reference_of_its_own(train, tmp_path, workshop):
    """It may be another adapter, merged; left out, it is the model without the adapter that is gone on with."""
    train(tmp_path / "sft", finetuning_type="lora", learning_rate=1e-2)
    one = PAIRS | {"max_steps": 1, "max_samples": 1}
    other = {"ref_model": workshop / "model", "ref_model_adapters": tmp_path / "sft"}
    ahead = train(tmp_path / "ahead", **one, **other)[0]
    continued = one | {"adapter_name_or_path": tmp_path / "sft"}
    behind = train(tmp_path / "behind", **continued)[0]
    assert abs(ahead - math.log(2)) > 1e-4
    assert math.exp(-ahead) + math.exp(-behind) == pytest.approx(1), "model and reference have changed places"
    same = train(tmp_path / "same", **continued, ref_model=tmp_path / "sft")[0]
    assert same == pytest.approx(math.log(2), abs=1e-5)
    train(
        tmp_path / "more",
        finetuning_type="lora",
        learning_rate=1e-2,
        adapter_name_or_path=tmp_path / "sft",
        create_new_adapter=True,
    )
    both = f"{tmp_path / 'sft'}, {tmp_path / 'more'}"
    several = one | {"adapter_name_or_path": both, "ref_model": workshop / "model", "ref_model_adapters": both}
    assert train(tmp_path / "several", **several)[0] == pytest.approx(math.log(2), abs=1e-5)
    with pytest.raises(DataError, match="a whole checkpoint, not a LoRA adapter"):
        train(tmp_path / "none", **one, ref_model=workshop / "model", ref_model_adapters=workshop / "model")
    with pytest.raises(DataError, match="take a reference of the same family"):
        train(tmp_path / "unlike", **PAIRS, ref_model=tiny_model.build(tmp_path / "other", "qwen3_vl"))


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "metric", "best"), [("orpo", "sft_loss", min), ("sigmoid", "rewards/margins", max)])
def test_the_best_checkpoint_is_chosen_by_figures_of_pairs(train, tmp_path, loss, metric, best):
    """A metric that no evaluation has costs nothing of the run that was there."""
    keys = PAIRS | {"pref_loss": loss, "num_train_epochs": 2, "val_size": 2, "load_best_model_at_end": True}
    keys |= {"eval_strategy": "epoch", "save_strategy": "epoch"}
    train(tmp_path, **keys, metric_for_best_model=metric)
    state = json.loads((tmp_path / "trainer_state.json").read_text())
    figures = [entry[f"eval_{metric}"] for entry in state["log_history"] if f"eval_{metric}" in entry]
    assert len(set(figures)) == 2 and state["best_metric"] == best(figures)
    with pytest.raises(ConfigError, match="loss_pears is not among the figures"):
        train(tmp_path, **keys, metric_for_best_model="loss_pears", overwrite_output_dir=True)
    assert (tmp_path / "checkpoint-2").is_dir() and (tmp_path / "trainer_log.jsonl").is_file()


@pytest.mark.slow
def test_plain_texts(train, tmp_path):
    """Every token counts alike, whichever pack and step its text is in."""
    keys = {"dataset": "texts", "stage": "pt", "num_train_epochs": 2}
    packed = train(tmp_path / "packed", **keys, per_device_train_batch_size=4, scene_packing=4)
    apart = train(tmp_path / "apart", **keys, per_device_train_batch_size=1, gradient_accumulation_steps=4)
    assert packed == pytest.approx(apart, rel=2e-6) and len(packed) == 2
    token = train(tmp_path / "token", **keys, per_device_train_batch_size=4, loss_average="token")
    assert token == pytest.approx(packed, rel=2e-6)
    kept = keys | {"tokenized_path": tmp_path / "tokens", "per_device_train_batch_size": 4}
    assert train(tmp_path / "written", **kept) == pytest.approx(packed, rel=2e-6)
    assert train(tmp_path / "read", **kept) == pytest.approx(packed, rel=2e-6)
