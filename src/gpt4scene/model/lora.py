"""LoRA in training: which modules get it, and an adapter to go on with, which the settings must agree with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel

from gpt4scene.errors import ConfigError, DataError
from gpt4scene.families.registry import family_of, shape_of
from gpt4scene.model.adapters import check_adapter, few, load_adapter
from gpt4scene.model.folder import adapter_weights
from gpt4scene.model.weight_samples import refuse_other_base
from gpt4scene.settings.arguments import TuningArguments

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel

_PARTS = (
    ("tower", "freeze_vision_tower", "the vision tower"),
    ("merger", "freeze_multi_modal_projector", "the projector"),
)


def is_frozen(part: str, arguments: TuningArguments) -> bool:
    """Return whether the settings keep a part of the model as it is."""
    return {
        "tower": arguments.freeze_vision_tower,
        "merger": arguments.freeze_multi_modal_projector,
        "language": arguments.freeze_language_model,
    }[part]


def continue_lora(
    model: PreTrainedModel, arguments: TuningArguments, adapter: Path, said: Collection[str] = ()
) -> PeftModel:
    """Return ``model`` wrapped by peft, with the adapter in a folder to go on training; raises as the checks do.

    LoRA in frozen parts stays as it is. Modules that the adapter holds whole go on learning, whatever their part is.
    """
    check_continued(model, arguments, adapter, said)
    family = family_of(model.config)
    tuned = load_adapter(model, adapter, trainable=True)
    for name, parameter in model.named_parameters():
        whole = ".modules_to_save." in name
        if parameter.requires_grad and not whole and is_frozen(family.part_of(name), arguments):
            parameter.requires_grad_(False)
    return tuned


def spare_casts(tuned: torch.nn.Module) -> int:
    """Let plain LoRA modules take their input as it comes, where autocast casts it anyway; return how many do so.

    peft casts a bf16 input to fp32, the precision of its matrices, and autocast casts that back to bf16 for the
    product: two passes over every input, and a copy of it kept for the backward pass. Numbers stay the same to the
    last bit. With dropout they do on CUDA alone, where the mask is another one, drawn for bf16: a CPU rounds the
    dropout's factor to the input's precision, so there modules with dropout stay as they are.
    """
    from peft.tuners.lora import LoraLayer

    spared = 0
    for module in tuned.modules():
        if not isinstance(module, LoraLayer) or module.lora_variant:
            continue
        drops = any(not isinstance(one, torch.nn.Identity) for one in module.lora_dropout.values())
        if not drops or torch.cuda.is_available():
            module.cast_input_dtype_enabled = False
            spared += 1
    return spared


def check_continued(
    model: PreTrainedModel, arguments: TuningArguments, adapter: Path, said: Collection[str] = ()
) -> str:
    """Return a sentence about the adapter to go on with.

    Raises ``DataError`` where it does not fit the model, was trained on another base, or can't learn; ``ConfigError``
    for every argument that asks for something else than it has. An argument at its default asks for that where the
    user wrote it (``said``); left out, it asks for nothing: what an adapter is need not be repeated.
    """
    config, tensors = check_adapter(adapter, model)
    lora = {name: tensor for name, tensor in tensors.items() if ".lora_" in name}
    modules = {_module(name) for name in lora}
    refuse_other_base(adapter, Path(model.name_or_path or ""))
    if wrong := _differences(config, modules, model, arguments, said):
        raise ConfigError(*wrong)
    family = family_of(model.config)
    learning = {n: one for n, one in lora.items() if not is_frozen(family.part_of(_module(n) + "."), arguments)}
    _refuse_dead(adapter_weights(adapter), learning)
    kinds = [name for name, used in (("DoRA", config.use_dora), ("rsLoRA", config.use_rslora)) if used]
    whole = [f"whole: {', '.join(config.modules_to_save)}"] if config.modules_to_save else []
    about = [f"rank {config.r}", f"alpha {config.lora_alpha}", f"dropout {config.lora_dropout}", *kinds]
    short = sorted({name.rsplit(".", 1)[-1] for name in modules})
    about += [f"in {len(modules)} modules ({', '.join(short)})", *whole]
    return f"goes on with the LoRA adapter {adapter}: {', '.join(about)}"


def _learning(model: PreTrainedModel, arguments: TuningArguments) -> set[str]:
    """Return the names of the linear modules in the parts that are not frozen."""
    family = family_of(model.config)
    return {
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and name != "lm_head"
        and not is_frozen(family.part_of(name + "."), arguments)
    }


def targets(model: PreTrainedModel, arguments: TuningArguments) -> set[str]:
    """Return the names of the modules that ``lora_target`` asks for; frozen parts of the model never get LoRA."""
    wanted, learning = set(arguments.lora_target), _learning(model, arguments)
    known = {name.rsplit(".", 1)[-1] for name in learning}
    unknown = sorted(wanted - known - {"all"})
    if unknown:
        listed = ", ".join(sorted(known)) or "none, since all parts are frozen"
        experts = "; experts learn with finetuning_type full or freeze" if shape_of(model.config).experts else ""
        raise ConfigError(
            f"lora_target: no linear module {unknown} in the parts that are not frozen (known: {listed}){experts}"
        )
    targets = {name for name in learning if "all" in wanted or name.rsplit(".", 1)[-1] in wanted}
    if not targets:
        raise ConfigError(
            "lora_target: no module gets LoRA, since every part of the model is frozen"
            if wanted
            else "lora_target is empty; write all, or names of linear modules"
        )
    return targets


def _differences(
    config: LoraConfig, modules: set[str], model: PreTrainedModel, arguments: TuningArguments, said: Collection[str]
) -> list[str]:
    """Return a sentence for every argument that asks for something else than the adapter has."""
    default, wrong = type(arguments)(), []

    def asks(name: str) -> bool:
        return name in said or getattr(arguments, name) != getattr(default, name)

    for name, has in (
        ("lora_rank", config.r),
        ("lora_alpha", config.lora_alpha),
        ("lora_dropout", config.lora_dropout),
    ):
        asked = getattr(arguments, name)
        if asks(name) and asked not in (None, has):
            wrong.append(f"{name} is {asked}, but the adapter to go on with has {has}; leave the key out")
    if asks("lora_target"):
        asked, learning = targets(model, arguments), _learning(model, arguments)
        parted = [("lacks", asked - modules), ("has LoRA also in", (modules & learning) - asked)]
        said_so = [f"{word} {few(sorted(names))}" for word, names in parted if names]
        if said_so:
            wrong.append(
                f"lora_target is {', '.join(arguments.lora_target)}, but the adapter to go on with "
                f"{' and '.join(said_so)}; leave the key out, or start a new adapter"
            )
    family = family_of(model.config)
    held = {family.part_of(name + ".") for name in {*modules, *(config.modules_to_save or ())}}
    for part, key, called in _PARTS:
        if not is_frozen(part, arguments) and part not in held:
            wrong.append(
                f"{key} is false, but the adapter to go on with has nothing to learn in {called}; leave it out"
            )
    if not wrong and not config.modules_to_save and all(is_frozen(part, arguments) for part in held):
        wrong.append("nothing is left to train: every part that the adapter to go on with changes is frozen")
    return wrong


def _refuse_dead(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise ``DataError`` where both matrices of a module are zero: no gradient ever reaches them."""
    alive = {_module(name) for name, tensor in tensors.items() if "lora_magnitude" not in name and bool(tensor.any())}
    every = {_module(name) for name in tensors}
    if dead := sorted(every - alive):
        raise DataError(
            f"{path}: in {len(dead)} of {len(every)} modules both matrices are zero, so that they can never learn: "
            f"{few(dead)}; start a new adapter"
        )


def _module(tensor: str) -> str:
    """Return the module of a LoRA tensor."""
    return tensor.removeprefix("base_model.model.").partition(".lora_")[0]
