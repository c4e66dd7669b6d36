"""What is wrong with a training run that is planned: the checks before its first step, and rows read whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gpt4scene.doctor.findings import GIB, Checks, Finding, spread
from gpt4scene.errors import ConfigError
from gpt4scene.model.folder import is_hub_name, weights_bytes
from gpt4scene.settings.config import TrainConfig

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from gpt4scene.training.run_data import RunData


def training_findings(config: TrainConfig, full: bool = False) -> Iterator[Finding]:
    """Yield the findings about a run; nothing is changed, and no weight is read.

    ``full`` decodes the images of every training row, else those of a sample.
    """
    from gpt4scene.training.hf_arguments import training_arguments
    from gpt4scene.training.optimizers import try_out
    from gpt4scene.training.preflight import attention_of, check_settings

    checks = Checks()
    checks.check("settings", lambda: check_settings(config), "packages, DeepSpeed and launcher agree with them")
    agree = not checks.wrong
    yield from checks.take()
    if config.training.get("fp16") and not _accelerated():
        checks.note("settings: fp16 needs a GPU, and none is here; the rest is looked at without it")
        config = replace(config, training={**config.training, "fp16": False})
    arguments = checks.check("settings", lambda: training_arguments(config)) if agree else None
    if arguments is not None:
        checks.check("settings", lambda made=arguments: try_out(config, made))
    else:  # rows can be looked at all the same
        few = {name: value for name, value in config.training.items() if name in ("output_dir", "seed", "do_train")}
        arguments = training_arguments(replace(config, training=few))
    yield from checks.take()
    folder = _model(config, checks)
    yield from checks.take()
    data = None
    if folder is not None:
        checks.check("attention", lambda: attention_of(config, arguments, folder), str)
        data = _data(config, folder, arguments, checks)
        yield from checks.take()
    if data is not None:
        rows, chosen = data.train, spread(len(data.train), full)
        checks.check("rows", lambda: [rows[index,] for index in chosen], f"{len(chosen)} rows decoded from end to end")
        if agree and not checks.wrong:
            checks.check("advice", lambda: _advice(config, arguments, data, checks))
    _output(config, arguments, data, checks)
    yield from checks.take()


def _accelerated() -> bool:
    import torch

    return torch.accelerator.is_available()


def _model(config: TrainConfig, checks: Checks) -> Path | None:
    """Return the folder of the checkpoint where its files are those of one that can be trained."""
    from gpt4scene.training.preflight import check_model

    name = config.model.model_name_or_path
    folder = Path(name)
    if not folder.is_dir() and is_hub_name(name):
        checks.note(f"model: {name} is no folder here; it will be downloaded, and rows can't be looked at before")
        return None

    def look() -> Path:
        if not folder.is_dir():
            raise ConfigError(f"there is no folder {name}; python download.py --what base fetches Qwen2-VL")
        if about := check_model(config, folder):
            checks.note(f"model: {about}")
        return folder

    return checks.check("model", look, lambda found: f"{found}, {weights_bytes(found) / GIB:.1f} GiB of weights")


def _data(config: TrainConfig, folder: Path, arguments: TrainingArguments, checks: Checks) -> RunData | None:
    """Return the rows as training would have them; tokenized rows that are not written yet are not written now."""
    from gpt4scene.files.tokenized import has_tokenized
    from gpt4scene.model.loading import load_tokenizer
    from gpt4scene.training.run_data import load_data

    path = config.data.tokenized_path
    if path and not has_tokenized(path):
        checks.note(f"data: {path} will be written first")
        config = replace(config, data=replace(config.data, tokenized_path=None, tokenize_only=False))
    return checks.check(
        "data", lambda: load_data(config, folder, load_tokenizer(folder), arguments), lambda found: found.sentence
    )


def _advice(config: TrainConfig, arguments: TrainingArguments, data: RunData, checks: Checks) -> None:
    """Note the usual mistakes that the run would be warned of, with as many processes as there are here."""
    from gpt4scene.training.advice import advice
    from gpt4scene.training.packing import branches_of
    from gpt4scene.training.preflight import plan_of
    from gpt4scene.training.resume import total_steps

    branches = branches_of(config, arguments, Path(config.model.model_name_or_path), data.train, None)
    plan = plan_of(config, arguments, data, branches)
    for sentence in advice(config, arguments, data, plan, total_steps(arguments, plan)):
        checks.note(f"advice ({plan.processes} process{'es' if plan.processes > 1 else ''}): {sentence}")


def _output(config: TrainConfig, arguments: TrainingArguments, data: RunData | None, checks: Checks) -> None:
    from gpt4scene.training.preflight import check_output

    folder = Path(config.output_dir)
    if config.tuning.overwrite_output_dir and folder.is_dir() and any(folder.iterdir()):
        checks.note(f"output: overwrite_output_dir deletes the run in {folder}")
    checks.check(
        "output",
        lambda: check_output(config, arguments, data),
        lambda found: f"goes on from {found}" if found else f"{folder} is free",
    )
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    if not os.access(there, os.W_OK):
        checks.findings.append(Finding("wrong", f"output: {there} cannot be written to"))
    weights = weights_bytes(Path(config.model.model_name_or_path))
    # A resumable checkpoint of a full run: bf16 weights, and fp32 masters with AdamW's two moments (6 x as much).
    copies = 7 if config.tuning.finetuning_type == "full" and not config.training.get("save_only_model") else 1
    kept = config.training.get("save_total_limit") or 1
    needed, free = weights * copies * (kept + 1), shutil.disk_usage(there).free
    level = "ok" if free > needed else "note"
    text = f"output: {there}: {free / GIB:.0f} GiB free, checkpoints may take {needed / GIB:.0f} GiB"
    checks.findings.append(Finding(level, text))
