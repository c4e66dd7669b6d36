"""Options that do not fit, or that nobody reads, are named before a model is loaded."""

import json
import re

import pytest
import torch
from transformers import TrainingArguments

from gpt4scene.errors import ConfigError
from gpt4scene.settings.config import parse
from gpt4scene.training.checkpointing import options_of
from gpt4scene.training.hf_arguments import training_arguments
from gpt4scene.training.optimizers import check_target_modules, option_problems, try_out

OPTIONS = sorted(
    {"activation_checkpointing_kwargs", "gradient_checkpointing_kwargs"} & set(TrainingArguments.__dataclass_fields__)
)
"""The spellings of one key that the installed transformers knows: 5.17 has the second only."""
LEAST = "--model_name_or_path m --dataset d --finetuning_type full --use_cpu --output_dir".split()  # noqa: SIM905


def words(folder, keys):
    """Return a command line: mappings and texts as they are."""
    flags = [w for k, v in keys.items() for w in (f"--{k}", json.dumps(v) if isinstance(v, dict) else str(v))]
    return [*LEAST, str(folder), *flags]


def problems(folder, keys):
    """Return what the checks before a model say, in their order; of the first that says something."""
    try:
        config = parse(words(folder, keys))
        if found := option_problems(config):
            return found
        try_out(config, training_arguments(config))
    except ConfigError as error:
        return list(error.problems)
    return []


EVALUATION = {"val_size": 0.1, "eval_strategy": "epoch"}

FITS = [
    {},
    {"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"num_cycles": 0.5}},
    {"lr_scheduler_type": "cosine_with_restarts", "lr_scheduler_kwargs": {"num_cycles": 3}, "warmup_ratio": 0.1},
    {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.1}, "warmup_steps": 300},
    {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": "1e-6"}},
    {"lr_scheduler_type": "cosine_warmup_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.1}},
    {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": 2.0, "lr_end": 0}},
    {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {"num_decay_steps": 5}, "max_steps": 20},
    {"lr_scheduler_type": "inverse_sqrt", "lr_scheduler_kwargs": {"timescale": 100}},
    {"lr_scheduler_type": "inverse_sqrt", "warmup_steps": 10},
    {"lr_scheduler_type": "linear", "warmup_ratio": 0.1},
    {"lr_scheduler_type": "constant"},
    {"lr_scheduler_type": "constant", "warmup_ratio": 0.1},
    {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 3},
    {"lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": {"patience": 2}, **EVALUATION},
    {"lr_scheduler_type": "greedy", **EVALUATION},
    {"optim": "adamw_torch"},
    {"optim": "adafactor"},
    {"optim": "sgd", "optim_args": "momentum=0.9,nesterov=true"},
    {"optim": "adagrad", "optim_args": "lr_decay=0.1, eps=1e-8"},
    {"optim": "rmsprop", "optim_args": "alpha=0.9"},
    {"gradient_checkpointing_kwargs": {"use_reentrant": False}},
    {"gradient_checkpointing_kwargs": {"use_reentrant": True, "preserve_rng_state": False}},
    {"liger_kernel_config": {"rms_norm": True, "swiglu": False, "rope": False}},
]

DOES_NOT = [
    ({"lr_scheduler_kwargs": {"num_cycle": 1}}, "lr_scheduler_type: cosine with .*num_cycle"),
    ({"lr_scheduler_type": "linear", "lr_scheduler_kwargs": {"num_cycles": 1}}, "linear with .*num_cycles"),
    ({"lr_scheduler_type": "cosine_with_min_lr"}, "cosine_with_min_lr can't be set up: .*min_lr"),
    (
        {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 1e-6, "min_lr_rate": 0.1}},
        "Only one of min_lr",
    ),
    ({"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": "small"}}, "can't be set up"),
    ({"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"lr_end": 1}}, "lr_end"),
    ({"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": -1}}, "can't be set up"),
    ({"lr_scheduler_type": "warmup_stable_decay"}, "num_decay_steps"),
    (
        {"lr_scheduler_type": "warmup_stable_decay"}
        | {"lr_scheduler_kwargs": {"num_decay_steps": 5, "decay_type": "cubic"}},
        "cubic",
    ),
    ({"lr_scheduler_type": "cosine_with_restarts", "lr_scheduler_kwargs": {"num_cycles": "two"}}, "can't be set up"),
    ({"lr_scheduler_type": "inverse_sqrt", "lr_scheduler_kwargs": {"scale": 1}}, "scale"),
    ({"lr_scheduler_type": "constant", "lr_scheduler_kwargs": {"num_cycles": 1}}, "lr_scheduler_kwargs has no effect"),
    (
        {"lr_scheduler_type": "constant_with_warmup", "lr_scheduler_kwargs": {"num_cycles": 1}},
        "lr_scheduler_kwargs has no effect",
    ),
    ({"lr_scheduler_type": "reduce_lr_on_plateau"}, "requires an eval strategy"),
    ({"lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": {"patiense": 2}, **EVALUATION}, "patiense"),
    ({"lr_scheduler_type": "greedy", "lr_scheduler_kwargs": {"patiense": 2}, **EVALUATION}, "patiense"),
    ({"optim": "sgd", "optim_args": "momentum=high"}, "optim: sgd with optim_args momentum=high can't be set up"),
    ({"optim": "sgd", "optim_args": "momentun=0.9"}, "'momentun' is no option of sgd; did you mean 'momentum'"),
    ({"optim": "sgd", "optim_args": "nesterov=true"}, "can't be set up: Nesterov"),
    ({"optim": "rmsprop", "optim_args": "momentum"}, "'momentum' is no name=value"),
    ({"optim": "rmsprop", "optim_args": "alpha=0.9,"}, "'' is no name=value"),
    ({"optim": "rmsprop", "optim_args": "alpha=0.9,alpha=0.8"}, "'alpha' is written twice"),
    ({"optim": "adamw_torch", "optim_args": "beta3=1"}, "optim_args belongs to"),
    ({"optim": "galore_adamw", "optim_target_modules": "all-linear", "optim_args": "rnak=4"}, "'rnak' is no option"),
    ({"optim": "galore_adamw_layerwise", "optim_target_modules": "all-linear"}, "needs one question a step"),
    ({"optim": "lion_8bit", "optim_args": "alpha=1"}, "'alpha' is no option of lion_8bit .it takes none"),
    ({"gradient_checkpointing_kwargs": {"use_reentrantt": False}}, "'use_reentrantt' is not a key; did you mean"),
    ({"gradient_checkpointing_kwargs": {"use_reentrant": "no"}}, "'use_reentrant' must be true or false, not 'no'"),
    ({OPTIONS[0]: {"every_n_layers": 0}}, "'every_n_layers' must be a whole number"),
    ({OPTIONS[0]: {"every_n_layers": True}}, "'every_n_layers' must be a whole number"),
    ({"liger_kernel_config": {"rms_nrom": True}}, "'rms_nrom' is not a key; did you mean 'rms_norm'"),
    ({"liger_kernel_config": {"rope": "yes"}}, "'rope' must be true or false"),
    ({"liger_kernel_config": {"rope": True}}, "'rope' does nothing on these models; leave it out"),
    ({"liger_kernel_config": {"fused_linear_cross_entropy": True}}, "only logits of answers are made; leave it out"),
    ({"log_level": "inof"}, "log_level: inof is not known; did you mean 'info'"),
    ({"ddp_backend": "glooo"}, "ddp_backend: glooo is not known; did you mean 'gloo'"),
    ({"torch_compile": True, "torch_compile_mode": "fastest"}, "torch_compile_mode: fastest is not known"),
    ({"adam_epsilon": 0}, "adam_epsilon 0 divides 0 by 0"),
    ({"adam_beta1": 1.0}, "Invalid beta parameter"),
    ({"neftune_noise_alpha": -5}, "'--neftune_noise_alpha' must be 0 or more"),
    ({"eval_delay": -1, **EVALUATION}, "'--eval_delay' must be 0 or more"),
    ({"ddp_timeout": 0}, "'--ddp_timeout' must be 1 or more"),
    ({"max_steps": -5}, "max_steps -5 would be passed over"),
    ({"finetuning_type": "lora", "lora_dropout": 1}, "lora_dropout 1 drops all"),
    ({"media_dir": "/nonexistent"}, "media_dir: there is no folder /nonexistent"),
]


@pytest.mark.parametrize("keys", FITS, ids=str)
def test_what_fits_is_quiet(tmp_path, keys):
    assert problems(tmp_path / "out", keys) == []


@pytest.mark.parametrize(("keys", "sentence"), DOES_NOT, ids=str)
def test_what_would_fail_late_or_be_passed_over_is_named(tmp_path, keys, sentence):
    assert re.search(sentence, "\n".join(problems(tmp_path / "out", keys)))
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(len(OPTIONS) < 2, reason="this transformers knows one spelling only")
def test_two_spellings_of_one_key_must_agree(tmp_path):
    keys = {OPTIONS[0]: {"every_n_layers": 2}, OPTIONS[1]: {"offload": True}}
    assert any("are one key, and differ" in sentence for sentence in problems(tmp_path, keys))


def test_all_that_does_not_fit_is_named_at_once(tmp_path):
    keys = {"optim": "sgd", "optim_args": "momentum=high", "lr_scheduler_kwargs": {"cycles": 1}}
    assert [sentence.split(":")[0] for sentence in problems(tmp_path, keys)] == ["optim", "lr_scheduler_type"]


def test_numbers_in_yaml_are_numbers(tmp_path):
    file = tmp_path / "run.yaml"
    keys = "model_name_or_path: m\ndataset: d\noutput_dir: o\nlr_scheduler_type: cosine_with_min_lr\n"
    file.write_text(keys + "lr_scheduler_kwargs: {min_lr: 1e-6, num_cycles: 0.5}\n")
    assert parse([str(file)]).training["lr_scheduler_kwargs"] == {"min_lr": 1e-6, "num_cycles": 0.5}


def test_a_warm_up_that_a_schedule_passes_over_is_noted(tmp_path):
    for kind, noted in (("constant", True), ("constant_with_warmup", False), ("cosine", False)):
        config = parse(words(tmp_path, {"lr_scheduler_type": kind, "warmup_ratio": 0.1}))
        assert any("warmup_steps has no effect" in note for note in config.notes) == noted


def test_checkpointing_that_is_asked_for_keeps_what_is_left_out(tmp_path):
    for key in OPTIONS:
        config = parse(words(tmp_path, {key: {"preserve_rng_state": False, "every_n_layers": 2}}))
        assert options_of(config) == {"preserve_rng_state": False, "every_n_layers": 2}


ZERO = {"zero_optimization": {"stage": 2, "reduce_bucket_size": "auto"}}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"zero_optimization": {"stage": 4}}, "zero_optimization.stage: Input should be"),
        (
            {"zero_optimization": {"stage": 2, "overlap_com": True}},
            "overlap_com is not a key; did you mean 'overlap_comm'",
        ),
        ({"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "gpu"}}}, "offload_optimizer.device"),
        ({"zero_optimization": 3}, "zero_optimization must be an object"),
        (ZERO | {"optimizer": "AdamW"}, "optimizer must be an object"),
        (ZERO | {"scheduler": ["WarmupLR"]}, "scheduler must be an object"),
        (ZERO | {"optimizer": {"type": "AdamW2"}}, "optimizer.type AdamW2 is not known"),
        (ZERO | {"scheduler": {"type": "Cosine"}}, "scheduler.type Cosine is not known"),
        (ZERO | {"optimizer": {"type": "AdamW"}, "scheduler": {"type": "WarmupLR"}}, None),
    ],
    ids=str,
)
def test_deepspeeds_own_words_come_before_the_model(tmp_path, content, sentence):
    pytest.importorskip("deepspeed")
    config = parse(words(tmp_path, {"deepspeed": content}))
    plain = training_arguments(parse(words(tmp_path, {})))
    if sentence is None:
        try_out(config, plain)
        return
    with pytest.raises(ConfigError, match=sentence):
        try_out(config, plain)


def test_a_layer_by_layer_optimizer_wants_one_process(tmp_path, monkeypatch):
    keys = {"optim": "galore_adamw_layerwise", "optim_target_modules": "all-linear", "per_device_train_batch_size": 1}
    assert option_problems(parse(words(tmp_path, keys))) == []
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "write galore_adamw" in option_problems(parse(words(tmp_path, keys)))[0]


def test_target_modules_are_those_of_the_model(tmp_path):
    model = torch.nn.ModuleDict({"q_proj": torch.nn.Linear(2, 2), "norm": torch.nn.LayerNorm(2)})
    for named, fits in (("all-linear", True), ("q_proj", True), (".*_proj", True), ("q_porj", False), ("norm", False)):
        config = parse(words(tmp_path, {"optim": "galore_adamw", "optim_target_modules": named}))
        if fits:
            check_target_modules(config, model)
            continue
        with pytest.raises(ConfigError, match=f"'{named}' names no linear module .known: q_proj"):
            check_target_modules(config, model)
    keys = {"optim_target_modules": "all-linear", "optim": "galore_adamw"}
    assert training_arguments(parse(words(tmp_path, keys))).optim_target_modules == "all-linear"
