"""LoRA adapters, of this release and older ones, put on a model: every tensor finds its place, or none is used.

Module names changed with transformers 4.52, and peft passes over tensors whose names it does not find. So here the
tensors decide: each is led to the module that it was trained on, and the description is rewritten to agree.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import PreTrainedModel

from gpt4scene.errors import ConfigError, DataError
from gpt4scene.families.family import Family
from gpt4scene.families.registry import family_of
from gpt4scene.model.adapter_files import Adapter, read_adapter
from gpt4scene.model.compat import wrapped_by_peft
from gpt4scene.model.folder import ADAPTER_CONFIG, adapter_weights
from gpt4scene.model.pissa import as_plain_lora

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel

_WRAPPERS = ("base_model.model.", "module.", "_fsdp_wrapped_module.", "_orig_mod.")
_DEFAULT = "default"


@dataclass(frozen=True)
class _Place:
    """Where a tensor of the file belongs: a module of the model, its name in the file, and the rest of the key."""

    module: str
    written: str
    rest: str


def check_adapter(adapter: Path, model: PreTrainedModel) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    """Return peft's description and tensors of the adapter in a folder, for ``model``.

    The model may lie on the meta device. Tensors are named ``base_model.model.<module>.<part>``, with its modules.
    Raises ``DataError`` where the adapter does not fit.
    """
    return _fit(as_plain_lora(read_adapter(adapter)), model)


def load_adapter(model: PreTrainedModel, folder: Path, *, trainable: bool = False) -> PeftModel:
    """Return ``model`` wrapped by peft, with all tensors of the adapter in their places.

    Older names are translated. Raises ``DataError`` that names the tensors without a place and the places without a
    tensor.
    """
    from peft import set_peft_model_state_dict

    adapter = as_plain_lora(read_adapter(folder))
    config, state = _fit(adapter, model)
    config.inference_mode = not trainable
    config.base_model_name_or_path = model.name_or_path
    untie(model, config)
    try:
        tuned = wrapped_by_peft(model, config)
        result = set_peft_model_state_dict(tuned, state)
    except (RuntimeError, KeyError, ValueError) as error:
        raise DataError(f"{adapter.weights}: does not fit the model: {_first_line(error)}") from error
    missing = [name for name in result.missing_keys if "lora_" in name or ".modules_to_save." in name]
    wrong = [f"missing {name}" for name in missing] + [f"unknown {name}" for name in result.unexpected_keys]
    if wrong:
        raise DataError(f"{adapter.weights}: does not fit the model: {few(wrong)}")
    return tuned if trainable else tuned.eval()


def merge_adapter_into(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Return ``model`` with the adapter in ``folder`` merged into its weights, in place.

    Raises ``DataError`` where that changes no weight: all of the update is zero, or too small for the precision.
    """
    tuned = load_adapter(model, folder)
    if not _merge_layers(tuned):
        raise DataError(
            f"{adapter_weights(folder)}: merging changes no weight of the model (its lora_B are zero, or too small for "
            f"{model.dtype}); the adapter was never trained, so use the base model itself"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft says that all is merged already, which is so
        return cast(PreTrainedModel, tuned.merge_and_unload())


def _merge_layers(tuned: PeftModel) -> int:
    """Merge layer by layer; return in how many modules a weight has changed."""
    from peft.tuners.lora import LoraLayer
    from peft.utils.other import ModulesToSaveWrapper

    changed = 0
    for module in list(tuned.modules()):
        if isinstance(module, LoraLayer):
            weights = [weight for weight in module.get_base_layer().parameters()]
            before = [weight.detach().clone() for weight in weights]
            module.merge()
            after = module.get_base_layer().parameters()
            changed += any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
        elif isinstance(module, ModulesToSaveWrapper):
            saved = module.modules_to_save[_DEFAULT].state_dict()
            changed += any(not torch.equal(old, saved[key]) for key, old in module.original_module.state_dict().items())
    return changed


def _fit(adapter: Adapter, model: PreTrainedModel) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    """Return peft's description and tensors of the adapter under the module names of ``model``."""
    from peft import LoraConfig

    family, modules = family_of(model.config), dict(model.named_modules())
    places = {key: _place(key, family, modules) for key in adapter.tensors}
    homeless = [key for key, place in places.items() if place is None]
    if homeless:
        raise DataError(
            f"{adapter.weights}: {len(homeless)} of {len(places)} tensors have no place in this {family.name} model of "
            f"{model.config.get_text_config().num_hidden_layers} layers: {few(homeless)}; take the base model that "
            "the adapter was trained on"
        )
    found = {key: place for key, place in places.items() if place is not None}
    known = {field.name for field in fields(LoraConfig)}
    config = LoraConfig(**{name: value for name, value in adapter.description.items() if name in known})
    saved = _saved_modules(adapter, config, family, modules, found)
    lora = {place.module: place.written for place in found.values() if place.rest.startswith("lora_")}
    _check_complete(adapter, config, family, modules, set(lora))
    _check_shapes(adapter, config, modules, found)
    config.rank_pattern = _renamed(config.rank_pattern, lora)
    config.alpha_pattern = _renamed(config.alpha_pattern, lora)
    if lora:
        config.target_modules = condensed(set(lora), list(modules))
        config.exclude_modules = config.layers_to_transform = config.layers_pattern = None
    config.modules_to_save = saved or None
    state = {f"base_model.model.{p.module}.{p.rest}": adapter.tensors[key] for key, p in found.items()}
    if len(state) < len(found):
        raise DataError(f"{adapter.weights}: holds the same tensor under an older and a newer name")
    return config, state


def _place(key: str, family: Family, modules: Mapping[str, torch.nn.Module]) -> _Place | None:
    """Return where the tensor called ``key`` belongs: the deepest module of that name that can hold it."""
    path = key
    while wrapper := next((prefix for prefix in _WRAPPERS if path.startswith(prefix)), None):
        path = path.removeprefix(wrapper)
    path = re.sub(r"\.modules_to_save(\.default)?\.", ".", path).replace(".default.", ".").removesuffix(".default")
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        written, rest = ".".join(parts[:cut]), ".".join(parts[cut:])
        for name in family.current_names(written):
            if name in modules:
                held = {own for own, _ in modules[name].named_parameters(recurse=False)}
                fits = rest.startswith("lora_") or rest.removeprefix("base_layer.") in held
                return _Place(name, written, rest) if fits else None
    return None


def _saved_modules(
    adapter: Adapter,
    config: LoraConfig,
    family: Family,
    modules: Mapping[str, torch.nn.Module],
    places: Mapping[str, _Place],
) -> list[str]:
    """Return today's names of the modules that the adapter holds whole."""
    holding = {place.module for place in places.values() if not place.rest.startswith("lora_")}
    saved: list[str] = []
    for wanted in config.modules_to_save or []:
        named = [
            name
            for name in modules
            if any(alias == wanted or alias.endswith(f".{wanted}") for alias in family.all_names(name))
        ]
        whole = [name for name in named if any(held == name or held.startswith(f"{name}.") for held in holding)]
        if not whole:
            raise DataError(f"{adapter.weights}: lacks '{wanted}', which {ADAPTER_CONFIG} names in modules_to_save")
        saved += whole
    return saved


def _check_complete(
    adapter: Adapter,
    config: LoraConfig,
    family: Family,
    modules: Mapping[str, torch.nn.Module],
    held: set[str],
) -> None:
    """Raise ``DataError`` where the description names modules that the file has no tensors for, or none that it has."""
    from peft.tuners.tuners_utils import check_target_module_exists

    if not config.target_modules or config.target_modules == "all-linear":
        return
    leaves = [name for name, module in modules.items() if not list(module.children())]

    def named_by(aliases: Callable[[str], list[str]]) -> set[str]:
        return {name for name in leaves if any(check_target_module_exists(config, one) for one in aliases(name))}

    today, before = named_by(lambda name: [name]), named_by(lambda name: family.all_names(name)[1:])
    named = [version for version in (today, before) if version]
    if not any(version & held for version in named):
        raise DataError(
            f"{adapter.folder / ADAPTER_CONFIG}: target_modules name no module that {adapter.weights.name} has tensors "
            "for; the two files are not of one adapter"
        )
    lacking = min((version - held for version in named), key=len)
    if lacking:
        raise DataError(
            f"{adapter.weights}: lacks tensors for {len(lacking)} modules that {ADAPTER_CONFIG} names: "
            f"{few(sorted(lacking))}; fetch both files again"
        )


def _check_shapes(
    adapter: Adapter, config: LoraConfig, modules: Mapping[str, torch.nn.Module], places: Mapping[str, _Place]
) -> None:
    """Raise ``DataError`` where a tensor's shape is not that of its module and rank."""
    wrong = []
    for key, place in places.items():
        module, shape = modules[place.module], tuple(adapter.tensors[key].shape)
        rank = _pattern_value(config.rank_pattern, place.written) or config.r
        for wanted in _wanted_shape(module, place.rest, rank):
            if shape != wanted:
                wrong.append(f"{key} is {list(shape)}, not {list(wanted)}")
    if wrong:
        raise DataError(f"{adapter.weights}: tensors do not fit the model: {few(wrong)}; take the adapter's own base")


def _wanted_shape(module: torch.nn.Module, rest: str, rank: int) -> Iterator[tuple[int, ...]]:
    """Yield the shape that a tensor of the module must have, where it is known here; peft knows the others."""
    if isinstance(module, torch.nn.Linear) and rest in ("lora_A.weight", "lora_B.weight"):
        yield (rank, module.in_features) if rest[5] == "A" else (module.out_features, rank)
    elif not rest.startswith("lora_"):
        parameter = module.get_parameter(rest.removeprefix("base_layer."))
        yield tuple(getattr(parameter, "ds_shape", parameter.shape))  # ZeRO-3 leaves the whole shape there


def _pattern_value(pattern: Mapping[str, Any] | None, module: str) -> Any:
    """Return what a pattern of peft says of a module, or None."""
    from peft.utils.other import get_pattern_key

    return pattern.get(get_pattern_key(list(pattern), module)) if pattern else None


def _renamed(pattern: Mapping[str, Any] | None, names: Mapping[str, str]) -> dict[str, Any]:
    """Return a pattern written for older names, as one for today's: ``names`` leads from these to those."""
    values = {f"^{re.escape(new)}": _pattern_value(pattern, old) for new, old in names.items()}
    return {name: value for name, value in values.items() if value is not None}


def condensed(chosen: set[str], modules: list[str]) -> str | list[str]:
    """Return module names as one pattern over all layers where that names the same modules, else as a list."""
    pieces = {re.sub(r"\\\.\d+(?=\\\.)", r"\\.\\d+", re.escape(name)) for name in chosen}
    pattern = "|".join(sorted(pieces))
    same = {name for name in modules if re.fullmatch(pattern, name)} == chosen
    return pattern if same else sorted(chosen)


def untie(model: PreTrainedModel, config: LoraConfig) -> None:
    """Part the LM head from the embedding where the adapter changes one of them, since it was trained on that alone.

    Raises ``ConfigError`` under ZeRO-3, where no process holds the weight that both share.
    """
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if not isinstance(head, torch.nn.Linear) or not isinstance(embedding, torch.nn.Embedding):
        return
    ends = {name for name, module in model.named_modules() if module in (head, embedding)}
    targets = config.target_modules if isinstance(config.target_modules, (list, set)) else ()
    pattern = config.target_modules if isinstance(config.target_modules, str) else ""
    touched = ends & {*targets, *(config.modules_to_save or ())} or any(re.fullmatch(pattern, name) for name in ends)
    if touched and head.weight is embedding.weight and not config.ensure_weight_tying:
        if getattr(head.weight, "ds_shape", None) is not None:
            raise ConfigError(
                "additional_target: the head shares its weight with the embedding, and ZeRO-3 shares that out, so they "
                "can't be parted; write a DeepSpeed file of ZeRO-2"
            )
        head.weight = torch.nn.Parameter(head.weight.detach().clone())
        for described in (model.config, model.config.get_text_config()):  # programs read one or the other
            described.tie_word_embeddings = False


def _first_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


def few(names: list[str]) -> str:
    """Return the first three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
