"""Which layers compute their activations a second time in the backward pass instead of keeping them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from gpt4scene.errors import ConfigError
from gpt4scene.families.family import Family
from gpt4scene.families.registry import family_of
from gpt4scene.model.compat import enable_checkpointing
from gpt4scene.model.router import balance_of


def recompute(model: torch.nn.Module, every: int, options: Mapping[str, Any] | None = None) -> int:
    """Make every ``every``-th language layer compute its activations again, none where it is 0; return how many do.

    Layers are counted from the first one that the backward pass reaches. A vision tower that learns is computed again
    as a whole, unless ``every`` is 0; a frozen one keeps nothing anyway. ``options`` are those of
    ``torch.utils.checkpoint``, and ``offload``. Losses and gradients are the same for every choice. ``model`` may be
    wrapped by peft.
    """
    base = inner_model(model)
    if every == 0:
        return 0
    chosen = {"use_reentrant": False, "preserve_rng_state": draws(base)} | dict(options or {})
    chosen.pop("every_n_layers", None)
    offload = bool(chosen.pop("offload", False))
    check_reentrant(base.config, chosen["use_reentrant"])
    enable_checkpointing(base, chosen, offload=offload)
    if not chosen["use_reentrant"]:
        base.disable_input_require_grads()  # needed by the reentrant kind alone; costs a gradient of the embeddings
    return _mark(base, family_of(base.config), every)


def check_reentrant(config: PreTrainedConfig, reentrant: bool) -> None:
    """Raise ``ConfigError`` where the router's loss would be learned through the reentrant kind of checkpoints.

    That kind computes layers without a graph first, so what routers say there would have no gradient, and no word said.
    """
    if reentrant and balance_of(config):
        raise ConfigError(
            "use_reentrant: true keeps the router's loss (moe_aux_loss_coef, or output_router_logits in config.json) "
            "from being learned; leave use_reentrant out"
        )


def inner_model(model: torch.nn.Module) -> PreTrainedModel:
    """Return the model of transformers: ``model`` itself, or what peft has wrapped."""
    if isinstance(model, PreTrainedModel):
        return model
    from peft import PeftModel

    assert isinstance(model, PeftModel)
    inner = model.get_base_model()
    assert isinstance(inner, PreTrainedModel)
    return inner


def draws(model: torch.nn.Module) -> bool:
    """Return whether a forward pass in training draws random numbers, which a second pass must draw alike."""
    drops = any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in model.modules())
    rates = (getattr(module, "attention_dropout", 0.0) for module in model.modules())
    return drops or any(bool(rate) for rate in rates)


def _mark(model: PreTrainedModel, family: Family, every: int) -> int:
    """Set the flag of each layer; see ``recompute``."""
    learns = {family.part_of(name) for name, one in model.named_parameters() if one.requires_grad}
    for module in model.get_submodule(family.tower).modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.gradient_checkpointing = "tower" in learns
    layers = [one for one in model.get_submodule(family.layers).children()]
    first = first_reached(model)
    marked = 0
    for index, layer in enumerate(layers):
        assert isinstance(layer, GradientCheckpointingLayer)
        layer.gradient_checkpointing = index >= first and (index - first) % every == 0
        marked += layer.gradient_checkpointing
    return marked


def first_reached(model: PreTrainedModel) -> int:
    """Return the index of the first language layer that the backward pass goes through."""
    family = family_of(model.config)
    first = len(list(model.get_submodule(family.layers).children()))
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad or name.startswith("lm_head"):
            continue
        if not name.startswith(family.layers + "."):
            if name.startswith(family.layers.rpartition(".")[0] + ".norm"):
                continue  # the last norm stands behind all layers
            return 0
        first = min(first, int(name.removeprefix(family.layers + ".").partition(".")[0]))
    return first
