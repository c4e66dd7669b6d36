"""Going on from a checkpoint: exactly, or not at all, with every difference named.

A resumed optimizer brings its own learning rate and its like, so that another one in the settings would pass without
effect; another data set or another kind of training would be another run. All of these are refused. What ends the run
(``num_train_epochs``, ``max_steps``) and what only watches it may change.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from gpt4scene.errors import DataError
from gpt4scene.files.run_folder import MARK
from gpt4scene.files.whole import read_json
from gpt4scene.model.folder import ADAPTER_CONFIG, is_adapter, weight_files
from gpt4scene.settings.config import TrainConfig
from gpt4scene.training.checkpoint_parts import STATE, check_parts
from gpt4scene.training.output import AUTO, BatchPlan, check_output_folder, ended_well, open_output
from gpt4scene.training.same_steps import check_plan

_KEPT_BY_THE_OPTIMIZER = (
    "learning_rate",
    "weight_decay",
    "optim",
    "optim_args",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
)
_KEPT_BY_THE_DATA = ("val_size", "val_split", "train_on_prompt", "mask_history")
_SAME_ANYWAY = (
    *("disable_gradient_checkpointing", "use_liger_kernel", "scene_packing", "plot_loss"),
    *("overwrite_output_dir", "early_stopping_steps", "pissa_convert"),
)
_MAY_MOVE = ("media_dir",)
_ROWS = "rows: "


def settings_of(config: TrainConfig, arguments: TrainingArguments, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a resumed run must agree in, beside its ``BatchPlan``, as JSON values by key.

    Files and settings that shape the rows come as a digest for each part of the data's ``fingerprint``.
    """
    kinds = asdict(config.tuning) | asdict(config.methods) | asdict(config.family)
    tuning = {key: value for key, value in kinds.items() if key not in _SAME_ANYWAY}
    tuning["loss_average"] = config.loss_average
    data = {key: value for key, value in asdict(config.data).items() if key in _KEPT_BY_THE_DATA}
    optimizer = {key: getattr(arguments, key) for key in _KEPT_BY_THE_OPTIMIZER}
    rows = {f"{_ROWS}{key}": _digest(value) for key, value in fingerprint.items() if key not in _MAY_MOVE}
    precision = {key: getattr(arguments, key) for key in ("bf16", "fp16")}
    ways = {"deepspeed": bool(arguments.deepspeed), "fsdp": bool(arguments.fsdp)}
    pairs = asdict(config.preferences) if config.tuning.stage == "dpo" else {}
    return json.loads(json.dumps(tuning | pairs | data | optimizer | precision | ways | rows, default=str))


def check_resume(
    checkpoint: Path, arguments: TrainingArguments, plan: BatchPlan, settings: Mapping[str, Any]
) -> tuple[int, str | None]:
    """Return how many steps are left to take, and a sentence where other processes take them.

    Raises DataError where the run can't go on from the checkpoint exactly.
    """
    other_rows, in_parts = arguments.ignore_data_skip, bool(settings.get("deepspeed"))
    by_others = check_plan(checkpoint, plan, other_rows=other_rows, in_parts=in_parts)
    check_settings(checkpoint, settings, other_rows=other_rows)
    return steps_left(checkpoint, total_steps(arguments, plan)), by_others


def check_settings(checkpoint: Path, now: Mapping[str, Any], *, other_rows: bool = False) -> None:
    """Raise DataError that names every setting (see ``settings_of``) that was another one in the checkpoint's run.

    ``other_rows`` allows other rows. Checkpoints of before this was noted have nothing to compare with.
    """
    then = read_json(checkpoint / MARK).get("settings", {})
    changed = {key for key, value in now.items() if key in then and then[key] != value}
    rows = {key for key in changed if key.startswith(_ROWS) or key in _KEPT_BY_THE_DATA}
    changed -= rows if other_rows else set()
    if changed:
        said = [
            f"{key.removeprefix(_ROWS)} of the rows is another"
            if key.startswith(_ROWS)
            else f"{key} was {then[key]} and is {now[key]}"
            for key in sorted(changed)
        ]
        hint = ", set ignore_data_skip: true to go on with other rows" if changed <= rows else ""
        raise DataError(
            f"{checkpoint}: can't be continued exactly: {'; '.join(said)}; use the same values{hint}, or start anew "
            "with the checkpoint as model_name_or_path (adapter_name_or_path for LoRA)"
        )


def find_checkpoint(config: TrainConfig) -> Path | None:
    """Return the checkpoint that a run goes on from, None for a fresh run; nothing is deleted.

    Raises DataError as ``open_output``, ``check_complete`` and ``check_parts`` do.
    """
    resume = config.training.get("resume_from_checkpoint")
    checkpoint = check_output_folder(config.output_dir, overwrite=config.tuning.overwrite_output_dir, resume=resume)
    if checkpoint is not None:
        check_complete(checkpoint, config.tuning.finetuning_type)
        check_parts(checkpoint)
    return checkpoint


def start_output(config: TrainConfig) -> None:
    """Make ``output_dir`` free for a fresh run; DataError where that may not be, or where a run has got there first."""
    auto = AUTO if config.training.get("resume_from_checkpoint") == AUTO else None
    found = open_output(config.output_dir, overwrite=config.tuning.overwrite_output_dir, resume=auto)
    if found is not None:
        raise DataError(f"{found}: was saved by another run while this one started; stop one of them")


def check_complete(checkpoint: Path, finetuning_type: str) -> None:
    """Raise DataError where the checkpoint lacks what is needed to go on, or is one of another kind of training."""
    anew = "start anew from its weights: model_name_or_path, or adapter_name_or_path for LoRA"
    if not (checkpoint / STATE).is_file():
        raise DataError(f"{checkpoint}: {STATE} is missing, so it can't be gone on with; {anew}")
    parts = {path.name.split("_")[0].split(".")[0] for path in checkpoint.iterdir()}
    if "optimizer" not in parts and not any(part.startswith("global") for part in parts):
        raise DataError(
            f"{checkpoint}: holds no optimizer and no schedule (save_only_model leaves them out), so it can't be gone "
            f"on with; {anew}"
        )
    adapter, whole = is_adapter(checkpoint), (checkpoint / "config.json").is_file()  # sharded ones are neither
    if whole if finetuning_type == "lora" else adapter:
        there = "a LoRA adapter" if adapter else f"no LoRA adapter ({ADAPTER_CONFIG})"
        raise DataError(
            f"{checkpoint}: holds {there}, but finetuning_type is {finetuning_type}; go on with the kind of training "
            "that it comes from"
        )


def total_steps(arguments: TrainingArguments, plan: BatchPlan) -> int:
    """Return the step that ends the run: ``max_steps``, or that of ``num_train_epochs``."""
    if arguments.max_steps > 0:
        return arguments.max_steps
    return math.ceil(arguments.num_train_epochs * plan.steps_per_epoch)


def steps_left(checkpoint: Path, total: int) -> int:
    """Return how many of ``total`` steps are to be taken after the checkpoint; DataError where it is beyond them."""
    done = read_json(checkpoint / STATE)["global_step"]
    if done > total:
        raise DataError(
            f"{checkpoint}: has taken {done} steps, but this run ends after {total}; raise num_train_epochs or "
            "max_steps, or start anew"
        )
    return total - done


def has_result(output_dir: str | Path) -> bool:
    """Return whether a run has ended well in this folder and its weights are there."""
    folder = Path(output_dir)
    return ended_well(folder) and bool(weight_files(folder))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
