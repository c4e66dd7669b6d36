"""From the settings of a run to transformers' ``TrainingArguments``, with what can be derived filled in."""

from __future__ import annotations

import os
from typing import Any

import torch
from transformers import TrainingArguments

from gpt4scene.errors import ConfigError
from gpt4scene.settings.config import TrainConfig
from gpt4scene.settings.preferences import lower_is_better
from gpt4scene.training.checkpointing import OPTIONS
from gpt4scene.training.processes import join_alone
from gpt4scene.training.tracking import other_trackers

LOADER_WORKERS = 4
"""Processes that decode images beside each accelerator."""


def training_arguments(config: TrainConfig) -> TrainingArguments:
    """Return the Trainer's arguments; joins the process group where the run has several processes.

    A micro-batch is one pack of at least one question, so the Trainer's batch size is 1, and its accumulation is the
    questions of a step: the most packs that a step can have (see ``StepSampler``). Left to us where the user said
    nothing: ``use_cpu`` without an accelerator, worker processes for images, a cosine schedule, a log line per step.
    Recomputing of activations and Liger's kernels are never left to the Trainer. Must be called before a model is
    loaded: under ZeRO-3, transformers then loads each weight straight to its shard.
    """
    given = dict(config.training)
    if given.get("deepspeed") or given.get("fsdp"):
        join_alone()
    accelerated = torch.accelerator.is_available()
    derived: dict[str, Any] = {
        "use_cpu": not accelerated,
        "dataloader_num_workers": LOADER_WORKERS if accelerated else 0,
        "lr_scheduler_type": "cosine",
        "logging_steps": 1,
    }
    if given.get("save_strategy") == "best" or config.methods.early_stopping_steps:
        derived["metric_for_best_model"] = "loss"
    metric = str(given.get("metric_for_best_model") or "loss").removeprefix("eval_")
    derived["greater_is_better"] = None if metric == "loss" else not lower_is_better(metric)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        derived["ddp_find_unused_parameters"] = False
    fixed: dict[str, Any] = {
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": config.rows_per_step,
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "report_to": other_trackers(config),
        "logging_nan_inf_filter": False,  # it logs an older loss for one that is no number; the run must stop there
        "use_cache": True,  # the Trainer writes this into the model's config, where it would slow generation down
    }
    for key in (*OPTIONS, "liger_kernel_config", "neftune_noise_alpha"):  # ours: training.checkpointing, model.fused
        given.pop(key, None)
    if config.tuning.pure_bf16:
        fixed["bf16"] = bool(given.get("deepspeed"))
    values = derived | given | fixed
    if values.get("optim_target_modules") in (["all-linear"], ["all_linear"]):  # a word, and no module of that name
        values["optim_target_modules"] = "all-linear"
    values.pop("resume_from_checkpoint", None)
    if values["use_cpu"]:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    try:
        arguments = TrainingArguments(**values)
    except (ValueError, ImportError, RuntimeError) as error:
        raise ConfigError(f"transformers refuses the settings: {' '.join(str(error).split())}") from None
    if arguments.deepspeed and arguments.use_cpu:
        _join_deepspeed_on_cpu()
    if not arguments.use_cpu:
        arguments._n_gpu = 1  # one process drives one device; without this, several visible ones mean DataParallel
    return arguments


def _join_deepspeed_on_cpu() -> None:
    """Start DeepSpeed's communication on the process group that TrainingArguments made.

    On a CPU, transformers leaves that until the model is wrapped, but ZeRO-3 shards weights while they are loaded.
    DeepSpeed's own shared-memory operation is not used: it would be compiled at this point, for minutes.
    """
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if not deepspeed.comm.is_initialized():
        deepspeed.init_distributed(dist_backend="gloo", verbose=False)
