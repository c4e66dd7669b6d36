"""Whether a model still is what it was: a mark that changes when its weights do, cheap enough for every scene."""

from __future__ import annotations

import torch
from torch import nn

_WHOLE = 2**20
"""A tensor of at most this many values is added up whole, of a larger one some ``_SAMPLES``."""
_SAMPLES = 4096
_AT_ONCE = 2**22
"""Values added up at once, in 100 MB: the small tensors of a model of 3 billion weights have tens of millions."""

Mark = tuple[tuple[int, ...], tuple[int, ...]]


@torch.no_grad()
def weights_mark(model: nn.Module) -> Mark:
    """Return a mark of the model's parameters and buffers that differs once any of them was replaced or changed.

    PyTorch counts changes in place (``load_state_dict``, optimiser steps), but not those through ``.data``, by which
    PEFT merges adapters. So values are added up as well, of large tensors evenly spread ones.
    """
    tensors = [*model.parameters(), *model.buffers()]
    states = [value for one in tensors for value in (one.data_ptr(), one.numel(), _version(one))]
    alike: dict[tuple[torch.device, torch.dtype], list[torch.Tensor]] = {}
    for one in tensors:
        if one.numel() and not one.is_meta:
            bits = _bits(one)
            alike.setdefault((bits.device, bits.dtype), []).append(bits)
    sums = [torch.stack(list(map(_sum, torch.cat(parts).split(_AT_ONCE)))) for parts in alike.values()]
    return tuple(states), tuple(number for found in sums for number in found.tolist())


def _version(tensor: torch.Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """Return the bits of evenly spread values as whole numbers."""
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    bits = tensor.detach().flatten().view(whole)
    return bits[:: len(bits) // _SAMPLES | 1] if len(bits) > _WHOLE else bits


def _sum(bits: torch.Tensor) -> torch.Tensor:
    """Return the sum of numbers, each times its odd number, so that exchanges show as well."""
    return (bits.to(torch.int64) * torch.arange(1, 2 * len(bits), 2, device=bits.device)).sum()
