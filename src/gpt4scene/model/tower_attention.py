"""Attention inside the vision tower: one call a layer where images are of one size, not one call an image.

transformers splits the patches of a pack by their sequences (images, or Qwen2.5-VL's windows) and attends to each by
itself, after a copy of the lengths from the device. Here the sequences are known on the host beforehand. Those of equal
length are one batch, so that nothing is padded and nothing masked. The function is registered with transformers and
takes its ``TowerLayout`` from the keyword argument ``sequences`` of the tower's call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from gpt4scene.model.kernels import fused_kernels

NAME = "gpt4scene_images"


@dataclass(frozen=True, eq=False)
class Sequences:
    """Which patches of a row see each other: batches of sequences of one length, in order.

    ``groups`` holds (number of sequences, patches of each); together they are T patches. ``order[T]`` names the
    patches in the order that the groups want, ``back[T]`` undoes that; both are None where the row is in that order.
    """

    groups: tuple[tuple[int, int], ...]
    order: torch.Tensor | None = None
    back: torch.Tensor | None = None

    @staticmethod
    def of(lengths: Sequence[int], device: torch.device | str = "cpu") -> Sequences:
        """Return the groups of sequences of ``lengths`` patches that lie in a row one behind the other."""
        runs = _runs(lengths)
        if len(runs) == len(set(lengths)):
            return Sequences(runs)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
        places = np.concatenate([np.arange(starts[index], starts[index + 1]) for index in order])
        return Sequences(_runs([lengths[index] for index in order]), *_indices(places, device))

    @staticmethod
    def ordered(runs: Sequence[int], places: np.ndarray, device: torch.device | str = "cpu") -> Sequences:
        """Return the groups of sequences of ``runs`` patches each, whose patches lie at ``places[T]`` of the row."""
        whole = Sequences.of(runs)
        if whole.order is not None:
            places = places[whole.order.numpy()]
        return Sequences(whole.groups, *_indices(places, device))


def _runs(lengths: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return (number, length) of every stretch of equal lengths; sequences without patches are left out."""
    runs: list[tuple[int, int]] = []
    for length in lengths:
        if runs and runs[-1][1] == length:
            runs[-1] = (runs[-1][0] + 1, length)
        elif length:
            runs.append((1, length))
    return tuple(runs)


def _indices(places: np.ndarray, device: torch.device | str) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    if np.array_equal(places, np.arange(len(places))):
        return None, None
    order = torch.from_numpy(places.astype(np.int64))
    return order.to(device), torch.argsort(order).to(device)


@dataclass(frozen=True, eq=False)
class TowerLayout:
    """The sequences of a pack's patches: whole images, and the windows of those layers that attend within windows.

    ``windowed`` are the identities (``id``) of these layers' attention modules.
    """

    images: Sequences
    windows: Sequences | None = None
    windowed: frozenset[int] = frozenset()

    def of(self, module: torch.nn.Module) -> Sequences:
        """Return the sequences that the attention ``module`` attends within."""
        return self.windows if self.windows is not None and id(module) in self.windowed else self.images


def attend_images(
    module: torch.nn.Module,
    *states: torch.Tensor,
    attention_mask: None = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sequences: TowerLayout | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Return attention ``[1, T, heads, channels]`` of all T patches, each in its sequence.

    ``states`` are query, key and value ``[1, heads, T, channels]``. Without ``sequences``, all patches of each of N see
    each other, ``[N, heads, T, channels]``: transformers has split them then, or they are tiles.
    """
    assert attention_mask is None, "towers of these families have no masks"
    if sequences is None:
        with fused_kernels(states[0].device):
            out = scaled_dot_product_attention(*states, dropout_p=dropout, scale=scaling)
        return out.transpose(1, 2).contiguous(), None
    total, layout = states[0].shape[2], sequences.of(module)
    rows = [one[0].transpose(0, 1) for one in states]
    if layout.order is not None:
        rows = [one.index_select(0, layout.order) for one in rows]
    parts, start = [], 0
    with fused_kernels(states[0].device):
        for number, length in layout.groups:
            end = start + number * length
            query, key, value = (one[start:end].unflatten(0, (number, length)).transpose(1, 2) for one in rows)
            out = scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=scaling)
            parts.append(out.transpose(1, 2).flatten(0, 1))
            start = end
    assert start == total, "the layout is of other patches"
    out = parts[0] if len(parts) == 1 else torch.cat(parts)
    if layout.back is not None:
        out = out.index_select(0, layout.back)
    return out[None], None


AttentionInterface.register(NAME, attend_images)
