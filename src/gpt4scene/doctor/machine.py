"""What the machine has: Python, libraries, accelerators, Java, memory."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gpt4scene.doctor.findings import GIB, Finding
from gpt4scene.settings.arguments import attention_backend

if TYPE_CHECKING:
    import torch


def machine() -> Iterator[Finding]:
    """Findings about Python, libraries, accelerators, Java and memory."""
    yield Finding("ok" if sys.version_info >= (3, 10) else "wrong", f"Python {sys.version.split()[0]} (3.10 or newer)")
    for package, extra in (
        ("torch", "torch"),
        ("transformers", "torch"),
        ("accelerate", "torch"),
        ("peft", "torch"),
        ("deepspeed", "deepspeed"),
        ("fastapi", "serve"),
        ("pycocoevalcap", "metrics"),
    ):
        yield _package(package, extra)
    yield from _torch()
    _, note = attention_backend("fa2")
    yield Finding("note", note) if note else Finding("ok", "flash-attn is installed")
    yield _java()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = shutil.disk_usage(Path.cwd()).free
    yield Finding("ok", f"{os.cpu_count()} cores, {memory / GIB:.0f} GiB memory, {free / GIB:.0f} GiB free disk here")


def _package(name: str, extra: str) -> Finding:
    try:
        return Finding("ok", f"{name} {importlib.metadata.version(name)}")
    except importlib.metadata.PackageNotFoundError:
        level = "wrong" if extra == "torch" else "note"
        return Finding(level, f'{name} is not installed: pip install -c constraints.txt -e ".[{extra}]"')


def _torch() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    from gpt4scene.model.compat import check_versions

    try:
        check_versions()
    except ValueError as error:
        yield Finding("wrong", str(error))
    if not torch.cuda.is_available():
        yield _attention(torch.device("cpu"), torch.float32, "the CPU")
        yield Finding("note", "no CUDA device: the CPU will do for the demo and tests, not for a 7B model")
        return
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        bf16 = "bf16" if device.major >= 8 else "no bf16: leave bf16 out"
        level = "ok" if device.major >= 8 else "note"
        yield Finding(level, f"GPU {index}: {device.name}, {device.total_memory / GIB:.0f} GiB, {bf16}")
        half = torch.bfloat16 if device.major >= 8 else torch.float16
        for dtype in (half, torch.float32):
            yield _attention(torch.device("cuda", index), dtype, f"GPU {index}")


def _attention(device: torch.device, dtype: torch.dtype, place: str) -> Finding:
    """Return which kernel attends to packs in ``dtype``, with heads of 128 as the published models have."""
    from gpt4scene.model.kernels import kernel_sentence

    try:
        return Finding("ok", f"{place}: packs are attended to by {kernel_sentence(device, dtype, 128)}")
    except ValueError as error:
        return Finding("note", f"{place}: {error}")


def _java() -> Finding:
    from gpt4scene.metrics.java import NO_JAVA, find_java

    path = find_java()
    return Finding("ok", f"Java: {path}") if path else Finding("note", f"METEOR cannot be scored: {NO_JAVA}")
