"""A pack's layout on tensors: its branches as padded batches, and the dense mask that it stands for."""

from __future__ import annotations

import torch

from gpt4scene.types import PackLayout


def padded(states: torch.Tensor, layout: PackLayout) -> list[torch.Tensor]:
    """Return the branch states ``[1, heads, R, ...]`` as batches ``[K, heads, T, ...]``, one for each kernel call.

    Places behind the end of a branch hold zeros. Branches of one length are views.
    """
    rows = states[0].transpose(0, 1)  # [R, heads, ...]
    if not layout.even:
        total = sum(count * longest for count, longest in layout.groups)
        rows = rows.new_zeros((total, *rows.shape[1:])).index_copy_(0, layout.places, rows)
    sizes = [count * longest for count, longest in layout.groups]
    return [
        part.unflatten(0, group).transpose(1, 2) for part, group in zip(rows.split(sizes), layout.groups, strict=True)
    ]


def unpadded(batches: list[torch.Tensor], layout: PackLayout) -> torch.Tensor:
    """Return ``[1, heads, R, ...]``, the branch states in the order of the row: the inverse of ``padded``."""
    parts = [batch.transpose(1, 2).flatten(0, 1) for batch in batches]
    rows = parts[0] if len(parts) == 1 else torch.cat(parts)
    if not layout.even:
        rows = rows.index_select(0, layout.places)
    return rows.transpose(0, 1)[None]


def seen(layout: PackLayout, device: torch.device) -> torch.Tensor:
    """Return ``bool[L, L]``: which tokens (columns) each token (rows) sees; for tests and plain attention."""
    counts = torch.tensor([layout.prefix_length, *layout.lengths], device=device)
    owners = torch.repeat_interleave(torch.arange(len(counts), device=device), counts)
    apart = owners > len(layout.lengths) - layout.apart
    same = owners[:, None] == owners
    return (same | ((owners == 0) & ~apart[:, None])).tril()
