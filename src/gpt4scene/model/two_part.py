"""Attention over a pack in two parts, exact: no mask, and in the forward pass no repeated keys.

Prefix tokens are plainly causal. A branch token attends to the prefix, all branches in one call, and to its own branch,
all branches as one padded batch under the kernel's causal mask: padding lies behind every query, so none sees it. The
two parts are merged by their log-sum-exp. The backward pass takes the gradient of each part with the merged output and
log-sum-exp (see ``kernels``), so that it needs no mask either.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch.autograd.function import once_differentiable

from gpt4scene.model.kernels import attention_gradients, attention_part, merge
from gpt4scene.model.layout import padded, unpadded
from gpt4scene.types import PackLayout

States = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def attend_pack(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layout: PackLayout, scale: float
) -> torch.Tensor:
    """Return the attention ``[1, L, heads, channels]`` of a packed row; gradients flow to all three.

    ``query[1, heads, L, channels]``, ``key`` and ``value`` ``[1, key heads, S, channels]`` of one dtype. The keys are
    those of the whole row. The queries are those of the whole row as well, or of the branches alone, where the keys of
    the prefix come from a cache.
    """
    rest = layout.branch_tokens
    assert key.shape[2] == layout.prefix_length + rest and query.shape[2] in (rest, key.shape[2])
    out = cast(torch.Tensor, _Attention.apply(query, key, value, layout, scale))
    return out.transpose(1, 2)


def attend_branches(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layout: PackLayout, scale: float
) -> torch.Tensor:
    """Return what ``attend_pack`` does at the branches, and zeros at the prefix, which then costs nothing.

    For a last layer whose output is read at the branches alone. Arguments are of the whole row.
    """
    prefix = layout.prefix_length
    out = attend_pack(query[:, :, prefix:], key, value, layout, scale)
    return torch.nn.functional.pad(out, (0, 0, 0, 0, prefix, 0))


def attend_causally(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
    """Return the attention ``[1, L, heads, channels]`` of one sequence, whose queries are the last of its keys."""
    length = query.shape[2]
    places = torch.empty(0, dtype=torch.int64, device=query.device)
    layout = PackLayout(key.shape[2] - length, (length,), 0, ((1, length),), places)
    return attend_pack(query, key, value, layout, scale)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layout: PackLayout, scale: float
    ) -> torch.Tensor:
        """Return ``[1, heads, L, channels]``, in memory ``[1, L, heads, channels]``."""
        ctx.layout, ctx.scale = layout, scale
        if layout.plain and query.shape[2] == key.shape[2]:
            out, lse = attention_part(query, key, value, causal=True, scale=scale)
            ctx.save_for_backward(query, key, value, out, lse)
            return out
        first, prefix = query.shape[2] - layout.branch_tokens, layout.prefix_length
        out = _empty(query)
        lse = None
        if first:
            front = query[:, :, :first], key[:, :, :first], value[:, :, :first]
            out[:, :, :first], lse = attention_part(*front, causal=True, scale=scale)
        own, own_lse = _own(query[:, :, first:], key[:, :, prefix:], value[:, :, prefix:], layout, scale)
        seeing = layout.seeing_tokens if prefix else 0
        if seeing:
            end = first + seeing
            shared = attention_part(
                query[:, :, first:end], key[:, :, :prefix], value[:, :, :prefix], causal=False, scale=scale
            )
            out[:, :, first:end], merged = merge(*shared, own[:, :, :seeing], own_lse[:, :, :seeing])
            own_lse = merged if seeing == own.shape[2] else torch.cat([merged, own_lse[:, :, seeing:]], 2)
        out[:, :, first + seeing :] = own[:, :, seeing:]
        ctx.save_for_backward(query, key, value, out, lse, own_lse)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # pyright: ignore
        """Return the gradients of query, key and value."""
        layout, scale = ctx.layout, ctx.scale
        query, key, value, out, lse, *own_lse = ctx.saved_tensors
        if not own_lse:
            grads = attention_gradients(grad, query, key, value, out, lse, causal=True, scale=scale)
            return (*grads, None, None)
        return (*_gradients(grad, (query, key, value), out, lse, own_lse[0], layout, scale), None, None)


def _gradients(
    grad: torch.Tensor,
    states: States,
    out: torch.Tensor,
    lse: torch.Tensor | None,
    own_lse: torch.Tensor,
    layout: PackLayout,
    scale: float,
) -> States:
    """Return the gradients of all three states from the merged output and log-sum-exp of prefix and branches."""
    query, key, value = states
    first, prefix = query.shape[2] - layout.branch_tokens, layout.prefix_length
    grads = _empty(query), _empty(key), _empty(value)
    own = _own_gradients(
        grad[:, :, first:],
        (query[:, :, first:], key[:, :, prefix:], value[:, :, prefix:]),
        out[:, :, first:],
        own_lse,
        layout,
        scale,
    )
    for whole, part, start in zip(grads, own, (first, prefix, prefix), strict=True):
        whole[:, :, start:] = part
    front = key[:, :, :prefix], value[:, :, :prefix]
    on_prefix = []
    if first:
        rows = grad[:, :, :first], query[:, :, :first], *front, out[:, :, :first], lse
        part, *keys = attention_gradients(*cast(Any, rows), causal=True, scale=scale)
        grads[0][:, :, :first] = part
        on_prefix.append(keys)
    seeing = layout.seeing_tokens if prefix else 0
    if seeing:
        chosen = slice(first, first + seeing)
        rows = grad[:, :, chosen], query[:, :, chosen], *front, out[:, :, chosen], own_lse[:, :, :seeing]
        part, *keys = attention_gradients(*rows, causal=False, scale=scale)
        grads[0][:, :, chosen] += part
        on_prefix.append(keys)
    for index, whole in enumerate(grads[1:]):
        parts = [keys[index] for keys in on_prefix]
        if len(parts) == 2:
            torch.add(*parts, out=whole[:, :, :prefix])
        else:
            whole[:, :, :prefix] = parts[0] if parts else 0
    return grads


def _own(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layout: PackLayout, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the attention ``[1, heads, R, channels]`` of branch tokens on their own branch, and its log-sum-exp."""
    batches = zip(*(padded(states, layout) for states in (query, key, value)), strict=True)
    done = [attention_part(*batch, causal=True, scale=scale) for batch in batches]
    return unpadded([out for out, _ in done], layout), unpadded([lse for _, lse in done], layout)


def _own_gradients(
    grad: torch.Tensor, states: States, out: torch.Tensor, lse: torch.Tensor, layout: PackLayout, scale: float
) -> list[torch.Tensor]:
    """Return the gradients of the branches' states by way of their own keys.

    Padding holds zeros everywhere, so that its queries give its keys and all others a gradient of 0.
    """
    batches = zip(*(padded(tensor, layout) for tensor in (grad, *states, out, lse)), strict=True)
    done = [attention_gradients(*batch, causal=True, scale=scale) for batch in batches]
    return [unpadded(list(parts), layout) for parts in zip(*done, strict=True)]


def _empty(states: torch.Tensor) -> torch.Tensor:
    """Return memory for a tensor of this shape whose tokens, not heads, lie one behind the other."""
    batch, heads, length, channels = states.shape
    return states.new_empty((batch, length, heads, channels)).transpose(1, 2)
