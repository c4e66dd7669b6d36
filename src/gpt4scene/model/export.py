"""Merging a LoRA adapter into its base: a plain checkpoint that transformers and vLLM load."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from gpt4scene.errors import DataError
from gpt4scene.model.loading import (
    base_of_adapter,
    is_adapter,
    load_model,
    load_tokenizer,
    local_folder,
    save_processor_files,
)
from gpt4scene.settings.arguments import Arguments, key


def load_with_adapter(adapter: str | Path, base: str | Path | None = None, **options):
    """Return the base model with the LoRA ``adapter`` merged in memory; ``options`` as in ``load_model``.

    ``base`` defaults to the checkpoint that the adapter's ``adapter_config.json`` names.
    """
    from peft import PeftModel

    if not is_adapter(adapter):
        raise DataError(f"{adapter}: holds no LoRA adapter (adapter_config.json is missing)")
    model = load_model(base or base_of_adapter(adapter), **options)
    return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()


def merge_adapter(adapter: str | Path, out: str | Path, base: str | Path | None = None, dtype: str = "auto") -> Path:
    """Write ``base`` plus ``adapter`` as one checkpoint with tokenizer and processor files into ``out``; return it.

    ``out`` must not exist yet; it appears whole or not at all. Weights keep the base's precision unless ``dtype`` says
    otherwise (``float32``, ``bfloat16``).
    """
    out = Path(out)
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out}: is there already and not empty; choose another --out or remove it")
    base_folder = local_folder(base or base_of_adapter(adapter))
    model = load_with_adapter(adapter, base_folder, dtype=dtype if dtype == "auto" else getattr(torch, dtype))
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    load_tokenizer(base_folder).save_pretrained(partial)
    save_processor_files(base_folder, partial)
    if out.exists():
        out.rmdir()
    partial.rename(out)
    return out


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
