"""Groups of parameters: LoRA+ as peft makes it, low-rank optimizers and Muon as LLaMA-Factory does, rates of parts."""

from contextlib import nullcontext

import pytest
import torch
from peft.optimizers import create_loraplus_optimizer
from transformers import Trainer, TrainingArguments

from gpt4scene.errors import ConfigError
from gpt4scene.families.registry import FAMILIES, family_of
from gpt4scene.families.tiny import TinyShape
from gpt4scene.model.tuning import prepare_for_training
from gpt4scene.settings.arguments import TuningArguments
from gpt4scene.settings.methods import MethodArguments
from gpt4scene.training.parameter_groups import asks_for_groups, check_low_rank_targets, optimizer_of

RATE = 1e-3


def make(finetuning_type="lora", methods=None, **options):
    from transformers import AutoModelForImageTextToText

    shape = TinyShape(width=32, layers=2, heads=4, key_value_heads=2, vision_width=32, vision_layers=1)
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    text = shape.text_config(64) | {"bos_token_id": 0, "eos_token_id": 1}
    config = FAMILIES["qwen2_vl"].tiny.config(shape, text, {name: index for index, name in enumerate(names, 5)})
    model = AutoModelForImageTextToText.from_config(config)
    arguments = TuningArguments(finetuning_type=finetuning_type, **options)
    return prepare_for_training(model, arguments, bf16=False, methods=methods or MethodArguments())


def made(model, methods, tmp_path, **keys):
    """Return the optimizer, and each trained parameter's group by name."""
    arguments = TrainingArguments(tmp_path, use_cpu=True, learning_rate=RATE, report_to="none", **keys)
    decaying = Trainer.get_decay_parameter_names(None, model)
    kind, options = optimizer_of(model, decaying, methods, arguments, family_of(model.config))
    optimizer = kind(**options)
    names = {one: name for name, one in model.named_parameters()}
    return optimizer, {names[one]: group for group in optimizer.param_groups for one in group["params"]}


@pytest.mark.parametrize("whole", [None, ["embed_tokens", "merger"]], ids=str)
def test_loraplus_has_the_groups_of_peft(tmp_path, whole):
    methods = MethodArguments(loraplus_lr_ratio=16, additional_target=whole)
    model = make(methods=methods, freeze_vision_tower=False)
    _, ours = made(model, methods, tmp_path, weight_decay=0.1)
    options = {"lr": RATE, "loraplus_lr_ratio": 16, "loraplus_weight_decay": 0.1}
    theirs = create_loraplus_optimizer(model, torch.optim.AdamW, **options)
    names = {one: name for name, one in model.named_parameters()}
    wanted = {names[one]: group for group in theirs.param_groups for one in group["params"]}
    assert ours.keys() == wanted.keys()
    for name, group in wanted.items():
        if "norm" not in name and "ln_q" not in name:  # transformers and peft name other norms
            assert (ours[name]["lr"], ours[name]["weight_decay"]) == (group["lr"], group["weight_decay"]), name
        assert ours[name]["lr"] == group["lr"], name


def test_each_part_has_its_own_rate_and_the_logged_group_the_common_one(tmp_path):
    methods = MethodArguments(tower_learning_rate=1e-5, merger_learning_rate=1e-4)
    model = make("full", freeze_vision_tower=False, freeze_multi_modal_projector=False)
    optimizer, groups = made(model, methods, tmp_path, weight_decay=0.1)
    assert optimizer.param_groups[0]["lr"] == RATE
    family = family_of(model.config)
    rates = {"tower": 1e-5, "merger": 1e-4, "language": RATE}
    assert all(group["lr"] == rates[family.part_of(name)] for name, group in groups.items())
    assert {name for name, group in groups.items() if not group["weight_decay"]} == {
        name for name in groups if "norm" in name or name.endswith(".bias") or ".ln_q" in name
    }
    both = MethodArguments(tower_learning_rate=1e-5, loraplus_lr_ratio=4)
    _, groups = made(make(freeze_vision_tower=False), both, tmp_path)
    assert {round(group["lr"], 9) for name, group in groups.items() if "visual" in name} == {1e-5, 4e-5}


GALORE = MethodArguments(use_galore=True, galore_rank=8, galore_target=["mlp"], galore_scale=0.5)
APOLLO = MethodArguments(use_apollo=True, apollo_rank=8, apollo_scale_front=True)


@pytest.mark.parametrize(
    ("methods", "package", "keys", "kind"),
    [
        (GALORE, "galore_torch", {"optim": "adamw_torch_fused"}, "AdamW"),
        (GALORE, "galore_torch", {"optim": "adafactor"}, "Adafactor"),
        (APOLLO, "apollo_torch", {}, "AdamW"),
    ],
    ids=["GaLore", "GaLore, Adafactor", "APOLLO"],
)
def test_low_rank_is_for_the_matrices_that_are_named(tmp_path, methods, package, keys, kind):
    pytest.importorskip(package)
    model = make("full")
    optimizer, groups = made(model, methods, tmp_path, weight_decay=0.1, adam_beta1=0.8, **keys)
    assert (type(optimizer).__module__.partition(".")[0], type(optimizer).__name__) == (package, kind)
    chosen = {name for name, group in groups.items() if "rank" in group}
    inside = (".mlp.",) if methods is GALORE else (".mlp.", ".self_attn.")
    assert chosen == {
        name
        for name in groups
        if "layers" in name and name.endswith("proj.weight") and any(one in name for one in inside)
    }
    group = groups[next(iter(chosen))]
    assert (group["rank"], group["weight_decay"], group["update_proj_gap"]) == (8, 0.1, 200)
    if "adafactor" not in keys.values():
        assert group["betas"] == (0.8, 0.999)
    if methods is APOLLO:
        assert optimizer.scale_front and (group["scale"], group["proj"], group["scale_type"]) == (
            32,
            "random",
            "channel",
        )


def test_muon_is_for_matrices_but_embeddings_and_head(tmp_path):
    methods = MethodArguments(use_muon=True)
    model = make("full", freeze_vision_tower=False)
    optimizer, groups = made(model, methods, tmp_path, weight_decay=0.1)
    matrices = {name for name, group in groups.items() if "ns_steps" in group}
    shapes = {name: one.ndim for name, one in model.named_parameters() if one.requires_grad}
    assert matrices == {name for name in shapes if shapes[name] == 2 and "embed" not in name and "lm_head" not in name}
    assert groups.keys() == shapes.keys() and "model.visual.patch_embed.proj.weight" in groups.keys() - matrices


def test_a_plain_run_is_left_to_the_trainer_and_unknown_targets_are_named():
    assert not asks_for_groups(MethodArguments()) and not asks_for_groups(MethodArguments(use_dora=True))
    model = make("full")
    for methods in (GALORE, APOLLO, MethodArguments()):
        check_low_rank_targets(model, methods, family_of(model.config))
    for rank, fits in ((15, True), (16, False)):  # the keys' matrices have 16 rows and 32 columns
        methods = MethodArguments(use_galore=True, galore_rank=rank, galore_proj_type="reverse_std")
        with nullcontext() if fits else pytest.raises(ConfigError, match="needs a galore_rank below 16, .*k_proj"):
            check_low_rank_targets(model, methods, family_of(model.config))
    with pytest.raises(ConfigError, match="galore_target: 'attention' is in no linear module's name .known: .*q_proj"):
        wrong = MethodArguments(use_galore=True, galore_target=["attention"])
        check_low_rank_targets(model, wrong, family_of(model.config))
