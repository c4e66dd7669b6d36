"""Attention over a pack: prefix tokens plainly causal, each branch sees the prefix and itself.

The dense mask of a pack would be L x L. Here none is built: ``two_part`` computes the branches on the prefix and on
themselves, and merges. Both functions here are registered with transformers and take their ``PackLayout`` from the
keyword argument ``layout`` of the model call: ``NAME`` computes with fused kernels, ``EAGER`` with plain products.
transformers' own attentions would drop the layout without a word, so ``require`` stands before every call of a model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from gpt4scene.model.branches import KeptKeys
from gpt4scene.model.kernels import fused_kernels, one_precision
from gpt4scene.model.layout import seen
from gpt4scene.model.two_part import attend_causally, attend_pack
from gpt4scene.types import PackLayout

NAME = "gpt4scene"
EAGER = "gpt4scene_eager"
PREFIX = -1
"""Owner of prefix tokens; branches are numbered from 0."""

_GROUPED_QUERIES = 256
"""Up to this many branch queries, query heads of one key head are laid side by side instead of repeating the keys."""


@dataclass(frozen=True, eq=False)
class KeyMask:
    """A mask in place of a layout: true where one of L queries, the last of S keys, sees one of them."""

    mask_LS: torch.Tensor

    @staticmethod
    def build(owners: torch.Tensor, key_owners: torch.Tensor) -> KeyMask:
        """Return the mask of queries owned by ``owners[L]`` on keys owned by ``key_owners[S]``.

        A query sees the keys of the prefix and of its own branch that do not come after it.
        """
        keys = torch.arange(len(key_owners), device=owners.device)
        queries = keys[len(key_owners) - len(owners) :, None]
        return KeyMask(((key_owners == PREFIX) | (key_owners == owners[:, None])) & (keys <= queries))


def text_attention(attention: str) -> str:
    """Return the attention of the language part where ``attention`` was asked for: always one that obeys layouts."""
    return EAGER if attention == "eager" else NAME


def require(model: torch.nn.Module) -> None:
    """Raise ``ValueError`` unless the language part of ``model``, wrapped or not, attends by one of ours."""
    network = next((module for module in model.modules() if isinstance(module, PreTrainedModel)), None)
    assert network is not None, "a model of transformers, or a wrapper around one"
    found = network.config.get_text_config()._attn_implementation
    if found not in (NAME, EAGER):
        raise ValueError(
            f"attention '{found}' does not know which questions of a pack see each other, so answers and losses would "
            "mix; load the model with gpt4scene.model.loading.load_model and leave its attention as it is"
        )


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    layout: PackLayout | KeyMask | KeptKeys | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Return attention ``[1, L, heads, channels]`` of ``query[1, heads, L, channels]`` on S keys of fewer heads.

    Without ``layout`` the row is plainly causal. More than one row has no meaning here and is refused, since padding
    would go unseen; so is dropout, which the kernels do not all have. A 4-D ``attention_mask`` (tests, reference runs)
    replaces the layout.
    """
    if isinstance(layout, KeptKeys):
        return _kept(module, query, key, value, scaling, layout), None
    query, key, value = one_precision(query, key, value)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if attention_mask is not None:
        return _masked(query, key, value, attention_mask, scale).transpose(1, 2).contiguous(), None
    _refuse_batch(query)
    if dropout:
        raise ValueError(
            f"attention_dropout is {dropout}, which the fused attention over packs does not have; set it to 0 in "
            "config.json, or write flash_attn: disabled"
        )
    if isinstance(layout, KeyMask):
        return _masked(query, key, value, layout.mask_LS, scale).transpose(1, 2).contiguous(), None
    if layout is None:
        return attend_causally(query, key, value, scale), None
    return attend_pack(query, key, value, layout, scale), None


def attend_eagerly(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    layout: PackLayout | KeyMask | KeptKeys | None = None,
    **_: object,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return what ``attend`` does, computed by plain products and an fp32 softmax; and the weights of all keys."""
    if isinstance(layout, KeptKeys):
        return _kept(module, query, key, value, scaling, layout), None
    mask = attention_mask
    if mask is None:
        _refuse_batch(query)
        mask = _seen(query.shape[2], key.shape[2], layout, query.device)
    key, value = _repeat(key, query), _repeat(value, query)
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, torch.finfo(scores.dtype).min)
    scores = scores + mask
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = torch.nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def _kept(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    layout: KeptKeys,
) -> torch.Tensor:
    """Return the attention of a layer on kept keys."""
    layer = module.layer_idx
    assert isinstance(layer, int), "layers of the language part are numbered"
    return layout.attend(layer, query, key, value, query.shape[-1] ** -0.5 if scaling is None else scaling)


def _seen(length: int, total: int, layout: PackLayout | KeyMask | None, device: torch.device) -> torch.Tensor:
    """Return ``bool[L, S]``: which of S keys each of L queries, the last of the keys, may see."""
    if isinstance(layout, KeyMask):
        return layout.mask_LS
    if layout is not None:
        return seen(layout, device)[total - length :]
    keys = torch.arange(total, device=device)
    return keys <= keys[total - length :, None]


def _refuse_batch(query: torch.Tensor) -> None:
    if query.shape[0] != 1:
        raise ValueError(f"attention '{NAME}' takes one packed row at a time, not a batch of {query.shape[0]}")


def _repeat(states: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Return key or value ``states`` with as many heads as ``query``."""
    groups = query.shape[1] // states.shape[1]
    return states if groups == 1 else states.repeat_interleave(groups, dim=1)


def _masked(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, scale: float
) -> torch.Tensor:
    """Attention of L queries under a mask ``[..., L, S]``, without copies of the keys where the queries are few."""
    heads, key_heads, rows = query.shape[1], key.shape[1], query.shape[2]
    groups = heads // key_heads
    with fused_kernels(query.device):
        if groups == 1 or rows > _GROUPED_QUERIES or mask.dim() > 2:
            key, value = _repeat(key, query), _repeat(value, query)
            return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
        folded = query.reshape(1, key_heads, groups * rows, query.shape[-1])
        out = scaled_dot_product_attention(folded, key, value, attn_mask=mask.repeat(groups, 1), scale=scale)
    return out.reshape(1, heads, rows, value.shape[-1])


AttentionInterface.register(NAME, attend)
AttentionInterface.register(EAGER, attend_eagerly)
