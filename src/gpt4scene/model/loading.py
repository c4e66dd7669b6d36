"""Loading a checkpoint's tokenizer and weights, with every missing part named."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from gpt4scene.errors import DataError
from gpt4scene.families.registry import FAMILIES, family_of
from gpt4scene.model.adapter_chain import chain, check_chain, merge_all
from gpt4scene.model.attention import text_attention
from gpt4scene.model.checkpoint import check_config
from gpt4scene.model.compat import check_versions, hide_bars_from_logs, keep_used_renamings, whole_models
from gpt4scene.model.delta import fork_states
from gpt4scene.model.experts import joined
from gpt4scene.model.folder import ModelFolder, check_weights, local_folder
from gpt4scene.model.kernels import use_flash_3
from gpt4scene.model.patch_product import embed_by_products
from gpt4scene.model.tower import tower_attention_name
from gpt4scene.model.weight_files import check_files
from gpt4scene.model.weight_samples import broken_tensor, check_twins

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig


def load_tokenizer(model_name_or_path: str | Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a checkpoint; ``DataError`` where its files are missing or broken."""
    folder = local_folder(model_name_or_path)
    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder}: the tokenizer can't be loaded ({_in_one_line(error)})") from error


def load_model(
    model_name_or_path: str | Path,
    *,
    dtype: torch.dtype | str = "auto",
    attention: str = "sdpa",
    device: torch.device | str | None = None,
    quantization_config: BitsAndBytesConfig | None = None,
) -> PreTrainedModel:
    """Return the model with our pack attention in its language part and ``attention`` in its vision tower.

    ``sdpa`` is our attention in both: PyTorch's fused kernels, called once a layer.

    Old checkpoints (flat config, ``visual.*`` and ``model.layers.*`` keys) load the same. A checkpoint with missing or
    mismatched weights is refused, since random weights would go unnoticed. Whatever ``attention`` is, the branches of
    a pack do not see each other: ``eager`` takes our plain attention for the language part, every other value our fused
    one. ``quantization_config`` quantises weights as they are loaded, on ``device``.
    """
    check_versions()
    hide_bars_from_logs()
    if attention == "flash_attention_3":  # PyTorch calls it in place of its own, so that all else stays as it is
        use_flash_3()
        attention = "sdpa"
    folder = local_folder(model_name_or_path)
    family = family_of(check_checkpoint(folder).config)
    parts = {"text_config": text_attention(attention), "vision_config": tower_attention_name(attention)}
    try:
        loaded = AutoModelForImageTextToText.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation=parts,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported, and refused below
            **_quantised_on(device, quantization_config),
        )
    except (RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"{folder}: the weights can't be loaded ({_in_one_line(error)})") from error
    model, info = cast(tuple[PreTrainedModel, dict[str, Any]], loaded)
    model.set_attn_implementation(parts)  # else one that config.json names inside a part would win
    wrong = [f"missing {name}" for name in sorted(info["missing_keys"])]
    wrong += [f"wrong shape {entry[0]}" for entry in sorted(info["mismatched_keys"])]
    wrong += [f"unknown {name}" for name in sorted(info["unexpected_keys"]) if not name.endswith("inv_freq")]
    _refuse_misfits(folder, family.name, wrong)
    _refuse_non_finite(model, folder)
    _refuse_sliding_window(model, folder)
    keep_used_renamings(model)
    embed_by_products(model)
    fork_states(model)
    if device is not None and quantization_config is None:
        model.to(device)  # pyright: ignore[reportArgumentType]  (a decorated method, whose type forgets self)
    return model


def _quantised_on(device: torch.device | str | None, quantization_config: BitsAndBytesConfig | None) -> dict[str, Any]:
    """Return what ``from_pretrained`` must be told to quantise weights where they will be used."""
    if quantization_config is None:
        return {}
    return {"quantization_config": quantization_config, "device_map": {"": str(device or "cpu")}}


def _refuse_sliding_window(model: PreTrainedModel, folder: Path) -> None:
    layer_types = getattr(model.config.text_config, "layer_types", None) or []
    if "sliding_attention" in layer_types:
        raise DataError(
            f"{folder}: sliding-window attention is not supported; set use_sliding_window to false in config.json"
        )


def _refuse_non_finite(model: PreTrainedModel, folder: Path) -> None:
    """Raise ``DataError`` at the first weight that holds NaN or infinity: one sum each, seconds for 7 billion."""
    for name, weight in model.named_parameters():
        if not bool(torch.isfinite(weight.detach().sum(dtype=torch.float32))):
            if bool(torch.isfinite(weight).all()):
                continue  # finite numbers of a sum beyond fp32
            raise DataError(f"{folder}: '{name}' holds NaN or infinite numbers; take an earlier checkpoint")


def load_merged(folder: ModelFolder, **options: Any) -> PreTrainedModel:
    """Return the model of ``folder``, with its LoRA adapter, if it has one, and those below it merged in memory.

    ``options`` are those of ``load_model``. An adapter that does not fit, or is of another base, is refused before the
    model is loaded.
    """
    adapters = [] if folder.adapter is None else chain([folder.adapter])
    if adapters:
        check_chain(adapters, meta_model(folder.base), folder.base)
    return merge_all(load_model(folder.base, **options), adapters)


def meta_model(folder: Path) -> PreTrainedModel:
    """Return the model of a checkpoint without weights, on the meta device: its modules, names and shapes."""
    check_config(folder)
    try:
        config = AutoConfig.from_pretrained(folder)
        make = cast(type[PreTrainedModel], MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)])
        with whole_models(), torch.device("meta"):
            return make(config)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, StrictDataclassError) as error:
        raise DataError(f"{folder / 'config.json'}: no model can be made of it ({_in_one_line(error)})") from error


def check_checkpoint(folder: Path) -> PreTrainedModel:
    """Return the model of a checkpoint without weights, once its files fit each other; loads no weight.

    Raises ``DataError`` as ``check_weights`` and ``check_twins`` do, and where the tensors in the files are not those
    of ``config.json``, or no finite numbers in the three short pieces of each that are looked at.
    """
    stored = check_weights(folder)
    check_twins(folder)
    model = meta_model(folder)
    family, wanted = family_of(model.config), {name: tuple(one.shape) for name, one in model.state_dict().items()}
    found, wrong = set(), []
    for name, tensor in joined(stored).items():
        if name.startswith(family.unused):
            continue
        place = next((one for one in family.current_names(name) if one in wanted), None)
        if place is None:
            wrong += [] if name.endswith("inv_freq") else [f"unknown {name}"]
            continue
        wrong += [f"{name} under an older and a newer name"] if place in found else []
        found.add(place)
        shapes = family.stored_shapes(place, wanted[place])
        if len(shapes) > 1 and shapes[0] == shapes[1]:
            wrong.append(f"square {name}, of which nobody can tell whether its axes are swapped, as in releases")
        if tensor.shape not in shapes:
            wrong.append(f"wrong shape {name}: {list(tensor.shape)}, not {list(wanted[place])}")
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    wrong += [f"missing {name}" for name in sorted(set(wanted) - found - tied)]
    _refuse_misfits(folder, family.name, wrong)
    if name := broken_tensor(folder):
        raise DataError(f"{folder}: '{name}' holds NaN or infinite numbers; take an earlier checkpoint")
    return model


def unused_weights(folder: Path) -> str | None:
    """Return a sentence about the tensors of a checkpoint that its family is known to hold for others, if any."""
    beginnings = FAMILIES[check_config(folder)["model_type"]].unused
    found = [name for name in check_files(folder) if name.startswith(beginnings)] if beginnings else []
    if not found:
        return None
    kinds = ", ".join(f"{one}*" for one in beginnings)
    return f"{folder}: {len(found)} tensors ({kinds}) are neither loaded nor saved; other programs draft by them"


def _refuse_misfits(folder: Path, family: str, wrong: list[str]) -> None:
    if wrong:
        shown = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise DataError(
            f"{folder}: weights do not fit the {family} of its config.json: {shown}; take config.json and weights of "
            "one checkpoint, in which adapters are merged"
        )


def _in_one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
