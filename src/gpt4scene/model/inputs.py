"""From a batch to the losses of the pack's rows, by way of the model."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy

from gpt4scene.data.image_rule import ImageRule
from gpt4scene.model.attention import require
from gpt4scene.model.pixels import normalise as normalise
from gpt4scene.model.router import balance_losses, balance_of
from gpt4scene.model.tower import Tower
from gpt4scene.types import Batch


def row_losses(model: torch.nn.Module, batch: Batch, rule: ImageRule, tower: Tower | None = None) -> torch.Tensor:
    """Return ``float32[K]``: each branch's mean cross entropy over its labels; 0 for a branch without any.

    ``batch`` is on the device of the model; ``tower`` is the model's, made anew where it is left out. The logits are
    ``[1, M, vocabulary]``, in the order of ``label_ids``; the arithmetic on them is fp32. The loss of the router is
    added where the model's config asks for it (``balance_of``).
    """
    require(model)
    tower = tower or Tower(model, rule)
    config, inputs = tower.network.config, model_inputs(batch, tower)
    if balance := balance_of(config):
        inputs |= {"output_router_logits": True, "branches_only": False}  # routers of the prefix's tokens count, too
    out = model(**inputs)
    losses = cross_entropy(out.logits[0].float(), batch.label_ids, reduction="none")
    zeros = torch.zeros(len(batch.weights), device=losses.device)
    counts = zeros.index_add(0, batch.label_owners, torch.ones_like(losses))
    rows = zeros.index_add(0, batch.label_owners, losses) / counts.clamp(min=1)
    if balance:
        active = config.get_text_config().num_experts_per_tok
        rows = rows + balance * balance_losses(out.router_logits, batch.layout, active)
    return rows


def model_inputs(batch: Batch, tower: Tower) -> dict[str, Any]:
    """Return keyword arguments for ``model(**inputs)``, on the device of the batch.

    ``tower`` gives those about images. Only positions that predict a label reach the LM head.
    """
    inputs = {
        "input_ids": batch.input_ids,
        "position_ids": batch.position_ids,
        "layout": batch.layout,
        "branches_only": True,  # no label is predicted from a token of the prefix
        "logits_to_keep": batch.label_positions,
        "use_cache": False,
    }
    return inputs | tower.inputs(batch.images, batch.pixel_values, batch.input_ids)
