"""Merging a LoRA adapter into its base: a plain checkpoint that transformers and vLLM load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from gpt4scene.files.whole import whole_folder
from gpt4scene.model.folder import (
    ModelFolder,
    base_of_adapter,
    check_adapter_folder,
    local_folder,
    save_processor_files,
)
from gpt4scene.model.loading import load_merged, load_tokenizer
from gpt4scene.settings.arguments import Arguments, key


def merge_adapter(adapter: str | Path, out: str | Path, base: str | Path | None = None, dtype: str = "auto") -> Path:
    """Write ``base`` plus ``adapter`` as one checkpoint with tokenizer and processor files into ``out``; return it.

    ``base`` is the checkpoint that the adapter names when left out. ``out`` must be missing or empty; it appears whole
    or not at all. Weights keep the base's precision unless ``dtype`` says otherwise (``float32``, ``bfloat16``).
    ``DataError`` where the adapter does not fit, was trained on another base, or changes no weight.
    """
    adapter = Path(adapter)
    check_adapter_folder(adapter)
    with whole_folder(out) as partial:
        folder = ModelFolder(local_folder(base) if base else base_of_adapter(adapter), adapter)
        model = load_merged(folder, dtype=dtype if dtype == "auto" else getattr(torch, dtype))
        model.save_pretrained(partial)
        load_tokenizer(folder.base).save_pretrained(partial)
        save_processor_files(folder.base, partial)
    return Path(out)


@dataclass(frozen=True)
class ExportArguments(Arguments):
    """What to merge; every field is a flag of ``gpt4scene export``."""

    adapter: str = key("LoRA output folder")
    out: str = key("checkpoint folder to write")
    model: str | None = key("base checkpoint; the one that the adapter names when left out", None)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = key(
        "number format of the weights; auto keeps it", "auto"
    )


def main(arguments: ExportArguments) -> int:
    """Merge as the arguments say; return 0 when done."""
    print(f"wrote {merge_adapter(arguments.adapter, arguments.out, arguments.model, arguments.dtype)}")
    return 0
