"""What DeepSpeed's file, FSDP's settings and the launcher's environment say otherwise than the settings of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json
from gpt4scene.registry import nearest
from gpt4scene.settings.config import TrainConfig
from gpt4scene.settings.foreign import foreign

AUTO = "auto"


def launch_problems(config: TrainConfig) -> list[str]:
    """Return a sentence for everything beside the settings of a run that contradicts them, or that nobody reads.

    transformers would find some of it, after the model is loaded, and pass over the rest.
    """
    return [*_deepspeed(config), *_fsdp(config), *_environment(config)]


def deepspeed_content(config: TrainConfig) -> Mapping[str, Any] | None:
    """Return what ``deepspeed`` holds, or the file that it names; None where that is nothing, or can't be read."""
    return _content(config, "deepspeed", [])


def uses_fsdp(config: TrainConfig) -> bool:
    """Return whether weights are shared out by FSDP: by the settings, or by accelerate's launcher."""
    return bool(config.training.get("fsdp")) or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def launched(config: TrainConfig) -> dict[str, Any]:
    """Return what shares the work out beside the settings, as ``run.json`` has it."""
    return {"deepspeed": deepspeed_content(config), "fsdp": uses_fsdp(config)}


def _deepspeed(config: TrainConfig) -> Iterator[str]:
    problems: list[str] = []
    content = _content(config, "deepspeed", problems)
    yield from problems
    if content is not None:
        name = _name(config, "deepspeed")
        yield from _contradictions(name, content, config)
        yield from _replacements(name, content, config)
        known = foreign().deepspeed_keys
        for key in content:
            hint = nearest(str(key), known, 0.8)
            if key not in known and hint:
                yield f"{name}: '{key}' is not a key{hint}"


def _fsdp(config: TrainConfig) -> Iterator[str]:
    problems: list[str] = []
    content = _content(config, "fsdp_config", problems)
    yield from problems
    known = foreign().fsdp_keys
    for key in content or ():
        short = str(key).removeprefix("fsdp_")
        if short not in known:
            yield f"{_name(config, 'fsdp_config')}: '{key}' is not a key{nearest(short, known)}"


def _environment(config: TrainConfig) -> Iterator[str]:
    """Yield what accelerate's launcher asks for by the environment, against the settings."""
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if precision in ("bf16", "fp16") and not (config.training.get(precision) or config.tuning.pure_bf16):
        yield f"accelerate's mixed_precision is {precision}, but the run says nothing of it; write {precision}: true"
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() in ("1", "true", "yes") and not config.training.get(
        "deepspeed"
    ):
        yield "accelerate's file asks for DeepSpeed; write deepspeed: FILE.json and start the run with torchrun"


def _name(config: TrainConfig, key: str) -> str:
    given = config.training[key]
    return given if isinstance(given, str) else key


def _content(config: TrainConfig, key: str, problems: list[str]) -> Mapping[str, Any] | None:
    """Return what a key holds, or the JSON file that it names; what is wrong with that is added to ``problems``."""
    given = config.training.get(key)
    if not given or isinstance(given, Mapping):
        return given or None
    if not Path(given).is_file():
        problems.append(f"{key}: there is no file {given}")
        return None
    try:
        content = read_json(Path(given))
    except DataError as error:
        problems.append(str(error))
        return None
    if not isinstance(content, Mapping):
        problems.append(f"{given}: must hold an object")
        return None
    return content


def _contradictions(name: str, content: Mapping[str, Any], config: TrainConfig) -> Iterator[str]:
    """Yield values of the file that differ from the settings'."""
    training = config.training
    questions = config.rows_per_step
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    bf16 = bool(training.get("bf16") or config.tuning.pure_bf16)
    rate = training.get("learning_rate", 5e-5)
    expected: dict[str, tuple[Any, str]] = {
        "train_micro_batch_size_per_gpu": (1, "a pack is one micro-batch"),
        "gradient_accumulation_steps": (questions, "questions a step on each process"),
        "train_batch_size": (questions * processes, "questions a step on all processes"),
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
    for block, key in (
        ("optimizer", "optim"),
        ("optimizer", "optim_args"),
        ("scheduler", "lr_scheduler_type"),
        ("scheduler", "lr_scheduler_kwargs"),
    ):
        if content.get(block) and config.training.get(key) is not None:
            yield f"{name}: its {block} would take the place of {key}: {config.training[key]}; leave one of them out"
    for key in ("loraplus_lr_ratio", "tower_learning_rate", "merger_learning_rate"):
        if content.get("optimizer") and getattr(config.methods, key) is not None:
            yield f"{name}: its optimizer has one rate, but the run says {key}; leave the file's optimizer out"


def _at(content: Any, path: str) -> Any:
    for name in path.split("."):
        content = content.get(name) if isinstance(content, Mapping) else None
    return content
