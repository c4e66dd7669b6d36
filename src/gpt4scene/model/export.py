"""Merging a LoRA adapter into its base: a plain checkpoint that transformers and vLLM load."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch

from gpt4scene.model.loading import (
    base_of_adapter,
    is_adapter,
    load_model,
    load_tokenizer,
    local_folder,
    save_processor_files,
)
from gpt4scene.types import DataError


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


def main(argv: list[str] | None = None) -> int:
    """Merge a LoRA adapter; see ``--help``."""
    parser = argparse.ArgumentParser(prog="gpt4scene export", description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="base checkpoint; default: the one that the adapter names")
    parser.add_argument("--adapter", required=True, help="LoRA output folder")
    parser.add_argument("--out", required=True, help="checkpoint folder to write")
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16", "float16"))
    values = parser.parse_args(argv)
    print(f"wrote {merge_adapter(values.adapter, values.out, values.model, values.dtype)}")
    return 0
