"""What a run asks of a device's memory: from its settings to the terms of ``training.memory``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedModel

from gpt4scene.families.shape import ModelShape
from gpt4scene.files.whole import read_json
from gpt4scene.model.folder import ADAPTER_CONFIG
from gpt4scene.model.fused import Kernels, choose_kernels
from gpt4scene.model.machine_memory import free_memory, held_memory
from gpt4scene.settings.config import TrainConfig
from gpt4scene.settings.methods import MethodArguments
from gpt4scene.training.adapter_start import starting_adapters
from gpt4scene.training.launch_files import uses_fsdp
from gpt4scene.training.memory import Precision, Setup, Sharding
from gpt4scene.training.processes import processes_here

STATES = (
    (r".*ademamix.*8bit", 3.0),
    (r".*ademamix|grokadamw", 12.0),
    (r".*(8bit|4bit)", 2.0),
    (r"adafactor", 0.1),
    (r"lion|.*_lion", 4.0),
    (r"sgd|rmsprop|adagrad", 4.0),
    (r"(ada)?lomo|galore|apollo", 1.0),
    (r"muon", 4.0),
)
"""Beginning of ``optim`` -> bytes of state a trained number; 8 (two fp32 numbers) for all others."""

AS_TRAINED = r"adamw_torch|sgd|rmsprop|adagrad"
"""Beginning of ``optim`` where states are of the precision of the trained numbers; bitsandbytes keeps its own."""


def setup_of(
    config: TrainConfig,
    model: ModelShape,
    processes: int,
    *,
    deepspeed: Mapping[str, Any] | None = None,
    fused: bool = False,
) -> Setup:
    """Return what the run trains, and how; ``deepspeed`` is the content of its file, where it has one.

    An adapter that is gone on with counts by its own rank.
    """
    tuning, methods = config.tuning, config.methods
    named = str(config.training.get("optim", "adamw_torch"))
    optim = methods.low_rank or ("muon" if methods.use_muon else named)
    precision: Precision = "bf16" if config.training.get("bf16") else "fp32"  # fp16 keeps frozen weights in fp32
    layers = min(abs(tuning.freeze_trainable_layers), model.layers)
    last_ones = tuning.finetuning_type == "freeze" and tuning.freeze_trainable_layers > 0
    frozen_images = tuning.freeze_vision_tower and tuning.freeze_multi_modal_projector
    zero = (deepspeed or {}).get("zero_optimization", {})
    rank = _rank(config)
    return Setup(
        method=tuning.finetuning_type,
        precision="pure_bf16" if tuning.pure_bf16 else precision,
        trained=_trained(config, model, layers, rank),
        kept_layers=layers if last_ones and frozen_images else model.layers,
        rank=rank,
        trains_tower=not tuning.freeze_vision_tower,
        sharding=_sharding(config, zero if deepspeed is not None else None, processes),
        offload=_offloaded(zero, "optimizer"),
        offload_weights=_offloaded(zero, "param"),
        processes=processes,
        state=_state(optim, halved=tuning.pure_bf16 and deepspeed is None) + _whole_embeddings(config, model, optim),
        fused=fused,
        quantised=quantised_bytes(methods),
        beside=model.parameters * reference_dtype(config).itemsize if config.keeps_reference else 0,
    )


def reference_dtype(config: TrainConfig) -> torch.dtype:
    """Return the precision that a reference of its own is kept in: that of the run's frozen parts."""
    if config.training.get("bf16") or config.tuning.pure_bf16:
        return torch.bfloat16
    return torch.float16 if config.training.get("fp16") and config.training.get("deepspeed") else torch.float32


def quantised_bytes(methods: MethodArguments) -> float | None:
    """Return the bytes of a quantised number: bitsandbytes keeps a scale for 64 of them, in 8 bits where it may."""
    if methods.quantization_bit is None:
        return None
    if methods.quantization_bit == 8:
        return 1.0
    return 0.5 + (1 / 64 + 4 / (64 * 256) if methods.double_quantization else 4 / 64)


def _offloaded(zero: Mapping[str, Any], part: str) -> bool:
    """Return whether DeepSpeed keeps a part in the host's memory, or on a disk."""
    return (zero.get(f"offload_{part}") or {}).get("device", "none") != "none"


def wanted_kernels(config: TrainConfig) -> tuple[bool, bool]:
    """Return whether norms and SwiGLU are to be fused where the device allows it."""
    wanted = {"rms_norm": True, "swiglu": True} | (config.training.get("liger_kernel_config") or {})
    asked = config.tuning.use_liger_kernel is not False
    return asked and bool(wanted["rms_norm"]), asked and bool(wanted["swiglu"])


def kernels_of(config: TrainConfig, model: PreTrainedModel, device: torch.device) -> tuple[Kernels | None, str | None]:
    """Return the fused kernels that ``model`` gets on ``device``, and a sentence about them (``choose_kernels``)."""
    return choose_kernels(config.tuning.use_liger_kernel, model, device, *wanted_kernels(config))


def _state(optim: str, *, halved: bool) -> float:
    """Return bytes that the optimizer keeps of a trained number; ``halved`` where PyTorch's keep it in bf16."""
    size = next((size for beginning, size in STATES if re.match(beginning, optim)), 8.0)
    return size / 2 if halved and size >= 4 and re.match(AS_TRAINED, optim) else size


def _whole_embeddings(config: TrainConfig, model: ModelShape, optim: str) -> float:
    """Return what is added to the state of a trained number where 8 bits are not for embeddings.

    transformers lets bitsandbytes keep the state of embeddings in fp32 (``Trainer.create_optimizer``).
    """
    tuning = config.tuning
    if not re.match(r"(?!galore|apollo|adamw_torch).*8bit", optim) or tuning.finetuning_type != "full":
        return 0.0
    share = 0 if tuning.freeze_language_model else model.head_parameters / model.language_parameters
    return 3 * _state(optim, halved=False) * share


def _rank(config: TrainConfig) -> int:
    """Return the rank of the adapters, 0 without."""
    if config.tuning.finetuning_type != "lora":
        return 0
    _, adapter = starting_adapters(config)
    return config.tuning.lora_rank if adapter is None else read_json(adapter / ADAPTER_CONFIG)["r"]


def _trained(config: TrainConfig, model: ModelShape, layers: int, rank: int) -> int:
    """Return how many numbers are trained."""
    tuning, tower = config.tuning, model.tower
    if tuning.finetuning_type == "lora":
        targets = None if "all" in tuning.lora_target else tuple(tuning.lora_target)
        language = 0 if tuning.freeze_language_model else model.lora_parameters(rank, targets)
        share = tower.depth * rank * 2 * (4 * tower.width + tower.intermediate)
        return language + (0 if tuning.freeze_vision_tower else share) + _whole(config, model)
    language = model.language_parameters if tuning.finetuning_type == "full" else layers * model.layer_parameters
    return (
        (0 if tuning.freeze_language_model else language)
        + (0 if tuning.freeze_vision_tower else tower.parameters)
        + (0 if tuning.freeze_multi_modal_projector else tower.merger_parameters)
    )


def _whole(config: TrainConfig, model: ModelShape) -> int:
    """Return how many numbers of large modules are trained whole beside LoRA; those of others are few."""
    sizes = {"embed_tokens": model.head_parameters, "lm_head": model.head_parameters}
    sizes["merger"] = model.tower.merger_parameters
    return sum(sizes.get(name.rpartition(".")[2], 0) for name in config.methods.additional_target or ())


def _sharding(config: TrainConfig, zero: Mapping[str, Any] | None, processes: int) -> Sharding:
    if zero is not None:
        return ("zero0", "zero1", "zero2", "zero3")[int(zero.get("stage", 0))]
    if uses_fsdp(config):
        return "fsdp2"
    return "ddp" if processes > 1 else "one"


def free_bytes(device: torch.device) -> int | None:
    """Return the bytes of a device that this process can have, with those that it holds; None where nothing says so.

    The memory of a CPU is shared by this machine's processes.
    """
    if device.type == "cpu":
        return free_memory() // processes_here() + held_memory()
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device)
