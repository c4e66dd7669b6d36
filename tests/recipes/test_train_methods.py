"""Each training method on packs: however a step is cut the losses are the same, and a resumed run is the same run."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from gpt4scene.errors import ConfigError, DataError
from gpt4scene.model.export import merge_adapter
from gpt4scene.settings.config import parse
from gpt4scene.training import sft

pytestmark = pytest.mark.slow

LORA, FULL = {"finetuning_type": "lora"}, {"finetuning_type": "full"}
TOWER = {"freeze_vision_tower": False, "tower_learning_rate": 1e-4}
STEPS = {"per_device_train_batch_size": 2, "save_strategy": "steps", "save_steps": 1, "lr_scheduler_type": "linear"}
BNB, GALORE, APOLLO = "bitsandbytes", "galore_torch", "apollo_torch"

METHODS = {
    "DoRA": (LORA | {"use_dora": True}, None),
    "PiSSA": (LORA | {"pissa_init": True, "pissa_convert": True}, None),
    "PiSSA, exact, with rsLoRA": (LORA | {"pissa_init": True, "pissa_iter": -1, "use_rslora": True}, None),
    "additional_target": (LORA | {"additional_target": "embed_tokens,lm_head,merger"}, None),
    "LoRA+ and a rate for the tower": (LORA | TOWER | {"loraplus_lr_ratio": 16}, None),
    "rates of parts": (
        FULL | TOWER | {"freeze_multi_modal_projector": False, "merger_learning_rate": 1e-2},
        None,
    ),
    "QLoRA, 4 bit": (LORA | {"quantization_bit": 4, "additional_target": "merger"}, BNB),
    "QLoRA, fp4, DoRA": (
        LORA | {"quantization_bit": 4, "quantization_type": "fp4", "double_quantization": False, "use_dora": True},
        BNB,
    ),
    "QLoRA, 8 bit": (LORA | {"quantization_bit": 8}, BNB),
    "GaLore": (FULL | {"use_galore": True, "galore_rank": 4, "galore_update_interval": 3}, GALORE),
    "APOLLO": (FULL | {"use_apollo": True, "apollo_rank": 4, "apollo_update_interval": 3}, APOLLO),
    "paged AdamW, 8 bit": (FULL | {"optim": "paged_adamw_8bit"}, BNB),
    "Muon": (FULL | {"use_muon": True, "weight_decay": 0.1}, None),
}
ROUNDED = {"Muon": 2e-4, "QLoRA, 8 bit": 1e-5, "APOLLO": 1e-5}
"""Methods whose updates go through coarser numbers: bf16 in Muon's iteration, int8 and fp16 in products of 8 bits."""


def weights(folder):
    (file,) = [path for name in ("adapter_model", "model") if (path := folder / f"{name}.safetensors").is_file()]
    return load_file(file)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_exact_on_packs_and_under_resume(train, flags, tmp_path, workshop, name):
    keys, needed = METHODS[name]
    if needed:
        pytest.importorskip(needed)
    one_by_one = train(tmp_path / "1x8", **keys, per_device_train_batch_size=1, gradient_accumulation_steps=8)
    packed = train(tmp_path / "packs", **keys, scene_packing=4)
    assert packed == pytest.approx(one_by_one, rel=ROUNDED.get(name, 5e-6))
    assert packed[2] < packed[1] < packed[0]

    whole = train(tmp_path / "whole", **keys, **STEPS, max_steps=4)
    last = tmp_path / "whole" / "checkpoint-2"
    again = train(tmp_path / "again", **keys, **STEPS, max_steps=4, resume_from_checkpoint=last)
    assert again == whole[2:]
    here, there = weights(tmp_path / "again"), weights(tmp_path / "whole")
    assert here.keys() == there.keys() and all(torch.equal(here[one], there[one]) for one in here)

    if keys["finetuning_type"] == "lora":
        merged = merge_adapter(tmp_path / "whole", tmp_path / "merged")
        _, info = AutoModelForImageTextToText.from_pretrained(merged, output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
        evaluated = {"do_eval": True, "do_train": False, "val_size": 4}
        for out, given in (
            ("of", {"adapter_name_or_path": tmp_path / "whole"}),
            ("as", {"model_name_or_path": merged}),
        ):
            train_none(flags, tmp_path / out, **LORA, **evaluated, **given)
        assert loss(tmp_path / "as") == pytest.approx(loss(tmp_path / "of"), rel=1e-6)
        assert loss(tmp_path / "as") < whole[0]
    if "pissa_convert" in keys:
        plain = merge_adapter(tmp_path / "whole" / "pissa_converted", tmp_path / "plain")
        one, other = weights(plain), weights(tmp_path / "merged")
        assert all(torch.equal(one[key], other[key]) for key in other)


def train_none(flags, out, **keys):
    assert sft.run(parse(flags(out, **keys))) == 0


def loss(folder):
    return json.loads((folder / "eval_results.json").read_text())["eval_loss"]


def test_an_adapter_on_top_of_others_is_one_on_their_merged_base(train, tmp_path):
    """And what goes on with it, or merges it, merges the others first."""
    pytest.importorskip(BNB)
    first, second = tmp_path / "first", tmp_path / "second"
    train(first, **LORA, num_train_epochs=2)
    keys = LORA | {"adapter_name_or_path": first, "create_new_adapter": True}
    on_top = train(second, **keys, save_strategy="epoch")
    merged = merge_adapter(first, tmp_path / "merged")
    there = train(tmp_path / "on merged", **LORA, model_name_or_path=merged, num_train_epochs=1)
    assert there[0] == pytest.approx(on_top[0], rel=1e-6)  # later ones hang on what the new adapter has drawn
    both = merge_adapter(second, tmp_path / "both")
    named = f"{first},{second}"
    losses = [
        train(tmp_path / name, num_train_epochs=1, **LORA, **given)
        for name, given in (
            ("one", {"adapter_name_or_path": second}),
            ("named", {"adapter_name_or_path": named}),
            ("step", {"adapter_name_or_path": second / "checkpoint-3"}),
            ("whole", {"model_name_or_path": both}),
        )
    ]
    assert all(one == pytest.approx(losses[0], rel=1e-6) for one in losses) and losses[0][0] < on_top[-1]
    with pytest.raises(ConfigError, match="would have to be merged into a base that is quantised"):
        train(tmp_path / "no", **LORA, adapter_name_or_path=second, quantization_bit=4)
    for changed, said in (
        ({"adapter_name_or_path": second}, "its run merged .*first into the base first, and this one .*, .*second"),
        ({"model_name_or_path": merged}, "was trained on .*, whose weights are not those of .*merged"),
    ):
        with pytest.raises(DataError, match=said):
            train(tmp_path / "else", **keys | changed, resume_from_checkpoint=second / "checkpoint-2")
    few = train(tmp_path / "few", **LORA, adapter_name_or_path=first, quantization_bit=4, num_train_epochs=1)
    assert few[0] == pytest.approx(on_top[0], rel=1e-2)  # as adapters of LoftQ are gone on with


def test_a_run_that_gets_no_better_ends_early_with_its_best(train, flags, tmp_path, capsys):
    keys = {"learning_rate": 10, "num_train_epochs": 20, "val_size": 1, "eval_strategy": "steps", "eval_steps": 1}
    saved = {"early_stopping_steps": 2, "save_strategy": "steps", "save_steps": 1, "load_best_model_at_end": True}
    losses = train(tmp_path / "run", **LORA, **keys, **saved)
    state = json.loads((tmp_path / "run" / "trainer_state.json").read_text())
    found = [entry["eval_loss"] for entry in state["log_history"] if "eval_loss" in entry]
    assert len(losses) < 20 and found.index(min(found)) == len(losses) - 3
    assert loss(tmp_path / "run") == pytest.approx(min(found), rel=1e-6)
    assert "got no better in 2 evaluations" in capsys.readouterr().err
    figures = (tmp_path / "run" / "train_results.json").read_text()
    again = flags(tmp_path / "run", **LORA, **keys, **saved, resume_from_checkpoint=True)
    assert sft.run(parse(again)) == 0
    assert f"no step was left after step {len(losses)}, evaluation loss" in capsys.readouterr().err
    assert (tmp_path / "run" / "train_results.json").read_text() == figures, "a mean loss of no step is none"
    assert len(list((tmp_path / "run").glob("checkpoint-*"))) == len(losses)


def test_methods_on_two_processes_are_those_of_one(on_two, train, losses_of, tmp_path):
    """DDP for those that need whole gradients; the others under FSDP2 and ZeRO-3 as well."""
    for needed in (BNB, GALORE, "deepspeed"):
        pytest.importorskip(needed)
    zero = {"zero_optimization": {"stage": 3}, "train_micro_batch_size_per_gpu": "auto"}
    (tmp_path / "z3.json").write_text(json.dumps(zero | {"gradient_accumulation_steps": "auto"}))
    rates, plus, dora, beside = "rates of parts", "LoRA+ and a rate for the tower", "DoRA", "additional_target"
    ways = [(name, "ddp", {}) for name in ("QLoRA, 4 bit", "GaLore", "Muon", rates)]
    ways += [(name, "fsdp", {"fsdp": "full_shard"}) for name in (plus, rates, dora, beside)]
    ways += [(name, "zero", {"deepspeed": tmp_path / "z3.json"}) for name in (plus, dora, beside)]
    on_two({f"{name}, {way}": METHODS[name][0] | keys for name, way, keys in ways})
    alone = {name: train(tmp_path / name, **METHODS[name][0]) for name in {name for name, _, _ in ways}}
    for name, way, _ in ways:
        assert losses_of(tmp_path / f"{name}, {way}") == pytest.approx(alone[name], rel=ROUNDED.get(name, 5e-6)), way
