"""The files of a LoRA adapter: read whole, of a method that is done here, with finite numbers in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json
from gpt4scene.model.folder import ADAPTER_CONFIG, adapter_weights
from gpt4scene.model.weight_files import load_pickle, read_header

_UNSUPPORTED = (
    "layer_replication",
    "alora_invocation_tokens",
    "target_parameters",
    "trainable_token_indices",
    "megatron_config",
    "arrow_config",
    "use_qalora",
    "use_bdlora",
)


@dataclass(frozen=True)
class Adapter:
    """An adapter as its folder holds it."""

    folder: Path
    weights: Path
    description: dict[str, Any]
    tensors: dict[str, torch.Tensor]


def read_adapter(folder: Path) -> Adapter:
    """Return the LoRA adapter in ``folder``.

    Raises ``DataError`` where it is of another method, asks for what is not done here, or has a broken or non-finite
    weight file.
    """
    weights = adapter_weights(folder)
    path = folder / ADAPTER_CONFIG
    description = read_json(path, "adapter's description")
    if not isinstance(description, dict):
        raise DataError(f"{path}: not a description of an adapter; fetch it again")
    _check_method(path, description)
    if weights.suffix == ".safetensors":
        read_header(weights)
        tensors = load_file(weights)
    else:
        tensors = load_pickle(weights)
    if not tensors:
        raise DataError(f"{weights}: holds no tensors, so there is no adapter to use")
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise DataError(f"{weights}: '{name}' holds NaN or infinite numbers; its training has failed")
    return Adapter(folder, weights, description, tensors)


def _check_method(path: Path, description: Mapping[str, Any]) -> None:
    from peft import LoraConfig

    method = description.get("peft_type")
    if method != "LORA":
        named = f"of the method {method}" if method else "of no named method ('peft_type' is missing)"
        raise DataError(f"{path}: an adapter {named}; only LoRA adapters are used here")
    unsupported = sorted(name for name in _UNSUPPORTED if description.get(name))
    if unsupported:
        raise DataError(f"{path}: asks for {', '.join(unsupported)}, which is not done here")
    known = {field.name for field in fields(LoraConfig)}
    unknown = sorted(name for name, value in description.items() if name not in known and value)
    if unknown:
        raise DataError(f"{path}: asks for {', '.join(unsupported + unknown)}, which the installed peft does not know")
