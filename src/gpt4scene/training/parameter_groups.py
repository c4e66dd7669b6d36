"""Which optimizer a run's methods ask for, and which rate and decay each trained parameter gets in it.

LoRA+, GaLore, APOLLO and Muon as LLaMA-Factory sets them up, and the rates of tower and merger. Weight decay is the
Trainer's own: none for biases and norms.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from gpt4scene.errors import ConfigError
from gpt4scene.families.family import Family
from gpt4scene.settings.methods import MethodArguments
from gpt4scene.training.muon import MuonAndAdamW

WRAPPER = "base_model.model."
"""What peft puts before a parameter's name."""

Optimizer = tuple[type[torch.optim.Optimizer], dict[str, Any]]


def asks_for_groups(methods: MethodArguments) -> bool:
    """Return whether parameters are to be updated otherwise than all alike by ``optim``."""
    rates = (methods.loraplus_lr_ratio, methods.tower_learning_rate, methods.merger_learning_rate)
    return bool(methods.low_rank or methods.use_muon or any(one is not None for one in rates))


def optimizer_of(
    model: torch.nn.Module,
    decaying: Collection[str],
    methods: MethodArguments,
    arguments: TrainingArguments,
    family: Family,
) -> Optimizer:
    """Return the optimizer's class and its keywords, ``params`` among them: groups of the same rate, decay and kind.

    ``decaying`` names the parameters that weight decay is for. Groups of ``learning_rate`` itself come first, since
    the Trainer logs the rate of the first one.
    """
    special = _special(model, methods, family)
    groups: dict[tuple[float, float, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            dimensions = len(getattr(parameter, "ds_shape", parameter.shape))  # ZeRO-3 leaves the whole shape there
            rate = rate_of(name, dimensions, methods, arguments.learning_rate, family)
            decay = arguments.weight_decay if name in decaying else 0.0
            groups.setdefault((rate, decay, name in special), []).append(parameter)
    extra = {True: special_options(methods), False: {}}
    ordered = sorted(groups, key=lambda key: key[0] != arguments.learning_rate)
    params = [{"params": groups[key], "lr": key[0], "weight_decay": key[1], **extra[key[2]]} for key in ordered]
    kind, options = _kind(methods, arguments, model)
    return kind, options | {"params": params}


def rate_of(name: str, dimensions: int, methods: MethodArguments, rate: float, family: Family) -> float:
    """Return the learning rate of a parameter: its part's own, times LoRA+'s ratio for matrices B and for vectors."""
    own = {"tower": methods.tower_learning_rate, "merger": methods.merger_learning_rate}
    of_part = own.get(family.part_of(name.removeprefix(WRAPPER)))
    rate = rate if of_part is None else of_part
    if methods.loraplus_lr_ratio is None:
        return rate
    if "lora_embedding_B" in name:
        return methods.loraplus_lr_embedding
    return rate * methods.loraplus_lr_ratio if "lora_B" in name or dimensions == 1 else rate


def special_options(methods: MethodArguments) -> dict[str, Any]:
    """Return what the group of parameters that the optimizer treats in its own way is told."""
    if methods.use_muon:
        return {"muon": True}
    if methods.use_galore:
        return {
            "rank": methods.galore_rank,
            "update_proj_gap": methods.galore_update_interval,
            "scale": methods.galore_scale,
            "proj_type": methods.galore_proj_type,
        }
    if methods.use_apollo:
        return {
            "rank": methods.apollo_rank,
            "proj": methods.apollo_proj,
            "proj_type": methods.apollo_proj_type,
            "update_proj_gap": methods.apollo_update_interval,
            "scale": methods.apollo_scale,
            "scale_type": methods.apollo_scale_type,
        }
    return {}


def check_low_rank_targets(model: torch.nn.Module, methods: MethodArguments, family: Family) -> None:
    """Raise ``ConfigError`` where a name in ``galore_target`` or ``apollo_target`` is in no linear module's name.

    Also where ``galore_proj_type: reverse_std`` could not tell which side of a matrix it has projected: of a wide one
    it keeps ``rank`` columns, which must be fewer than its rows.
    """
    if methods.low_rank is None:
        return
    linear = list(_linear(model, family))
    for one in _wanted(methods):
        if one != "all" and not any(one in name for name in linear):
            known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in linear}))
            raise ConfigError(f"{methods.low_rank}_target: '{one}' is in no linear module's name (known: {known})")
    if not methods.use_galore or methods.galore_proj_type != "reverse_std":
        return
    for name in _chosen(linear, methods):
        rows, columns = model.get_submodule(name).get_parameter("weight").shape
        if rows < columns and rows <= methods.galore_rank:
            raise ConfigError(
                f"galore_proj_type: reverse_std needs a galore_rank below {rows}, the rows of {name}, which has "
                f"{columns} columns; write a lower rank, or std"
            )


def _special(model: torch.nn.Module, methods: MethodArguments, family: Family) -> set[str]:
    """Return the names of the parameters that GaLore, APOLLO or Muon is for."""
    if methods.use_muon:
        return {
            name
            for name, parameter in model.named_parameters()
            if parameter.ndim == 2 and "embed" not in name and "lm_head" not in name
        }
    if methods.low_rank is None:
        return set()
    return {f"{name}.weight" for name in _chosen(_linear(model, family), methods)}


def _chosen(linear: Iterable[str], methods: MethodArguments) -> Iterator[str]:
    """Yield the names of those linear modules that GaLore or APOLLO is for."""
    wanted = _wanted(methods)
    yield from (name for name in linear if "all" in wanted or any(one in name for one in wanted))


def _wanted(methods: MethodArguments) -> list[str]:
    return methods.galore_target if methods.use_galore else methods.apollo_target


def _linear(model: torch.nn.Module, family: Family) -> Iterator[str]:
    """Yield the names of linear modules, but those of the LM head and the projector."""
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and "lm_head" not in name and family.part_of(f"{name}.") != "merger":
            yield name


def _kind(methods: MethodArguments, arguments: TrainingArguments, model: torch.nn.Module) -> Optimizer:
    """Return the optimizer's class, and its keywords without the parameters."""
    kind, options = Trainer.get_optimizer_cls_and_kwargs(arguments, model)  # pyright: ignore[reportArgumentType]
    if methods.low_rank or methods.use_muon:
        options.pop("fused", None)
    if methods.use_muon:
        return MuonAndAdamW, options
    if methods.use_galore:
        from galore_torch import GaLoreAdafactor, GaLoreAdamW

        if arguments.optim == "adafactor":
            return GaLoreAdafactor, options
        return GaLoreAdamW, options | {"no_deprecation_warning": True}
    if methods.use_apollo:
        from apollo_torch import APOLLOAdamW

        return APOLLOAdamW, options | {"scale_front": methods.apollo_scale_front}
    return kind, options
