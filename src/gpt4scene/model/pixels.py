"""Pixels on the device: patches in bytes become the numbers that a vision tower reads."""

from __future__ import annotations

import torch

from gpt4scene.data.vision import VisionRule


def normalise(patches_u8: torch.Tensor, rule: VisionRule) -> torch.Tensor:
    """Return ``(u8 / 255 - mean) / std`` in fp32, ``[P, 3 * T * p * p]``, on the device of the input.

    The divisor is a tensor on that device, because CUDA turns a division by a Python number into a product with
    its reciprocal, whose last bit differs. Numbers are filled in there: a copy from the host would wait for the device.
    """
    values = patches_u8.float().view(len(patches_u8), 3, rule.patch_length // 3)
    mean, std = (torch.stack([values.new_full((1,), one) for one in numbers]) for numbers in (rule.mean, rule.std))
    return values.div_(values.new_full((), 255.0)).sub_(mean).div_(std).view(len(patches_u8), rule.patch_length)
