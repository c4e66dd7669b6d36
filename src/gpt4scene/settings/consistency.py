"""Settings that cannot stand together, that would do nothing, or that have no effect beside others."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from gpt4scene.data.mixing import probability_problems
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.registry import nearest
from gpt4scene.settings.arguments import DataArguments, ImageLimits, TuningArguments
from gpt4scene.settings.feature_cache import feature_cache_problems
from gpt4scene.settings.foreign import foreign
from gpt4scene.settings.held_out import NEEDED, held_out_problems, holds_out
from gpt4scene.settings.methods import MethodArguments, method_problems, methods_without_effect
from gpt4scene.settings.preferences import (
    figures_of,
    lower_is_better,
    preference_problems,
    stage_notes,
    text_problems,
)
from gpt4scene.settings.video import area_problems
from gpt4scene.settings.watching import watching_problems, watching_without_effect

LONGEST_SIDE = 16384
"""Pixels; a longer ``image_resolution`` is an area, as LLaMA-Factory 0.9.1 had it."""

TARGETED = ("galore", "apollo")
"""Beginnings of the optimizers that treat the modules in ``optim_target_modules`` in their own way."""
PLAIN = ("adamw_torch", "adamw_torch_fused", "adafactor")
"""Optimizers that take no ``optim_args``."""

UNWARMED = ("constant", "reduce_lr_on_plateau", "greedy")
"""Schedules that pass over ``warmup_steps``."""


def trains(values: Mapping[str, Any]) -> bool:
    """Return whether the run trains: as ``do_train`` says; without it, unless ``do_eval`` alone is asked for."""
    return bool(values["do_train"] if values.get("do_train") is not None else not values.get("do_eval"))


def contradictions(values: Mapping[str, Any]) -> list[str]:
    """Return sentences about settings that cannot stand together; ``values`` holds what was set, by key."""
    found = [*_work(values), *_method(values), *_rows(values), *_precision(values), *_evaluation(values)]
    found += [*method_problems(values), *watching_problems(values)]
    return [*found, *preference_problems(values), *text_problems(values)]


def without_effect(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for every key that is set, but has no effect beside the others, or hardly the one meant."""
    get = values.get
    checkpointing = ("gradient_checkpointing_kwargs", "activation_checkpointing_kwargs")
    reported = get("report_to") or []
    needs = {
        **dict.fromkeys(("eval_steps",), ("eval_strategy: steps", get("eval_strategy") == "steps")),
        **dict.fromkeys(("eval_delay",), ("eval_strategy", get("eval_strategy", "no") != "no")),
        "per_device_eval_batch_size": (NEEDED, holds_out(values)),
        "val_split": ("val_size", bool(get("val_size"))),
        "overwrite_output_dir": (
            "resume_from_checkpoint left out, beside which nothing is deleted",
            not get("resume_from_checkpoint"),
        ),
        "save_steps": ("save_strategy: steps", get("save_strategy", "steps") == "steps"),
        "logging_steps": ("logging_strategy: steps", get("logging_strategy", "steps") == "steps"),
        **dict.fromkeys(
            ("metric_for_best_model", "greater_is_better"),
            (
                "load_best_model_at_end",
                bool(get("load_best_model_at_end") or get("save_strategy") == "best" or get("early_stopping_steps")),
            ),
        ),
        "warmup_steps": (
            "a schedule that warms up, such as constant_with_warmup",
            get("lr_scheduler_type") not in UNWARMED,
        ),
        "num_train_epochs": ("max_steps left out, which wins", get("max_steps", -1) <= 0),
        **dict.fromkeys(
            ("dataloader_persistent_workers", "dataloader_prefetch_factor"),
            ("dataloader_num_workers above 0", get("dataloader_num_workers", 1) > 0),
        ),
        "liger_kernel_config": ("use_liger_kernel: auto or true", get("use_liger_kernel") is not False),
        **dict.fromkeys(
            ("trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"),
            ("report_to: trackio", "trackio" in reported or "all" in reported),
        ),
        **dict.fromkeys(
            checkpointing, ("disable_gradient_checkpointing: false", not get("disable_gradient_checkpointing"))
        ),
        **watching_without_effect(values),
    }
    yield from stage_notes(values)
    if get("learning_rate") == 0 and trains(values):
        yield "learning_rate has no effect at 0: nothing is trained, and the weights stay as they are"
    metric = str(get("metric_for_best_model") or "loss").removeprefix("eval_")
    if lower_is_better(metric) and get("greater_is_better"):
        kind = ", as the metric is a loss" if "loss" in metric else ""
        yield f"greater_is_better: true keeps the checkpoint with the highest {metric}{kind}"
    elif not lower_is_better(metric) and get("greater_is_better") is False:
        yield f"greater_is_better: false keeps the checkpoint with the lowest {metric}"
    yield from _thoughts(values)
    for name, (needed, there) in needs.items():
        if get(name) not in (None, False) and not there:
            yield f"{name} has no effect: it needs {needed}"
    yield from methods_without_effect(values)


def _thoughts(values: Mapping[str, Any]) -> Iterator[str]:
    """Sentences about thoughts before answers."""
    name, enabled = values.get("template", DataArguments.template), values.get("enable_thinking", True)
    if values.get("stage") == "pt":
        for key in ("enable_thinking", "preserve_thinking"):
            if key in values:
                yield f"{key} has no effect: stage: pt writes no template around its texts"
        return
    if name not in TEMPLATES:
        return
    if TEMPLATES[name].thinks:
        way = "is learned" if enabled else "is given, not learned"
        removed = "all thoughts in the rows are left out, and " if enabled is False else ""
        yield (
            f"template {name} thinks: {removed}an empty thought before an answer that has none {way}; write template: "
            f"{name}_nothink for a checkpoint that does not think"
        )
        if values.get("preserve_thinking") and values.get("stage", "sft") == "sft" and not values.get("mask_history"):
            yield "preserve_thinking has no effect: it needs mask_history: true, without which no thought is left out"
        return
    for key in ("enable_thinking", "preserve_thinking"):
        if values.get(key):
            yield f"{key} has no effect: template {name} has no thoughts"


def _work(values: Mapping[str, Any]) -> Iterator[str]:
    """Sentences about what the run is asked to do."""
    get = values.get
    if not trains(values):
        if not get("do_eval") and not get("tokenize_only"):
            yield "nothing would be done: do_train is false; leave it out to train, or write do_eval: true and val_size"
        if get("deepspeed"):
            yield "do_eval without training runs on plain processes; leave deepspeed out"
        if get("resume_from_checkpoint"):
            yield "do_eval without training reads model_name_or_path; write the checkpoint's folder there"
    elif get("resume_from_checkpoint") == "auto" and get("overwrite_output_dir"):
        yield (
            "resume_from_checkpoint: auto goes on with the run in output_dir, and overwrite_output_dir: true deletes "
            "it; leave one of them out"
        )
    elif get("num_train_epochs") == 0 and get("max_steps", -1) <= 0:
        yield "nothing would be trained: num_train_epochs is 0"
    steps = get("max_steps", -1)
    if steps == 0 or steps < -1:
        yield f"max_steps {steps} would be passed over; leave it out for num_train_epochs, or write do_train: false"
    for name in ("logging_steps", "save_steps", "eval_steps"):
        every = get(name)
        if every is not None and every <= 0:
            yield f"{name} must be above 0, not {every}; {name.removesuffix('_steps')}_strategy: no switches it off"
    if get("do_eval") and not holds_out(values):
        yield f"do_eval needs {NEEDED}"
    if get("tokenize_only") and not get("tokenized_path"):
        yield "tokenize_only needs tokenized_path, the folder to write to"
    if get("deepspeed") and get("fsdp"):
        yield "deepspeed and fsdp exclude each other"
    if get("fsdp_config") and not get("fsdp"):
        yield "fsdp_config needs fsdp, such as fsdp: full_shard"


def _method(values: Mapping[str, Any]) -> Iterator[str]:
    """Sentences about what is trained, and by which method; none where ``finetuning_type`` is no known one."""
    get = values.get
    method = get("finetuning_type", "lora")
    said = method if "finetuning_type" in values else "left out, which means lora"
    if method is None:
        return
    for one in (*dataclasses.fields(TuningArguments), *dataclasses.fields(MethodArguments)):
        belongs = one.metadata["method"]
        if belongs and belongs != method and get(one.name) not in (None, False, 0, [], ""):
            yield f"{one.name} belongs to finetuning_type: {belongs}, but finetuning_type is {said}"
    if get("lora_dropout") == 1:
        yield "lora_dropout 1 drops all that an adapter could learn from; write a share below 1"
    if get("adapter_name_or_path") and method != "lora":
        yield "adapter_name_or_path needs finetuning_type: lora"
    if method == "freeze" and get("freeze_trainable_layers") == 0:
        yield "finetuning_type freeze with freeze_trainable_layers 0 trains nothing"
    if get("freeze_language_model"):
        for name in ("freeze_trainable_layers", "freeze_trainable_modules") if method == "freeze" else ():
            if get(name) is not None:
                yield f"{name} has no effect beside freeze_language_model, as it names language layers; leave it out"
        if get("freeze_vision_tower", True) and get("freeze_multi_modal_projector", True):
            yield (
                "freeze_language_model trains nothing, as the vision tower and the projector are frozen too; "
                "write freeze_vision_tower: false or freeze_multi_modal_projector: false"
            )
    if get("lr_scheduler_kwargs") and get("lr_scheduler_type") in ("constant", "constant_with_warmup"):
        yield f"lr_scheduler_kwargs has no effect with lr_scheduler_type: {get('lr_scheduler_type')}; leave it out"
    optimizer = get("optim") or "adamw_torch_fused"
    takers = {"optim_target_modules": optimizer.startswith(TARGETED), "optim_args": optimizer not in PLAIN}
    for name, fits in takers.items():
        if get(name) and not fits:
            yield f"{name} belongs to optimizers such as galore_adamw, but optim is {optimizer}"


def _rows(values: Mapping[str, Any]) -> Iterator[str]:
    """Sentences about rows, images and steps."""
    get = values.get
    if get("train_on_prompt") and get("mask_history"):
        yield "train_on_prompt and mask_history exclude each other: one learns more of a row, the other less"
    template = get("template")
    if template is not None and template not in TEMPLATES:
        known = list(TEMPLATES)
        if template in foreign().templates:
            yield f"template '{template}' is LLaMA-Factory's for other models (known here: {', '.join(known)})"
        else:
            yield f"template '{template}' is not known{nearest(template, known)} (known: {', '.join(known)})"
    limits = ImageLimits.said(get("image_resolution"), get("image_max_pixels"), get("image_min_pixels"))
    yield from limits.problems()
    yield from area_problems(get("video_max_pixels"), get("video_min_pixels"))
    yield from (f"feature_cache {words}" for words in feature_cache_problems(get("feature_cache", "auto")))
    if (get("image_resolution") or 0) > LONGEST_SIDE:
        area = get("image_resolution")
        yield f"image_resolution is the longest side in pixels, not an area; write image_max_pixels: {area}"
    named = get("dataset") or []
    if twice := [name for name in dict.fromkeys(named) if named.count(name) > 1]:
        yield f"dataset names '{twice[0]}' twice; name it once; num_samples in dataset_info.json repeats rows"
    yield from held_out_problems(values)
    mixing = get("mix_strategy", "concat"), get("interleave_probs"), len(get("dataset") or [])
    yield from probability_problems(*mixing)


def _precision(values: Mapping[str, Any]) -> Iterator[str]:
    get = values.get
    if get("bf16") and get("fp16"):
        yield "bf16 and fp16 exclude each other"
    if get("pure_bf16") and get("fp16"):
        yield "pure_bf16 and fp16 exclude each other"


def _evaluation(values: Mapping[str, Any]) -> Iterator[str]:
    """Sentences about evaluation while training, and the checkpoint that it chooses."""
    get = values.get
    evaluates = get("eval_strategy", "no") != "no"
    if evaluates and not holds_out(values):
        yield f"eval_strategy needs {NEEDED}"
    if evaluates and get("do_eval") is False:
        yield f"do_eval is false, but eval_strategy is {get('eval_strategy')}; leave one of them out"
    if get("eval_on_start") and not (evaluates and holds_out(values)):
        yield f"eval_on_start needs eval_strategy and {NEEDED}"
    if get("load_best_model_at_end") and not evaluates:
        yield f"load_best_model_at_end needs eval_strategy and {NEEDED}"
    if get("save_strategy") == "best" and not evaluates:
        yield f"save_strategy best needs eval_strategy and {NEEDED}"
    metric, figures = str(get("metric_for_best_model") or "loss").removeprefix("eval_"), figures_of(values)
    sure = metric == "loss" or metric.startswith("loss_") or metric in figures
    if not sure and not get("eval_generate"):
        answers = "" if get("stage") == "pt" else ", and scores of answers where eval_generate is set"
        beside = f", {', '.join(figures)}" if figures else ""
        yield (
            f"metric_for_best_model {get('metric_for_best_model')} is not known{nearest(metric, list(figures))}: "
            f"evaluation gives loss and loss_<task>{beside}{answers}"
        )
