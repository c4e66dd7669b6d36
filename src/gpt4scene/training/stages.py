"""From ``stage`` to what a step makes smaller, with the reference model where there is one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig, PreTrainedModel, TrainingArguments

from gpt4scene.errors import DataError
from gpt4scene.model.adapter_chain import chain, check_chain, merge_all
from gpt4scene.model.folder import check_adapter_folder, find_model, is_hub_name, local_folder
from gpt4scene.model.fused import fuse
from gpt4scene.model.loading import check_checkpoint, load_model
from gpt4scene.model.reference import Reference
from gpt4scene.settings.arguments import attention_backend
from gpt4scene.settings.config import TrainConfig
from gpt4scene.training.fitting import kernels_of, reference_dtype
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
    found = reference_place(config, folder)
    if found is None:
        return Preference(config.preferences, Reference()), "the reference is the model without its adapter"
    network = _load(config, arguments, found)
    return Preference(config.preferences, Reference(network)), f"the reference is {found}"


@dataclass(frozen=True)
class ReferencePlace:
    """Where the reference lies: ``base`` holds the checkpoint, ``adapters`` those that are merged into it, in order."""

    base: Path
    adapters: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return f"{self.base} with {', '.join(map(str, self.adapters))}" if self.adapters else str(self.base)


def reference_place(config: TrainConfig, folder: Path) -> ReferencePlace | None:
    """Return where the reference model lies; None where it is the trained one without its adapter, or there is none.

    Raises DataError where no whole model is there, or one that can't be compared with that in ``folder``, or where an
    adapter does not fit it. No weight is loaded.
    """
    said, named = config.preferences.ref_model, (config.preferences.ref_model_adapters or "").split(",")
    if not config.keeps_reference:
        return None
    if not said:
        return ReferencePlace(folder)
    found, words = find_model(said), [one.strip() for one in named if one.strip()]
    adapters = [local_folder(one) if is_hub_name(one) else Path(one) for one in words]
    for one in adapters:
        check_adapter_folder(one)
    every = chain([*filter(None, [found.adapter]), *adapters])
    network, ours = check_checkpoint(found.base), AutoConfig.from_pretrained(folder)
    theirs = network.config
    for name, own, other in (
        ("model_type", ours.model_type, theirs.model_type),
        ("vocab_size", ours.get_text_config().vocab_size, theirs.get_text_config().vocab_size),
    ):
        if own != other:
            raise DataError(
                f"ref_model {found.base}: {name} is {other}, but that of {folder} is {own}; both must read the same "
                "tokens and images: take a reference of the same family"
            )
    check_chain(every, network, found.base)
    return ReferencePlace(found.base, tuple(every))


def reference_problems(config: TrainConfig) -> list[str]:
    """Return a sentence where the run would need a second whole model on each device of sharded training."""
    if not config.keeps_reference:
        return []
    zero = (deepspeed_content(config) or {}).get("zero_optimization", {})
    sharded = "fsdp" if uses_fsdp(config) else "ZeRO-3" if zero.get("stage") == 3 else None
    if sharded is None:
        return []
    return [
        f"stage: dpo with this reference keeps a second model whole on each device, and {sharded} would not share it "
        "out; write finetuning_type: lora without ref_model, pref_loss: orpo or simpo, or use ZeRO-2"
    ]


def _load(config: TrainConfig, arguments: TrainingArguments, found: ReferencePlace) -> PreTrainedModel:
    """Return the frozen reference on the device, in the precision of the run's frozen parts, and its kernels."""
    attention, _ = attention_backend(config.model.flash_attn)
    dtype, device = reference_dtype(config), arguments.device
    model = load_model(found.base, dtype=dtype, attention=attention, device=device)
    model = merge_all(model, found.adapters)
    kernels, _ = kernels_of(config, model, device)
    if kernels is not None:
        fuse(model, kernels)
    return model
