"""Packages that the settings of a run need and that are not installed here: found before a model is loaded."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from types import MappingProxyType

import torch

from gpt4scene.registry import nearest
from gpt4scene.settings.config import TrainConfig

REPORTERS = MappingProxyType(
    {
        "azure_ml": ("azureml",),
        "clearml": ("clearml",),
        "codecarbon": ("codecarbon",),
        "comet_ml": ("comet_ml",),
        "dagshub": ("dagshub",),
        "dvclive": ("dvclive",),
        "flyte": ("flytekit",),
        "kubeflow": ("kubeflow",),
        "mlflow": ("mlflow",),
        "neptune": ("neptune",),
        "swanlab": ("swanlab",),
        "tensorboard": ("tensorboard", "tensorboardX"),
        "trackio": ("trackio",),
        "wandb": ("wandb",),
    }
)
"""``report_to`` -> modules, one of which it needs."""

OPTIMIZERS = (
    (r"galore", ("galore_torch",)),
    (r"apollo", ("apollo_torch",)),
    (r"(ada)?lomo", ("lomo_optim",)),
    (r"adamw_torch_[48]bit", ("torchao",)),
    (r"schedule_free", ("schedulefree",)),
    (r"grokadamw", ("grokadamw",)),
    (r"stable_adamw", ("optimi",)),
    (r"adamw_anyprecision", ("torchdistx",)),
    (r"adamw_apex_fused", ("apex",)),
    (r"adamw_torch_npu_fused", ("torch_npu",)),
    (r"adamw_torch_xla", ("torch_xla",)),
    (r"galore.*_8bit|paged_|ademamix|lion|rmsprop_|adamw_bnb|adamw_8bit", ("bitsandbytes",)),
)
"""Beginning of ``optim`` -> modules, one of which it needs. Several lines may fit."""

PIP = MappingProxyType(
    {
        "apollo_torch": "apollo-torch",
        "azureml": "azureml-core",
        "flash_attn": "flash-attn",
        "galore_torch": "galore-torch",
        "liger_kernel": "liger-kernel",
        "lomo_optim": "lomo-optim",
        "optimi": "torch-optimi",
    }
)
"""Module -> the name to install it by, where that differs."""


def missing_packages(config: TrainConfig) -> list[str]:
    """Return a sentence for each package that the run needs and that is not installed; nothing is imported.

    ``flash_attn: fa2`` is not among them: sdpa takes its place, with a word.
    """
    missing = [(setting, modules) for setting, modules in _needed(config) if not _is_there(modules)]
    found = [f"{setting} needs {_package(modules)}" for setting, modules in missing]
    if config.methods.use_muon and "Muon" not in vars(torch.optim):
        found.append(f"use_muon needs torch 2.9 or newer, and here is {torch.__version__}: pip install -U torch")
    return [*found, *_unknown_reporters(config), *_compiler(config)]


def _needed(config: TrainConfig) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield every setting with the modules, one of which it needs."""
    training, get = config.training, config.training.get
    for reporter in config.reporters:
        if reporter in REPORTERS:
            yield f"report_to: {reporter}", REPORTERS[reporter]
    for beginning, modules in OPTIMIZERS:
        if re.match(beginning, str(get("optim", ""))):
            yield f"optim: {training['optim']}", modules
    for key, wanted, modules in (
        ("use_galore", config.methods.use_galore, ("galore_torch",)),
        ("use_apollo", config.methods.use_apollo, ("apollo_torch",)),
        ("quantization_bit", config.methods.quantization_bit, ("bitsandbytes",)),
    ):
        if wanted:
            yield key, modules
    if config.tuning.use_liger_kernel:
        yield "use_liger_kernel", ("liger_kernel",)
    if get("deepspeed"):
        yield "deepspeed", ("deepspeed",)
    if get("skip_memory_metrics") is False:
        yield "skip_memory_metrics: false", ("psutil",)
    if config.tuning.finetuning_type == "lora":
        yield "finetuning_type: lora", ("peft",)
    if config.tuning.plot_loss:
        yield "plot_loss", ("matplotlib",)
    if config.data.tokenized_path:
        yield "tokenized_path", ("datasets",)


def _unknown_reporters(config: TrainConfig) -> Iterator[str]:
    known = [*REPORTERS, "all", "none"]
    for reporter in config.reporters:
        if reporter not in known:
            yield f"report_to: {reporter} is not known{nearest(reporter, known)} (known: {', '.join(known)})"
        if reporter == "wandb" and os.environ.get("WANDB_DISABLED", "").lower() in ("1", "true", "on", "yes"):
            yield "report_to: wandb, but the environment says WANDB_DISABLED; unset it, or write report_to: none"


def _compiler(config: TrainConfig) -> Iterator[str]:
    """Yield what ``torch_compile`` lacks: a backend of that name, or what the default one builds with."""
    backend = config.training.get("torch_compile_backend")
    asked = backend or config.training.get("torch_compile_mode") or config.training.get("torch_compile")
    if not asked:
        return
    known = torch._dynamo.list_backends(None)
    if backend and backend not in known:
        yield f"torch_compile_backend: {backend} is not known{nearest(backend, known)} (known: {', '.join(known)})"
    elif backend in (None, "inductor"):
        accelerated = torch.accelerator.is_available() and not config.training.get("use_cpu")
        if accelerated and not _is_there(("triton",)):
            yield f"torch_compile needs {_package(('triton',))}"
        if not accelerated and not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "c++", "clang++")):
            yield "torch_compile on a CPU needs a C++ compiler, and there is none here; install g++, or leave it out"


def _is_there(modules: tuple[str, ...]) -> bool:
    return any(importlib.util.find_spec(module) is not None for module in modules)


def _package(modules: tuple[str, ...]) -> str:
    name = PIP.get(modules[0], modules[0])
    return f"the package {name}, which is not installed here: pip install {name}"
