"""Pixels on the device: patches in bytes become the numbers that a vision tower reads."""

from __future__ import annotations

import torch

from gpt4scene.data.image_rule import ImageRule


def numbers_of(rule: ImageRule, device: torch.device | str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return 255, and the mean and the deviation of each channel ``[3, 1]``, on ``device``: a copy that it waits for.

    The divisor is a tensor there, because CUDA turns a division by a Python number into a product with its reciprocal,
    whose last bit differs.
    """
    mean, std = (torch.tensor(values, dtype=torch.float32).view(3, 1) for values in (rule.mean, rule.std))
    return torch.tensor(255.0).to(device), mean.to(device), std.to(device)


def normalise(
    patches_u8: torch.Tensor,
    rule: ImageRule,
    numbers: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Return ``(u8 / 255 - mean) / std`` in fp32, ``[P, rule.patch_length]``, on the device of the input.

    ``numbers`` are those of ``numbers_of``, for those who call it often.
    """
    most, mean, std = numbers_of(rule, patches_u8.device) if numbers is None else numbers
    values = patches_u8.float().view(len(patches_u8), 3, rule.patch_length // 3)
    return values.div_(most).sub_(mean).div_(std).view(len(patches_u8), rule.patch_length)
