"""What is missing or wrong here, before a GPU is booked: ``gpt4scene doctor [CONFIG.yaml] [--key value …]``.

Without settings it looks at the machine; with settings also at the run's files. Nothing is changed or downloaded.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gpt4scene.errors import ConfigError
from gpt4scene.files.whole import read_json
from gpt4scene.model.folder import ADAPTER_CONFIG, check_folder, is_hub_name, missing_shards, weights_bytes
from gpt4scene.settings.arguments import attention_backend
from gpt4scene.settings.config import TrainConfig, parse

GIB = 2**30


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``wrong`` makes the exit status 1, ``note`` does not."""

    level: Literal["ok", "note", "wrong"]
    text: str


def main(words: Sequence[str]) -> int:
    """Print the findings; return 0 when nothing is wrong, 1 otherwise. ``words`` are those of ``gpt4scene train``."""
    wrong = report(machine())
    if words:
        config = parse(words)
        wrong += report([Finding("note", note) for note in config.notes])
        wrong += report(run_files(config))
    print(f"{wrong} thing{'s' if wrong != 1 else ''} wrong" if wrong else "nothing is wrong")
    return 1 if wrong else 0


def report(findings: Sequence[Finding] | Iterator[Finding]) -> int:
    """Print the findings and return how many are wrong."""
    wrong = 0
    for finding in findings:
        print(f"{finding.level:<6}{finding.text}", flush=True)
        wrong += finding.level == "wrong"
    return wrong


def machine() -> Iterator[Finding]:
    """Findings about Python, libraries, accelerators, Java and memory."""
    yield Finding("ok" if sys.version_info >= (3, 10) else "wrong", f"Python {sys.version.split()[0]} (3.10 or newer)")
    for package, extra in (
        ("torch", "torch"),
        ("transformers", "torch"),
        ("accelerate", "torch"),
        ("peft", "torch"),
        ("deepspeed", "deepspeed"),
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


def run_files(config: TrainConfig) -> Iterator[Finding]:
    """Findings about the files that a training run names: model, data sets, first images, DeepSpeed, output."""
    yield from _model(config.model.model_name_or_path)
    if config.model.adapter_name_or_path:
        yield _present(Path(config.model.adapter_name_or_path) / ADAPTER_CONFIG, "adapter")
    deepspeed = config.training.get("deepspeed")
    if isinstance(deepspeed, str):
        yield _json(Path(deepspeed), "DeepSpeed configuration")
    if deepspeed and importlib.util.find_spec("deepspeed") is None:
        yield Finding("wrong", 'DeepSpeed is not installed: pip install -c constraints.txt -e ".[deepspeed]"')
    yield from _data(config)
    yield from _output(config)


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
        yield Finding("note", "no CUDA device: the CPU will do for the demo and tests, not for a 7B model")
        return
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        bf16 = "bf16" if device.major >= 8 else "no bf16: leave bf16 out"
        level = "ok" if device.major >= 8 else "note"
        yield Finding(level, f"GPU {index}: {device.name}, {device.total_memory / GIB:.0f} GiB, {bf16}")


def _java() -> Finding:
    from gpt4scene.metrics.java import NO_JAVA, find_java

    path = find_java()
    return Finding("ok", f"Java: {path}") if path else Finding("note", f"METEOR cannot be scored: {NO_JAVA}")


def _present(path: Path, what: str) -> Finding:
    if not path.is_file():
        return Finding("wrong", f"{what}: {path} is missing")
    if path.stat().st_size == 0:
        return Finding("wrong", f"{what}: {path} is empty; fetch it again")
    return Finding("ok", f"{what}: {path}")


def _json(path: Path, what: str) -> Finding:
    problem = _problem(lambda: read_json(path, what))
    return Finding("wrong", problem) if problem else Finding("ok", f"{what}: {path}")


def _model(name: str) -> Iterator[Finding]:
    folder = Path(name)
    if not folder.is_dir():
        if is_hub_name(name):
            yield Finding("note", f"model: {name} is no folder here; it will be downloaded from the model hub")
        else:
            yield Finding("wrong", f"model: there is no folder {name}; python download.py --what base fetches Qwen2-VL")
        return
    problem = _problem(lambda: check_folder(folder))
    if problem:
        yield Finding("wrong", f"model: {problem}")
        return
    empty = [path.name for path in sorted(folder.iterdir()) if path.is_file() and path.stat().st_size == 0]
    absent = missing_shards(folder)
    if empty:
        yield Finding("wrong", f"model: {folder}: empty files, fetch them again: {', '.join(empty)}")
    if absent:
        yield Finding("wrong", f"model: {folder}: missing weights, fetch them again: {', '.join(absent)}")
    if not empty and not absent:
        yield Finding("ok", f"model: {folder}, {weights_bytes(folder) / GIB:.1f} GiB of weights")


def _data(config: TrainConfig) -> Iterator[Finding]:
    """Reads the first row of every data set and opens its images; needs no decoding of the rest."""
    from gpt4scene.data.datasets import load_conversations
    from gpt4scene.data.templates import TEMPLATES
    from gpt4scene.data.vision import ImageSizes

    data = config.data
    problem = _problem(lambda: TEMPLATES[data.template])
    yield Finding("wrong", problem) if problem else Finding("ok", f"template: {data.template}")
    sizes = ImageSizes()
    for name in data.dataset:

        def first_row(name: str = name) -> Any:
            return load_conversations([name], data.dataset_dir, data.media_dir, max_samples=1)

        problem = _problem(first_row)
        if problem:
            yield Finding("wrong", f"data: {problem}")
            continue
        row = first_row().rows[0]
        problem = _problem(lambda row=row: [sizes(path, row.origin) for path in row.images])
        images = f"data: {name}: the first row and its {len(row.images)} images can be read"
        yield Finding("wrong", f"data: {problem}") if problem else Finding("ok", images)


def _output(config: TrainConfig) -> Iterator[Finding]:
    folder = Path(config.output_dir)
    goes_on = config.tuning.overwrite_output_dir or config.training.get("resume_from_checkpoint")
    if folder.is_dir() and any(folder.iterdir()) and not goes_on:
        yield Finding("note", f"output: {folder} is not empty; see overwrite_output_dir and resume_from_checkpoint")
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    if not os.access(there, os.W_OK):
        yield Finding("wrong", f"output: {there} cannot be written to")
    model = Path(config.model.model_name_or_path)
    weights = weights_bytes(model)
    # A resumable checkpoint of a full run: bf16 weights, and fp32 masters with AdamW's two moments (6 x as much).
    copies = 7 if config.tuning.finetuning_type == "full" and not config.training.get("save_only_model") else 1
    kept = config.training.get("save_total_limit") or 1
    needed = weights * copies * (kept + 1)
    free = shutil.disk_usage(there).free
    level = "ok" if free > needed else "note"
    yield Finding(level, f"output: {there}: {free / GIB:.0f} GiB free, checkpoints may take {needed / GIB:.0f} GiB")


def _problem(check: Callable[[], object]) -> str:
    """The sentence of the error that ``check`` raises, or an empty text."""
    try:
        check()
    except ConfigError:
        raise
    except (ValueError, OSError) as error:
        return str(error)
    return ""
