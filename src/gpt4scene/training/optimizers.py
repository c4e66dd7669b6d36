"""Optimizer and schedule of a run, tried on a toy before a model is loaded; options that nobody reads are named.

transformers makes both after the model is there, and passes over options that it does not know.
"""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import torch._inductor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.checkpoint import checkpoint
from transformers import Trainer, TrainingArguments, get_scheduler
from transformers.trainer_utils import check_target_module_exists
from transformers.training_args import trainer_log_levels

from gpt4scene.errors import ConfigError
from gpt4scene.registry import nearest
from gpt4scene.settings.config import TrainConfig
from gpt4scene.settings.consistency import TARGETED
from gpt4scene.training.launch_files import deepspeed_content

OPTIONS = (
    (r"sgd$", ("momentum", "dampening", "weight_decay", "nesterov")),
    (r"adagrad$", ("lr_decay", "weight_decay", "eps")),
    (r"rmsprop$", ("momentum", "alpha", "eps", "weight_decay", "centered")),
    (r"rmsprop_bnb", ("alpha", "eps", "weight_decay", "momentum", "centered")),
    (r"(paged_)?ademamix", ("beta1", "beta2", "beta3", "alpha", "eps", "t_alpha", "t_beta3")),
    (
        r"adamw_anyprecision",
        ("use_kahan_summation", "momentum_dtype", "variance_dtype", "compensation_buffer_dtype"),
    ),
    (r"galore", ("rank", "update_proj_gap", "scale", "proj_type")),
    (r"apollo", ("rank", "proj", "scale_type", "update_proj_gap", "scale", "proj_type")),
    (r"grokadamw", ("alpha_init", "lamb", "gamma", "grokking_signal_decay_rate", "gradient_clipping")),
    (r"adamw_torch_[48]bit", ("block_size", "bf16_stochastic_round")),
    (r"schedule_free", ("weight_lr_power", "r")),
    (r"stable_adamw", ("max_lr", "kahan_sum", "decouple_lr")),
)
"""Beginning of ``optim`` -> what transformers 5.23 reads of ``optim_args`` for it; nothing for the others."""

LIGER = MappingProxyType(
    {
        "rms_norm": None,
        "swiglu": None,
        "rope": "does nothing on these models",
        "layer_norm": "is not used: the vision tower stays as it is",
        "cross_entropy": "is not used: only logits of answers are made",
        "fused_linear_cross_entropy": "is not used: only logits of answers are made",
    }
)
"""What Liger can put in the place of a Qwen model's own parts, and why some of it is refused here."""

CHECKPOINTING = MappingProxyType(
    {
        "use_reentrant": bool,
        "preserve_rng_state": bool,
        "early_stop": bool,
        "debug": bool,
        "offload": bool,
        "every_n_layers": int,
        "determinism_check": str,
    }
)
"""What ``activation_checkpointing_kwargs`` may hold, and of which kind it is."""

_FAILURES = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RuntimeError, ImportError)


def option_problems(config: TrainConfig) -> list[str]:
    """Return a sentence for every option of optimizer, checkpointing and Liger that nobody reads, or not so."""
    return [*_words(config), *_optimizer_options(config), *_checkpointing(config), *_liger(config)]


def _words(config: TrainConfig) -> Iterator[str]:
    """Yield values that transformers and torch look at when the model is there, or never."""
    get = config.training.get
    known = {
        **dict.fromkeys(("log_level", "log_level_replica"), list(trainer_log_levels)),
        "ddp_backend": ["nccl", "gloo", "mpi", "xccl", "hccl", "cncl", "mccl"],
        "torch_compile_mode": list(torch._inductor.list_mode_options()) if get("torch_compile_mode") else [],
    }
    for key, words in known.items():
        if get(key) is not None and get(key) not in words:
            yield f"{key}: {get(key)} is not known{nearest(str(get(key)), words)} (known: {', '.join(words)})"
    if get("adam_epsilon") == 0:
        yield "adam_epsilon 0 divides 0 by 0 where a gradient is 0; write 1e-8"
    if config.data.media_dir and not Path(config.data.media_dir).is_dir():
        yield f"media_dir: there is no folder {config.data.media_dir}; leave it out where image paths need none"


def try_out(config: TrainConfig, arguments: TrainingArguments) -> None:
    """Raise ``ConfigError`` where the Trainer could not make the optimizer, the schedule or DeepSpeed's engine."""
    content = deepspeed_content(config)
    problems = [*_zero(config, content)] if content else []
    if not (content and content.get("optimizer")):
        given = f" with optim_args {arguments.optim_args}" if arguments.optim_args else ""
        problems += _failing(f"optim: {_name(arguments.optim)}{given}", lambda: _optimizer(arguments))
    if not (content and content.get("scheduler")):
        given = f" with lr_scheduler_kwargs {arguments.lr_scheduler_kwargs}" if arguments.lr_scheduler_kwargs else ""
        problems += _failing(
            f"lr_scheduler_type: {_name(arguments.lr_scheduler_type)}{given}", lambda: _schedule(arguments)
        )
    if problems:
        raise ConfigError(*problems)


def check_target_modules(config: TrainConfig, model: torch.nn.Module) -> None:
    """Raise ``ConfigError`` where ``optim_target_modules`` names no linear module of ``model``."""
    wanted = config.training.get("optim_target_modules")
    if not wanted or wanted in (["all-linear"], ["all_linear"]):
        return
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    for one in [wanted] if isinstance(wanted, str) else wanted:
        if not any(check_target_module_exists([one], name) for name in linear):
            known = sorted({name.rsplit(".", 1)[-1] for name in linear})
            raise ConfigError(f"optim_target_modules: '{one}' names no linear module (known: {', '.join(known)})")


def _failing(what: str, work: Callable[[], None]) -> list[str]:
    try:
        work()
    except _FAILURES as error:
        said = re.sub(r"\b_?get_\w+\(\) |\w+\.__init__\(\) ", "", " ".join(str(error).split()))
        return [f"{what} can't be set up: {said or type(error).__name__}"]
    return []


def _optimizer(arguments: TrainingArguments) -> None:
    """Make the optimizer for a toy; one that works on chosen modules, or on a whole model, is not made."""
    name = _name(arguments.optim)
    if name.startswith(TARGETED) or name.endswith("lomo"):
        return
    toy = torch.nn.Linear(2, 2)
    kind, options = Trainer.get_optimizer_cls_and_kwargs(arguments, toy)  # pyright: ignore[reportArgumentType]
    for option in _written(arguments.optim_args or ""):
        if name in ("sgd", "adagrad", "rmsprop") and option not in options:
            raise ValueError(f"the installed transformers does not read '{option}' for it")
    kind(toy.parameters(), **options)


def _schedule(arguments: TrainingArguments) -> None:
    """Make the schedule, and look at its rates from the first step to the last."""
    total = arguments.max_steps if arguments.max_steps > 0 else max(100, 2 * int(arguments.warmup_steps))
    warm = arguments.get_warmup_steps(total)
    toy = torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=arguments.learning_rate)
    kind = arguments.lr_scheduler_type
    schedule = get_scheduler(kind, toy, warm, total, arguments.lr_scheduler_kwargs)  # pyright: ignore
    if not isinstance(schedule, LambdaLR):
        schedule.step(1.0)  # pyright: ignore[reportArgumentType]  (those that follow a figure take it here)
        return
    for step in sorted({0, 1, warm, warm + 1, total // 2, total - 1, total}):
        rates = [rate(step) for rate in schedule.lr_lambdas]
        if any(isinstance(rate, complex) or not math.isfinite(rate) or rate < 0 for rate in rates):
            raise ValueError(f"the learning rate would be {rates[0]} times itself at step {step} of {total}")


def _name(choice: str) -> str:
    """Return the word of a choice that transformers keeps as an enumeration's member."""
    return str(getattr(choice, "value", choice))


def _written(optim_args: str) -> Iterator[str]:
    """Yield the names in ``name=value,name=value``."""
    yield from (part.partition("=")[0] for part in optim_args.replace(" ", "").split(",") if part)


def _optimizer_options(config: TrainConfig) -> Iterator[str]:
    given, name = config.training.get("optim_args") or "", str(config.training.get("optim", ""))
    known = next((names for beginning, names in OPTIONS if re.match(beginning, name)), ())
    seen: set[str] = set()
    for part in given.replace(" ", "").split(",") if given else ():
        option, equals, value = part.partition("=")
        if not (option and equals and value) or "=" in value:
            yield f"optim_args: '{part}' is no name=value; write name=value,name=value"
        elif option not in known:
            listed = f"known: {', '.join(known)}" if known else "it takes none"
            yield f"optim_args: '{option}' is no option of {name}{nearest(option, list(known))} ({listed})"
        elif option in seen:
            yield f"optim_args: '{option}' is written twice"
        seen.add(option)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if name.endswith("layerwise") and (config.rows_per_step > 1 or processes > 1):
        yield f"optim: {name} needs one question a step and one process; write {name.removesuffix('_layerwise')}"


def _checkpointing(config: TrainConfig) -> Iterator[str]:
    known = {*inspect.signature(checkpoint).parameters, "preserve_rng_state", "every_n_layers", "offload"} & set(
        CHECKPOINTING
    )
    old, new = (config.training.get(f"{one}_checkpointing_kwargs") for one in ("gradient", "activation"))
    if old and new and old != new:
        yield "gradient_checkpointing_kwargs and activation_checkpointing_kwargs are one key, and differ; write one"
    for key in ("activation_checkpointing_kwargs", "gradient_checkpointing_kwargs"):
        given = config.training.get(key)
        for name, value in given.items() if isinstance(given, Mapping) else ():
            if name not in known:
                yield _unknown(key, name, sorted(known))
            elif type(value) is not CHECKPOINTING[name] or (CHECKPOINTING[name] is int and int(value) < 1):
                wanted = {bool: "true or false", int: "a whole number of 1 or more", str: "a text"}[CHECKPOINTING[name]]
                yield f"{key}: '{name}' must be {wanted}, not {value!r}"


def _liger(config: TrainConfig) -> Iterator[str]:
    for name, value in (config.training.get("liger_kernel_config") or {}).items():
        if name not in LIGER:
            yield _unknown("liger_kernel_config", name, list(LIGER))
        elif not isinstance(value, bool):
            yield f"liger_kernel_config: '{name}' must be true or false, not {value!r}"
        elif value and LIGER[name]:
            yield f"liger_kernel_config: '{name}' {LIGER[name]}; leave it out"


def _unknown(key: str, name: object, known: list[str]) -> str:
    return f"{key}: '{name}' is not a key{nearest(str(name), known)} (known: {', '.join(known)})"


def _zero(config: TrainConfig, content: Mapping[str, Any]) -> Iterator[str]:
    """Yield what DeepSpeed would say of its own file once the model is loaded."""
    from deepspeed.runtime.config import DEEPSPEED_OPTIMIZERS
    from deepspeed.runtime.lr_schedules import VALID_LR_SCHEDULES
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
    from pydantic import ValidationError

    given = config.training["deepspeed"]
    file = given if isinstance(given, str) else "deepspeed"
    zero = content.get("zero_optimization", {})
    try:
        DeepSpeedZeroConfig(**zero)
    except ValidationError as error:
        for one in error.errors():
            place = ".".join(map(str, ("zero_optimization", *one["loc"])))
            known = nearest(str(one["loc"][-1]), list(DeepSpeedZeroConfig.model_fields))
            unknown = one["type"] == "extra_forbidden"
            yield f"{file}: {place} is not a key{known}" if unknown else f"{file}: {place}: {one['msg']}"
    except TypeError:
        yield f"{file}: zero_optimization must be an object, not {zero!r}"
    for block, known in (("optimizer", DEEPSPEED_OPTIMIZERS), ("scheduler", VALID_LR_SCHEDULES)):
        named = content.get(block) or {}
        if not isinstance(named, dict):
            yield f"{file}: {block} must be an object, not {named!r}"
            continue
        kind = named.get("type")
        others = vars(torch.optim) if block == "optimizer" else ()
        if kind is not None and str(kind).lower() not in map(str.lower, known) and kind not in others:
            hint = nearest(str(kind), list(known))
            yield f"{file}: {block}.type {kind} is not known{hint} (known: {', '.join(known)})"
