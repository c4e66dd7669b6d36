"""PiSSA adapters as plain LoRA: what they started from lies beside them, so that the whole base takes them.

PiSSA (arXiv 2404.02948) trains W - s B0 A0 + s B A, where s B0 A0 are the largest singular parts of the weight W. As a
plain LoRA on W that is s (B A - B0 A0), of twice the rank. It is exact in fp32. Where W is kept in bf16, peft rounds
W - s B0 A0 to bf16, which the plain LoRA leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from gpt4scene.errors import DataError
from gpt4scene.files.whole import whole_file, whole_folder, write_json
from gpt4scene.model.adapter_files import Adapter
from gpt4scene.model.folder import ADAPTER_CONFIG
from gpt4scene.model.weight_files import read_header

START = "pissa_init.safetensors"
"""File beside an adapter; no folder, since transformers takes folders in a checkpoint for further adapters."""
CONVERTED = "pissa_converted"
"""Folder inside an adapter's, of the name that LLaMA-Factory gives it."""
_WEIGHTS = "adapter_model.safetensors"


def started_from(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of the LoRA matrices of a model wrapped by peft, under the names that they are saved by."""
    from peft import get_peft_model_state_dict

    held = get_peft_model_state_dict(model)
    return {name: tensor.detach().cpu().clone() for name, tensor in held.items() if _is_matrix(name)}


def write_start(adapter: Path, start: Mapping[str, torch.Tensor]) -> None:
    """Write what the adapter in a folder started from beside it."""
    with whole_file(adapter / START) as partial:
        save_file({name: tensor.contiguous() for name, tensor in start.items()}, partial, {"format": "pt"})


def write_converted(adapter: Adapter) -> Path:
    """Write a PiSSA adapter as plain LoRA into its folder, and return the place."""
    folder, plain = adapter.folder / CONVERTED, as_plain_lora(adapter)
    with whole_folder(folder, replace=True) as partial:
        save_file(plain.tensors, partial / _WEIGHTS, {"format": "pt"})
        write_json(partial / ADAPTER_CONFIG, plain.description, indent=2)
    return folder


def as_plain_lora(adapter: Adapter) -> Adapter:
    """Return a PiSSA adapter as the plain LoRA of twice the rank that does the same to the whole base; others as is.

    Raises ``DataError`` where what it started from does not fit it.
    """
    path = adapter.folder / START
    if not path.is_file():
        return adapter
    read_header(path)
    start, tensors = load_file(path), dict(adapter.tensors)
    lora = {name for name in tensors if _is_matrix(name)}
    if lora != set(start) or any(tensors[name].shape != start[name].shape for name in lora):
        raise DataError(f"{path}: is not what the adapter beside it started from; fetch the folder again")
    for name in lora:
        first = ".lora_A." in name
        tensors[name] = torch.cat([tensors[name], start[name] if first else -start[name]], dim=0 if first else 1)
    return replace(adapter, tensors=tensors, description=_of_twice_the_rank(adapter.description))


def _is_matrix(name: str) -> bool:
    """Return whether a tensor of an adapter is an A or a B; DoRA's lengths, which are none, hold for any start."""
    return ".lora_A." in name or ".lora_B." in name


def _of_twice_the_rank(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return an adapter's description with its ranks doubled and the scale of its update the same."""
    larger = 2**0.5 if description.get("use_rslora") else 2
    changed = {"r": 2 * description["r"], "lora_alpha": larger * description["lora_alpha"], "init_lora_weights": True}
    for name, factor in (("rank_pattern", 2), ("alpha_pattern", larger)):
        changed[name] = {key: factor * value for key, value in (description.get(name) or {}).items()}
    return dict(description) | changed
