"""Attention on kept keys in parts: a branch's own keys, and prefixes that many rows see, merged by log-sum-exp.

Letters: R rows, K key heads, G query heads a key head, H heads, T own keys, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gpt4scene.model.kernels import attention_part, merge

Prefixes = Sequence[tuple[torch.Tensor, torch.Tensor | None]]
"""The states ``[layers, 2, key heads, P, channels]`` of prefixes, and which rows see each; None says all of them."""


def on_own(
    query_RKGC: torch.Tensor, key: torch.Tensor, value: torch.Tensor, hidden_RT: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return attention ``[R, K, G, C]`` of each row on its own keys, and log-sum-exps, by what the device does best."""
    own = own_by_flash if query_RKGC.device.type == "cpu" else own_by_products
    return own(query_RKGC, key, value, hidden_RT, scale)


def own_by_flash(
    query_RKGC: torch.Tensor, key: torch.Tensor, value: torch.Tensor, hidden_RT: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return attention ``[R, K, G, C]`` of each row on its own keys ``[R, K, T, C]``, and log-sum-exps ``[R, K, G]``.

    By the CPU's fused kernel, the only one that takes a mask and gives the log-sum-exp.
    """
    hidden = hidden_RT[:, None, None].to(query_RKGC.dtype)
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query_RKGC, key, value, 0.0, False, attn_mask=hidden, scale=scale
    )


def own_by_products(
    query_RKGC: torch.Tensor, key: torch.Tensor, value: torch.Tensor, hidden_RT: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what ``own_by_flash`` does, on any device; scores and their sums are fp32 at least."""
    rows, heads = query_RKGC.shape[:2]
    left, right = query_RKGC.flatten(0, 1), key.flatten(0, 1).transpose(1, 2)
    if left.device.type == "cuda" and left.dtype in (torch.bfloat16, torch.float16):
        scores = torch.bmm(left, right, out_dtype=torch.float32)  # as flash kernels keep them, without wider copies
    else:
        scores = torch.bmm(left, right)
        scores = scores if scores.dtype == torch.float64 else scores.float()
    scores = scores.unflatten(0, (rows, heads)) * scale + hidden_RT[:, None, None]
    lse = scores.logsumexp(-1)
    weights = (scores - lse.unsqueeze(-1)).exp().to(value.dtype)
    return weights @ value, lse


def with_levels(
    place: int,
    query_RHC: torch.Tensor,
    out_RHC: torch.Tensor,
    lse_RH: torch.Tensor,
    levels: Sequence[Prefixes],
    scale: float,
) -> torch.Tensor:
    """Return ``[R, heads, channels]``: attention on own keys merged with that on every level's."""
    for prefixes in levels:
        if len(prefixes) == 1 and prefixes[0][1] is None:
            out, lse = _on_prefix(query_RHC, prefixes[0][0][place], scale)
        elif prefixes:
            out, lse = torch.zeros_like(out_RHC), torch.full_like(lse_RH, float("-inf"))
            for states, rows in prefixes:
                assert rows is not None, "a prefix that all rows see is the only one of its level"
                out[rows], lse[rows] = _on_prefix(query_RHC[rows], states[place], scale)
        else:
            continue
        out_RHC, lse_RH = merge(out, lse, out_RHC, lse_RH)
    return out_RHC


def _on_prefix(query_RHC: torch.Tensor, states: torch.Tensor, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return attention ``[R, heads, channels]`` of all rows on a prefix, and its log-sum-exp ``[R, heads]``.

    Nothing is hidden from any query, so the heads of one key head become rows of it.
    """
    heads = states.shape[1]
    folded = query_RHC.unflatten(1, (heads, -1)).transpose(0, 1).flatten(1, 2)[None]
    out, lse = attention_part(folded, states[0][None], states[1][None], causal=False, scale=scale)
    rows = len(query_RHC)
    return (
        out[0].unflatten(1, (rows, -1)).transpose(0, 1).flatten(1, 2),
        lse[0].unflatten(1, (rows, -1)).transpose(0, 1).flatten(1, 2),
    )
