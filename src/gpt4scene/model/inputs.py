"""From a batch to the losses of the pack's rows, by way of the model."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy

from gpt4scene.data.vision import VisionRule
from gpt4scene.model.attention import require
from gpt4scene.types import Batch


def row_losses(model: torch.nn.Module, batch: Batch, rule: VisionRule) -> torch.Tensor:
    """Return ``float32[K]``: each branch's mean cross entropy over its labels; 0 for a branch without any.

    ``batch`` is on the device of the model. The logits are ``[1, M, vocabulary]``, in the order of ``label_ids``; the
    arithmetic on them is fp32.
    """
    require(model)
    logits = model(**model_inputs(batch, rule)).logits
    losses = cross_entropy(logits[0].float(), batch.label_ids, reduction="none")
    zeros = torch.zeros(len(batch.weights), device=losses.device)
    counts = zeros.index_add(0, batch.label_owners, torch.ones_like(losses))
    return zeros.index_add(0, batch.label_owners, losses) / counts.clamp(min=1)


def model_inputs(batch: Batch, rule: VisionRule) -> dict[str, Any]:
    """Return keyword arguments for ``model(**inputs)``, on the device of the batch.

    Pixels travel as uint8 and are normalised here, to fp32; the vision tower casts them to its own precision. Only
    positions that predict a label reach the LM head.
    """
    inputs = {
        "input_ids": batch.input_ids,
        "position_ids": batch.position_ids,
        "layout": batch.layout,
        "logits_to_keep": batch.label_positions,
        "use_cache": False,
    }
    if len(batch.pixel_values):
        inputs["pixel_values"] = normalise(batch.pixel_values, rule)
        inputs["image_grid_thw"] = batch.image_grid_thw
    return inputs


def normalise(patches_u8: torch.Tensor, rule: VisionRule) -> torch.Tensor:
    """Return ``(u8 / 255 - mean) / std`` in fp32, ``[P, 3 * T * p * p]``, on the device of the input.

    The divisor is a tensor on that device, because CUDA turns a division by a Python number into a product with
    its reciprocal, whose last bit differs.
    """
    values = patches_u8.float().view(len(patches_u8), 3, rule.patch_length // 3)
    mean, std = values.new_tensor(rule.mean).view(3, 1), values.new_tensor(rule.std).view(3, 1)
    return values.div_(values.new_tensor(255.0)).sub_(mean).div_(std).view(len(patches_u8), rule.patch_length)
