"""Pixels on the device: patches in bytes become the numbers that a vision tower reads."""

from __future__ import annotations

import torch

from gpt4scene.data.vision import VisionRule


def normalise(patches_u8: torch.Tensor, rule: VisionRule) -> torch.Tensor:
    """Return ``(u8 / 255 - mean) / std`` in fp32, ``[P, 3 * T * p * p]``, on the device of the input.

    The divisor is a tensor on that device, because CUDA turns a division by a Python number into a product with
    its reciprocal, whose last bit differs.
    """
    values = patches_u8.float().view(len(patches_u8), 3, rule.patch_length // 3)
    mean, std = values.new_tensor(rule.mean).view(3, 1), values.new_tensor(rule.std).view(3, 1)
    return values.div_(values.new_tensor(255.0)).sub_(mean).div_(std).view(len(patches_u8), rule.patch_length)
