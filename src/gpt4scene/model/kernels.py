"""Fused attention with its log-sum-exp: the one kernel that all attention over packs is built of.

Attention on a set of keys is exact when computed in parts: each part gives its output and the log of its sum of
exponentials, and ``merge`` weighs the outputs by them. The gradient of a part is that of the kernel, taken with the
merged output and log-sum-exp (the identity behind ring attention, arXiv 2310.01889).
"""

from __future__ import annotations

import torch


def attention_part(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, causal: bool, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return attention ``[B, heads, L, channels]`` on the keys given, and its log-sum-exp ``[B, heads, L]``, fp32.

    ``query[B, heads, L, channels]``, ``key`` and ``value`` ``[B, key heads, S, channels]`` of one dtype; ``key heads``
    divides ``heads``. ``causal`` needs S = L.
    """
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, causal, scale=scale)
    return out, lse


def attention_gradients(
    grad: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    out: torch.Tensor,
    lse: torch.Tensor,
    *,
    causal: bool,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradients of query, key and value of one part; ``out`` and ``lse`` are the merged ones."""
    groups = query.shape[1] // key.shape[1]
    repeated = [states.repeat_interleave(groups, 1) if groups > 1 else states for states in (key, value)]
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    grad_q, grad_k, grad_v = backward(grad, query, *repeated, out, lse, 0.0, causal, scale=scale)
    if groups > 1:
        grad_k, grad_v = (one.unflatten(1, (-1, groups)).sum(2) for one in (grad_k, grad_v))
    return grad_q, grad_k, grad_v


def merge(
    one: torch.Tensor, one_lse: torch.Tensor, other: torch.Tensor, other_lse: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the attention of two disjoint sets of keys, and its log-sum-exp, from those of each set."""
    lse = torch.logaddexp(one_lse, other_lse)
    weights = [(part - lse).exp().unsqueeze(-1) for part in (one_lse, other_lse)]
    return (one * weights[0] + other * weights[1]).to(one.dtype), lse
