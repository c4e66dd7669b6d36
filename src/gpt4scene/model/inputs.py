"""From a batch to the losses of the pack's rows, by way of the model."""

from __future__ import annotations

from collections.abc import Mapping
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

    ``batch`` is on the device of the model; ``tower`` is the model's, made anew where it is left out. The loss of the
    router is added where the model's config asks for it (``balance_of``).
    """
    tower = tower or Tower(model, rule)
    config, inputs = tower.network.config, model_inputs(batch, tower)
    if balance := balance_of(config):
        inputs |= {"output_router_logits": True, "branches_only": False}  # routers of the prefix's tokens count, too
    losses, out = label_losses(model, batch, inputs)
    rows = by_branch(losses, batch) / by_branch(torch.ones_like(losses), batch).clamp(min=1)
    if balance:
        active = config.get_text_config().num_experts_per_tok
        rows = rows + balance * balance_losses(out.router_logits, batch.layout, active)
    return rows


def label_losses(model: torch.nn.Module, batch: Batch, inputs: Mapping[str, Any]) -> tuple[torch.Tensor, Any]:
    """Return ``float32[M]``, the cross entropy of each label (minus its log-probability), and the model's output.

    ``inputs`` are those of ``model_inputs``. The logits are ``[1, M, vocabulary]``, in the order of ``label_ids``; the
    arithmetic on them is fp32.
    """
    require(model)
    out = model(**inputs)
    return cross_entropy(out.logits[0].float(), batch.label_ids, reduction="none"), out


def by_branch(values_M: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return ``float32[K]``: the sum of the values of each branch's labels."""
    return torch.zeros(len(batch.weights), device=values_M.device).index_add(0, batch.label_owners, values_M)


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
