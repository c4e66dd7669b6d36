"""A new LoRA adapter of any variant: DoRA, rsLoRA, PiSSA, and modules beside it that are trained whole."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel

from gpt4scene.errors import ConfigError
from gpt4scene.families.family import Family
from gpt4scene.families.registry import family_of
from gpt4scene.model.adapters import condensed, few, untie
from gpt4scene.model.compat import wrapped_by_peft
from gpt4scene.model.lora import targets
from gpt4scene.registry import nearest
from gpt4scene.settings.arguments import TuningArguments
from gpt4scene.settings.methods import MethodArguments

if TYPE_CHECKING:
    from peft import PeftModel


def add_lora(model: PreTrainedModel, arguments: TuningArguments, methods: MethodArguments) -> PeftModel:
    """Return ``model`` wrapped by peft, with a new adapter; PiSSA takes what it starts from out of the weights.

    Raises ``ConfigError`` as ``check_new_lora`` does.
    """
    from peft import LoraConfig

    names, whole = _chosen(model, arguments, methods)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=arguments.lora_rank,
        lora_alpha=arguments.lora_scale,
        lora_dropout=arguments.lora_dropout,
        target_modules=condensed(names, [name for name, _ in model.named_modules()]),
        modules_to_save=whole or None,
        use_dora=methods.use_dora,
        use_rslora=methods.use_rslora,
        init_lora_weights=methods.pissa or True,  # pyright: ignore[reportArgumentType]  (peft lists 'pissa_niter_[…]')
    )
    untie(model, config)
    return wrapped_by_peft(model, config)


def check_new_lora(model: PreTrainedModel, arguments: TuningArguments, methods: MethodArguments) -> None:
    """Raise ``ConfigError`` where ``lora_target`` or ``additional_target`` names nothing that may learn.

    Also where a part has a learning rate of its own, and nothing in it learns.
    """
    _chosen(model, arguments, methods)


def _chosen(model: PreTrainedModel, arguments: TuningArguments, methods: MethodArguments) -> tuple[set[str], list[str]]:
    """Return the names of the modules that get LoRA, and of those that are trained whole."""
    whole = _whole(model, methods.additional_target or ())
    names, family = targets(model, arguments), family_of(model.config)
    for one in whole:
        if methods.quantization_bit and _has_few_bits(model.get_submodule(one), one, family):
            raise ConfigError(
                f"additional_target: '{one}' is kept in {methods.quantization_bit} bits, so it can't be trained whole"
            )
        if inside := sorted(name for name in names if f"{name}.".startswith(f"{one}.")):
            raise ConfigError(
                f"additional_target: '{one}' is trained whole, but lora_target gives LoRA to {few(inside)} in it; name "
                "other modules in one of them"
            )
    learning = {family.part_of(f"{name}.") for name in (*names, *whole)}
    for part, rate, frozen in (
        ("tower", methods.tower_learning_rate, "freeze_vision_tower"),
        ("merger", methods.merger_learning_rate, "freeze_multi_modal_projector"),
    ):
        if rate is not None and part not in learning:
            raise ConfigError(
                f"{part}_learning_rate is for a part that learns; write {frozen}: false, or name its modules in "
                "additional_target"
            )
    return names, whole


def _has_few_bits(module: torch.nn.Module, name: str, family: Family) -> bool:
    """Return whether weights in a module of this name are quantised: linear modules of the language layers are."""
    linear = any(isinstance(one, torch.nn.Linear) for one in module.modules())
    return linear and name.startswith(f"{family.layers}.")


def _whole(model: PreTrainedModel, wanted: Collection[str]) -> list[str]:
    """Return the full names of the modules that ``additional_target`` names, by the end of their names.

    A module inside another one of them is left out, since it learns with that one.
    """
    family, found = family_of(model.config), []
    modules = [name for name, module in model.named_modules() if any(True for _ in module.parameters())]
    for one in wanted:
        named = [
            name
            for name in modules
            if any(alias == one or alias.endswith(f".{one}") for alias in family.all_names(name))
        ]
        if not named:
            known = sorted({name.rsplit(".", 1)[-1] for name in modules if name and not name[-1].isdigit()})
            raise ConfigError(
                f"additional_target: no module is called '{one}'{nearest(one, known)} (such as embed_tokens, lm_head)"
            )
        for name in named:
            if any(f"{part}.".startswith(f"{name}.") for part in (family.tower, family.layers)):
                raise ConfigError(
                    f"additional_target: '{one}' is a whole part of the model; write finetuning_type: full or freeze"
                )
        found += named
    return sorted({name for name in found if not any(name.startswith(f"{other}.") for other in found)})
