"""Loading checkpoints: tokenizer, weights and processor files, with every missing part named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from gpt4scene.errors import DataError
from gpt4scene.model import attention as pack_attention
from gpt4scene.model.compat import check_versions, keep_used_renamings
from gpt4scene.model.families import family_of

PROCESSOR_FILES = (
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
    "chat_template.json",
    "chat_template.jinja",
)
"""Files beside weights and tokenizer that transformers and vLLM want; copied into every checkpoint that we write."""


def local_folder(model_name_or_path: str | Path) -> Path:
    """Return the folder of a checkpoint: the path itself, or the hub snapshot of that name (downloaded if need be)."""
    path = Path(model_name_or_path)
    if path.is_dir():
        return path
    name = str(model_name_or_path)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise DataError(
            f"{name}: no such folder; give a checkpoint folder or a hub name such as Qwen/Qwen2-VL-7B-Instruct"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(name))
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise DataError(
            f"{name}: neither a folder here nor reachable on the model hub ({type(error).__name__})"
        ) from error


def check_folder(folder: Path) -> None:
    """Raise ``DataError`` that lists everything a checkpoint folder lacks."""
    missing = [name for name in ("config.json", "preprocessor_config.json") if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        missing.append("tokenizer.json")
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
        missing.append("model weights (*.safetensors)")
    if missing:
        raise DataError(
            f"{folder}: not a complete checkpoint, missing {', '.join(missing)}; copy them from the base model"
        )


def load_tokenizer(model_name_or_path: str | Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a checkpoint; ``DataError`` where its files are missing or broken."""
    folder = local_folder(model_name_or_path)
    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder}: the tokenizer can't be loaded ({_first_line(error)})") from error


def load_model(
    model_name_or_path: str | Path,
    *,
    dtype: torch.dtype | str = "auto",
    attention: str = "sdpa",
    device: torch.device | str | None = None,
) -> PreTrainedModel:
    """Return the model with our pack attention in its language part and ``attention`` in its vision tower.

    Old checkpoints (flat config, ``visual.*`` and ``model.layers.*`` keys) load the same. A checkpoint with missing or
    mismatched weights is refused, since random weights would go unnoticed. ``eager`` keeps transformers' own
    attention everywhere (reference runs; packs of several branches then need a 4-D mask).
    """
    check_versions()
    folder = local_folder(model_name_or_path)
    check_folder(folder)
    family = family_of(AutoConfig.from_pretrained(folder))
    text = "eager" if attention == "eager" else pack_attention.NAME
    model, info = AutoModelForImageTextToText.from_pretrained(
        folder,
        dtype=dtype,
        attn_implementation={"text_config": text, "vision_config": attention},
        output_loading_info=True,
    )
    wrong = [f"missing {name}" for name in sorted(info["missing_keys"])]
    wrong += [f"wrong shape {entry[0]}" for entry in sorted(info["mismatched_keys"])]
    if wrong:
        shown = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise DataError(f"{folder}: weights do not fit {family.name}: {shown}")
    _refuse_sliding_window(model, folder)
    keep_used_renamings(model)
    return model if device is None else model.to(device)


def _refuse_sliding_window(model: PreTrainedModel, folder: Path) -> None:
    layer_types = getattr(model.config.text_config, "layer_types", None) or []
    if "sliding_attention" in layer_types:
        raise DataError(
            f"{folder}: sliding-window attention is not supported; set use_sliding_window to false in config.json"
        )


def save_processor_files(source: str | Path, target: str | Path) -> list[str]:
    """Copy the processor files of checkpoint ``source`` into ``target``; return the names copied."""
    copied = []
    for name in PROCESSOR_FILES:
        file = Path(source) / name
        if file.is_file():
            shutil.copyfile(file, Path(target) / name)
            copied.append(name)
    return copied


def base_of_adapter(folder: str | Path) -> str:
    """Return the base checkpoint that a LoRA folder names in its ``adapter_config.json``."""
    file = Path(folder) / "adapter_config.json"
    try:
        base = json.loads(file.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{file}: names no base model ({_first_line(error)})") from error
    return str(base)


def is_adapter(folder: str | Path) -> bool:
    """Whether ``folder`` holds a LoRA adapter instead of a whole model."""
    return (Path(folder) / "adapter_config.json").is_file()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
