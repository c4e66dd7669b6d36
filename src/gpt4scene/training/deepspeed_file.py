"""A DeepSpeed file beside the settings of a run: what it says otherwise than they do."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json
from gpt4scene.settings.config import TrainConfig

AUTO = "auto"


def deepspeed_problems(config: TrainConfig) -> list[str]:
    """Return a sentence for everything in the run's DeepSpeed file that contradicts its settings.

    transformers would find some of it, after the model is loaded, and pass over the rest.
    """
    given = config.training.get("deepspeed")
    if not given:
        return []
    name = given if isinstance(given, str) else "deepspeed"
    if isinstance(given, str):
        if not Path(given).is_file():
            return [f"deepspeed: there is no file {given}; examples/deepspeed has some"]
        try:
            content = read_json(Path(given))
        except DataError as error:
            return [str(error)]
    else:
        content = given
    if not isinstance(content, Mapping):
        return [f"{name}: must hold an object, as the files in examples/deepspeed do"]
    return [*_contradictions(name, content, config), *_replacements(name, content, config)]


def _contradictions(name: str, content: Mapping[str, Any], config: TrainConfig) -> Iterator[str]:
    """Yield values of the file that differ from the settings'."""
    training = config.training
    packs = config.rows_per_step // config.tuning.scene_packing
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    bf16 = bool(training.get("bf16") or config.tuning.pure_bf16)
    rate = training.get("learning_rate", 5e-5)
    expected: dict[str, tuple[Any, str]] = {
        "train_micro_batch_size_per_gpu": (1, "a pack is one micro-batch"),
        "gradient_accumulation_steps": (packs, "packs a step on each process"),
        "train_batch_size": (packs * processes, "packs a step on all processes"),
        "gradient_clipping": (training.get("max_grad_norm", 1.0), "max_grad_norm"),
        "bf16.enabled": (bf16, "bf16"),
        "fp16.enabled": (bool(training.get("fp16")), "fp16"),
        "optimizer.params.lr": (rate, "learning_rate"),
        "optimizer.params.weight_decay": (training.get("weight_decay", 0.0), "weight_decay"),
        "optimizer.params.eps": (training.get("adam_epsilon", 1e-8), "adam_epsilon"),
        "optimizer.params.betas": (
            [training.get("adam_beta1", 0.9), training.get("adam_beta2", 0.999)],
            "adam_beta1 and adam_beta2",
        ),
        "scheduler.params.warmup_max_lr": (rate, "learning_rate"),
    }
    for path, (value, why) in expected.items():
        found = _at(content, path)
        if found not in (None, AUTO, value):
            yield f'{name}: {path} is {found}, but the run says {value} ({why}); write "auto"'


def _replacements(name: str, content: Mapping[str, Any], config: TrainConfig) -> Iterator[str]:
    """Yield blocks of the file that would take the place of a setting without a word."""
    for block, key in (("optimizer", "optim"), ("scheduler", "lr_scheduler_type")):
        if content.get(block) and config.training.get(key) is not None:
            yield f"{name}: its {block} would take the place of {key}: {config.training[key]}; leave one of them out"


def _at(content: Any, path: str) -> Any:
    for name in path.split("."):
        content = content.get(name) if isinstance(content, Mapping) else None
    return content
