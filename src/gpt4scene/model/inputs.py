"""From a batch to the arguments of the model, and from its logits to the losses of the pack's rows."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy

from gpt4scene.data.vision import VisionRule, normalise
from gpt4scene.model.attention import PackLayout
from gpt4scene.types import Batch


def model_inputs(batch: Batch, rule: VisionRule) -> dict[str, Any]:
    """Return keyword arguments for ``model(**inputs)``, on the device of the batch.

    Pixels travel as uint8 and are normalised here, to fp32; the vision tower casts them to its own precision. Only
    positions that predict a label reach the LM head: the logits are ``[1, M, vocabulary]``, in the order of
    ``label_ids``.
    """
    inputs = {
        "input_ids": batch.input_ids,
        "position_ids": batch.position_ids,
        "layout": PackLayout.build(batch.owners, batch.prefix_length),
        "logits_to_keep": batch.label_positions,
        "use_cache": False,
    }
    if len(batch.pixel_values):
        inputs["pixel_values"] = normalise(batch.pixel_values, rule)
        inputs["image_grid_thw"] = batch.image_grid_thw
    return inputs


def row_losses(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return ``float32[K]``: each branch's mean cross entropy over its labels; 0 for a branch without any.

    ``logits[1, M, vocabulary]`` are those at ``label_positions``; the arithmetic is fp32 on the device of both.
    """
    losses = cross_entropy(logits[0].float(), batch.label_ids, reduction="none")
    zeros = torch.zeros(len(batch.weights), device=losses.device)
    counts = zeros.index_add(0, batch.label_owners, torch.ones_like(losses))
    return zeros.index_add(0, batch.label_owners, losses) / counts.clamp(min=1)
