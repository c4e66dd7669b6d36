"""The model of a run, ready to train: loaded, adapters on it, kernels fused, and its activations within memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from gpt4scene.families.registry import shape_of
from gpt4scene.model.adapter_chain import merge_all
from gpt4scene.model.fused import fuse
from gpt4scene.model.loading import load_model
from gpt4scene.model.noise import add_noise
from gpt4scene.model.quantized import quantised_on
from gpt4scene.model.recompute import inner_model, recompute
from gpt4scene.model.router import set_balance
from gpt4scene.model.tuning import prepare_for_training
from gpt4scene.settings.arguments import attention_backend
from gpt4scene.settings.config import TrainConfig
from gpt4scene.training.adapter_start import starting_adapters
from gpt4scene.training.checkpointing import Choice, choose, options_of
from gpt4scene.training.fitting import free_bytes, kernels_of, setup_of
from gpt4scene.training.launch_files import deepspeed_content
from gpt4scene.training.packing import widest_pack
from gpt4scene.training.parts_table import size_of
from gpt4scene.training.planned_run import PlannedRun
from gpt4scene.training.processes import gather_all, on_first


def ready_model(run: PlannedRun) -> torch.nn.Module:
    """Return the model with the right parts trainable.

    Weights come in the precision of their file and are then set by ``prepare_for_training``. DeepSpeed instead wants
    all of them in the precision that it computes in, and keeps fp32 masters itself.
    """
    config, arguments = run.config, run.arguments
    attention, note = attention_backend(config.model.flash_attn)
    if note:
        run.say(note)
    bf16 = arguments.bf16 or config.tuning.pure_bf16
    deepspeed = arguments.deepspeed is not None
    computing = torch.bfloat16 if bf16 else torch.float16 if arguments.fp16 else torch.float32
    model = load_model(
        run.folder,
        dtype=computing if deepspeed else "auto",
        attention=attention,
        **quantised_on(config.methods, run.folder, computing, arguments.device),
    )
    set_balance(model.config, config.family.moe_aux_loss_coef)
    merged, adapter = starting_adapters(config)
    return prepare_for_training(
        merge_all(model, merged),
        config.tuning,
        methods=config.methods,
        bf16=bf16,
        adapter=adapter,
        said=config.said,
        keep_dtype=deepspeed,
    )


def last_adapter(config: TrainConfig) -> Path | None:
    """Return the folder of the adapter that the run starts with, merged or not; None without any."""
    merged, last = starting_adapters(config)
    return last or (merged[-1] if merged else None)


def hasten(run: PlannedRun, model: torch.nn.Module) -> Choice:
    """Fuse kernels and set what is computed again; ``run.json`` says both. Return how much is computed again."""
    config, inner = run.config, inner_model(model)
    if alpha := config.training.get("neftune_noise_alpha"):
        add_noise(inner, alpha)
    kernels, sentence = kernels_of(config, inner, run.arguments.device)
    if sentence:
        run.say(sentence)
    if kernels is not None:
        fuse(inner, kernels)
    activations = _spare_memory(run, model, fused=kernels is not None and kernels.both)
    run.manifest.update(activations=activations.content(), fused_kernels=kernels.name if kernels else None)
    return activations


def _spare_memory(run: PlannedRun, model: torch.nn.Module, *, fused: bool) -> Choice:
    """Set which layers compute their activations again, the same ones on all processes, and return what was chosen."""
    config, arguments = run.config, run.arguments
    found = gather_all(free_bytes(arguments.device))
    free = None if None in found or config.evaluates_only else min(size for size in found if size is not None)
    pack = None
    if free is not None and config.tuning.disable_gradient_checkpointing is None:
        pack = on_first(lambda: widest_pack(run.data.train, run.plan.questions_per_pack))
    shape = shape_of(model.config)
    setup = setup_of(config, shape, arguments.world_size, deepspeed=deepspeed_content(config), fused=fused)
    setup = replace(setup, trained=parameters_of(model)["trained"])
    choice = choose(config, shape, setup, pack, free)
    recompute(model, choice.every, options_of(config))
    if choice.memory is not None:
        run.say(choice.sentence)
    return choice


def parameters_of(model: torch.nn.Module) -> dict[str, int]:
    """Return how many numbers there are and how many are trained."""
    sizes = [(size_of(parameter), parameter.requires_grad) for parameter in model.parameters()]
    return {"all": sum(size for size, _ in sizes), "trained": sum(size for size, trained in sizes if trained)}
