"""QLoRA: the linear modules of the language layers kept in 4 or 8 bits by bitsandbytes while they are frozen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gpt4scene.families.family import Family
from gpt4scene.families.registry import FAMILIES
from gpt4scene.families.shape import ModelShape
from gpt4scene.model.checkpoint import check_config
from gpt4scene.settings.methods import MethodArguments

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig


def quantisation(methods: MethodArguments, family: Family, computing: torch.dtype) -> BitsAndBytesConfig | None:
    """Return what transformers must know to quantise a checkpoint while it is loaded; None where nobody asked.

    Vision tower, mergers, embeddings, LM head and experts stay whole. ``computing`` is the precision that 4 bits are
    multiplied in. 8 bits split off channels with numbers above 6, as bitsandbytes has it.
    """
    if methods.quantization_bit is None:
        return None
    from transformers import BitsAndBytesConfig

    whole = [re.escape(family.tower), "lm_head", *map(re.escape, family.mergers)]
    if methods.quantization_bit == 8:
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=whole)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=methods.quantization_type,
        bnb_4bit_use_double_quant=methods.double_quantization,
        bnb_4bit_compute_dtype=computing,
        llm_int8_skip_modules=whole,
    )


def quantised_on(
    methods: MethodArguments, folder: Path, computing: torch.dtype, device: torch.device
) -> dict[str, Any]:
    """Return what ``load_model`` must be told to quantise the checkpoint in ``folder`` on ``device``; else nothing."""
    if methods.quantization_bit is None:
        return {}
    family = FAMILIES[check_config(folder)["model_type"]]
    return {"quantization_config": quantisation(methods, family, computing), "device": device}


def unquantised(methods: MethodArguments, shape: ModelShape) -> str | None:
    """Return a sentence about what stays whole in a language model with experts, if it is to be quantised."""
    if methods.quantization_bit is None or not shape.experts:
        return None
    few, all_of_them = shape.linear_weights / 1e9, shape.all_layer_parameters / 1e9
    return (
        f"quantization_bit: experts are no linear modules and stay whole, so that {few:.3g} of the {all_of_them:.3g} "
        f"billion numbers of the layers are kept in {methods.quantization_bit} bits"
    )
