"""What is trained: full, freeze or LoRA, and in which precision each part is kept."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from transformers import PreTrainedModel

from gpt4scene.errors import ConfigError
from gpt4scene.families.family import Family
from gpt4scene.families.registry import family_of
from gpt4scene.model.lora import check_continued, continue_lora, is_frozen, spare_casts
from gpt4scene.model.new_lora import add_lora, check_new_lora
from gpt4scene.settings.arguments import TuningArguments
from gpt4scene.settings.methods import MethodArguments

PLAIN = MethodArguments()
"""What a run that names no method of its own asks for."""


def prepare_for_training(
    model: PreTrainedModel,
    arguments: TuningArguments,
    *,
    bf16: bool,
    adapter: str | Path | None = None,
    said: Collection[str] = (),
    keep_dtype: bool = False,
    methods: MethodArguments = PLAIN,
):
    """Return ``model`` (wrapped by peft for LoRA) with the right parts trainable, in the right precision.

    Trainable parameters are fp32, so that small updates are not rounded away; with ``bf16`` the frozen ones
    are bf16. ``pure_bf16`` makes all of them bf16. ``keep_dtype`` leaves precisions alone, for DeepSpeed, which keeps
    fp32 masters itself. A vision tower with nothing to learn runs without a graph. ``adapter`` is a LoRA folder to go
    on with.
    """
    family = family_of(model.config)
    _choose(model, family, arguments)
    tuned: torch.nn.Module = model
    if arguments.finetuning_type == "lora":
        tuned = continue_lora(model, arguments, Path(adapter), said) if adapter else add_lora(model, arguments, methods)
    _refuse_nothing(tuned)
    _spare_frozen_tower(model, family)
    if not keep_dtype:
        _set_precision(tuned, bf16=bf16, pure_bf16=arguments.pure_bf16)
        if arguments.finetuning_type == "lora" and bf16 and not arguments.pure_bf16:
            spare_casts(tuned)
    return tuned


def check_tuning(
    model: PreTrainedModel,
    arguments: TuningArguments,
    adapter: str | Path | None = None,
    said: Collection[str] = (),
    methods: MethodArguments = PLAIN,
) -> str | None:
    """Raise what ``prepare_for_training`` would; ``model`` may lie on the meta device, so that no weight is read.

    ``ConfigError`` says which key asks for parts that the model does not have, ``DataError`` why the adapter in that
    folder does not fit. Returns a sentence about that adapter.
    """
    family = family_of(model.config)
    _choose(model, family, arguments)
    if arguments.finetuning_type != "lora":
        _refuse_nothing(model)
    elif adapter is None:
        check_new_lora(model, arguments, methods)
    else:
        return check_continued(model, arguments, Path(adapter), said)
    return None


def _choose(model: PreTrainedModel, family: Family, arguments: TuningArguments) -> None:
    """Mark what learns; with LoRA nothing of the model itself does."""
    {"full": _train_full, "freeze": _train_some_layers, "lora": _freeze_all}[arguments.finetuning_type](
        model, family, arguments
    )
    for path in family.idle:
        model.get_submodule(path).requires_grad_(False)


def _refuse_nothing(model: torch.nn.Module) -> None:
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            "nothing is left to train: every part of the model is frozen; set one of freeze_language_model, "
            "freeze_vision_tower and freeze_multi_modal_projector to false"
        )


def run_without_graph(module: torch.nn.Module) -> None:
    """Make calls of ``module`` record no gradient graph, whatever its hooks ask for.

    Gradient checkpointing marks the patch embedding's output as requiring a gradient; without this a wholly frozen
    tower would be back-propagated through for nothing.
    """
    state: list[bool] = []

    def enter(*_: object) -> None:
        state.append(torch.is_grad_enabled())
        torch.set_grad_enabled(False)

    def leave(*_: object) -> None:
        torch.set_grad_enabled(state.pop())

    module.register_forward_pre_hook(enter)
    module.register_forward_hook(leave, always_call=True)


def _spare_frozen_tower(model: PreTrainedModel, family: Family) -> None:
    """Run what is wholly frozen of the vision tower without a graph: all of it, or all but a trained merger."""
    tower = model.get_submodule(family.tower)
    trained = {family.part_of(name) for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not trained & {"tower", "merger"}:
        run_without_graph(tower)
    elif "tower" not in trained:
        for name, part in tower.named_children():
            if f"{family.tower}.{name}" not in family.mergers:
                for module in part if isinstance(part, torch.nn.ModuleList) else (part,):
                    run_without_graph(module)


def _train_full(model: PreTrainedModel, family: Family, arguments: TuningArguments) -> None:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not is_frozen(family.part_of(name), arguments))


def _freeze_all(model: PreTrainedModel, family: Family, arguments: TuningArguments) -> None:
    model.requires_grad_(False)


def _train_some_layers(model: PreTrainedModel, family: Family, arguments: TuningArguments) -> None:
    """Train the last n language layers (the first n for a negative n), or some of their modules.

    The vision tower and the merger train as a whole where they are not frozen.
    """
    layers = model.get_submodule(family.layers)
    assert isinstance(layers, torch.nn.ModuleList)
    count = arguments.freeze_trainable_layers
    if count == 0 or abs(count) > len(layers):
        raise ConfigError(
            f"freeze_trainable_layers is {count}, but the model has {len(layers)} language layers; write 1 to "
            f"{len(layers)}, or a negative number for the first ones"
        )
    chosen = range(len(layers) - count, len(layers)) if count > 0 else range(-count)
    wanted = set(arguments.freeze_trainable_modules)
    known = {part for name, _ in layers.named_modules() for part in name.split(".") if part and not part.isdigit()}
    unknown = sorted(wanted - known - {"all"})
    if unknown:
        raise ConfigError(
            f"freeze_trainable_modules: no module {unknown} in a layer (known: {', '.join(sorted(known))})"
        )
    if not wanted:
        raise ConfigError("freeze_trainable_modules is empty; write all, or names of modules inside a layer")
    for name, parameter in model.named_parameters():
        part = family.part_of(name)
        parameter.requires_grad_(part != "language" and not is_frozen(part, arguments))
    for index in chosen if not arguments.freeze_language_model else ():
        for name, parameter in layers[index].named_parameters():
            parameter.requires_grad_("all" in wanted or bool(wanted & set(name.split("."))))


def _set_precision(model: torch.nn.Module, *, bf16: bool, pure_bf16: bool) -> None:
    for parameter in model.parameters():
        if not parameter.is_floating_point():
            continue  # kept in few bits
        if pure_bf16 or (bf16 and not parameter.requires_grad):
            parameter.data = parameter.data.to(torch.bfloat16)
        elif parameter.requires_grad or not bf16:
            parameter.data = parameter.data.to(torch.float32)
