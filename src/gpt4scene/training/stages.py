"""From ``stage`` to what a step makes smaller, with the reference model where there is one."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoConfig, PreTrainedModel, TrainingArguments

from gpt4scene.errors import DataError
from gpt4scene.model.folder import ModelFolder, find_model, local_folder
from gpt4scene.model.fused import fuse
from gpt4scene.model.loading import load_merged
from gpt4scene.model.reference import Reference
from gpt4scene.settings.arguments import attention_backend
from gpt4scene.settings.config import TrainConfig
from gpt4scene.training.fitting import kernels_of
from gpt4scene.training.launch_files import deepspeed_content, uses_fsdp
from gpt4scene.training.objective import FineTuning, Objective
from gpt4scene.training.preferences import Preference


def objective_of(
    config: TrainConfig, arguments: TrainingArguments, folder: Path, model: torch.nn.Module
) -> tuple[Objective, str | None]:
    """Return what the run makes smaller, and a sentence about the reference model where it has one.

    Loads that model. ``folder`` is the checkpoint that training starts from, and ``model`` the one that is trained: its
    dropout is switched off where answers are compared.
    """
    if config.tuning.stage != "dpo":
        return FineTuning(config.loss_average), None
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    if not config.preferences.refers:
        return Preference(config.preferences, None), None
    found = reference_folder(config, folder)
    if found is None:
        reference, what = Reference(), "the model without its adapter"
    else:
        reference, what = Reference(_load(config, arguments, found)), str(found.adapter or found.base)
    return Preference(config.preferences, reference), f"the reference is {what}"


def reference_folder(config: TrainConfig, folder: Path) -> ModelFolder | None:
    """Return where the reference model lies; None where it is the trained one without its adapter, or there is none.

    Raises DataError where no model is there, or one that can't be compared with that in ``folder``.
    """
    said, adapter = config.preferences.ref_model, config.preferences.ref_model_adapters
    if config.tuning.stage != "dpo" or not config.preferences.refers:
        return None
    if said is None:
        return None if config.tuning.finetuning_type == "lora" else ModelFolder(folder)
    found = ModelFolder(local_folder(said), local_folder(adapter)) if adapter else find_model(said)
    ours, theirs = AutoConfig.from_pretrained(folder), AutoConfig.from_pretrained(found.base)
    for name, own, other in (
        ("model_type", ours.model_type, theirs.model_type),
        ("vocab_size", ours.get_text_config().vocab_size, theirs.get_text_config().vocab_size),
    ):
        if own != other:
            raise DataError(
                f"ref_model {found.base}: {name} is {other}, but that of {folder} is {own}; both must read the same "
                "tokens and images: take a reference of the same family"
            )
    return found


def reference_problems(config: TrainConfig) -> list[str]:
    """Return a sentence where the run would need a second whole model on each device of sharded training."""
    whole = config.tuning.finetuning_type != "lora" or bool(config.preferences.ref_model)
    if config.tuning.stage != "dpo" or not config.preferences.refers or not whole:
        return []
    zero = (deepspeed_content(config) or {}).get("zero_optimization", {})
    sharded = "fsdp" if uses_fsdp(config) else "ZeRO-3" if zero.get("stage") == 3 else None
    if sharded is None:
        return []
    return [
        f"stage: dpo with this reference keeps a second model whole on each device, and {sharded} would not share it "
        "out; write finetuning_type: lora without ref_model, pref_loss: orpo or simpo, or use ZeRO-2"
    ]


def _load(config: TrainConfig, arguments: TrainingArguments, found: ModelFolder) -> PreTrainedModel:
    """Return the frozen reference on the device, in the precision of the run's frozen parts, and its kernels."""
    attention, _ = attention_backend(config.model.flash_attn)
    dtype = torch.bfloat16 if arguments.bf16 or config.tuning.pure_bf16 else torch.float32
    if arguments.fp16 and arguments.deepspeed:
        dtype = torch.float16
    model = load_merged(found, dtype=dtype, attention=attention, device=arguments.device)
    kernels, _ = kernels_of(config, model, arguments.device)
    if kernels is not None:
        fuse(model, kernels)
    return model
