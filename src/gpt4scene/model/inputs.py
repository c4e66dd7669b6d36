"""From a collated pack to the arguments of the model, and from its logits to the losses of the pack's rows."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn.functional import cross_entropy

from gpt4scene.data.vision import VisionSpec, normalise
from gpt4scene.model.attention import PackLayout


def model_inputs(
    batch: Mapping[str, torch.Tensor | int], spec: VisionSpec, device: torch.device | str, dtype: torch.dtype
) -> dict:
    """Return keyword arguments for ``model(**inputs)`` on ``device``.

    Pixels travel as uint8 and are normalised there, then cast to ``dtype`` (that of the vision tower). Only positions
    that predict a label reach the LM head: the logits are ``[1, M, vocabulary]``, in the order of ``label_ids``.
    """
    owners = batch["owners"].to(device, non_blocking=True)
    inputs = {
        "input_ids": batch["input_ids"].to(device, non_blocking=True),
        "position_ids": batch["position_ids"].to(device, non_blocking=True),
        "layout": PackLayout.build(owners, int(batch["prefix_length"])),
        "logits_to_keep": batch["label_positions"].to(device, non_blocking=True),
        "use_cache": False,
    }
    pixels = batch["pixel_values"]
    if len(pixels):
        inputs["pixel_values"] = normalise(pixels.to(device, non_blocking=True), spec).to(dtype)
        inputs["image_grid_thw"] = batch["image_grid_thw"].to(device, non_blocking=True)
    return inputs


def label_losses(logits: torch.Tensor, label_ids: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy ``float32[M]`` of ``logits[1, M, vocabulary]`` against ``label_ids[M]``, in fp32."""
    return cross_entropy(logits[0].float(), label_ids.to(logits.device), reduction="none")


def row_losses(logits: torch.Tensor, batch: Mapping[str, torch.Tensor | int]) -> torch.Tensor:
    """Return ``float32[K]``: each branch's mean over its labelled tokens; 0 for a branch without any."""
    losses = label_losses(logits, batch["label_ids"])
    rows = batch["label_rows"].to(losses.device)
    zeros = torch.zeros(len(batch["row_weights"]), device=losses.device)
    counts = zeros.index_add(0, rows, torch.ones_like(losses))
    return zeros.index_add(0, rows, losses) / counts.clamp(min=1)
