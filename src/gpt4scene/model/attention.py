"""Attention over a pack: prefix tokens plainly causal, each branch sees the prefix and itself.

The dense mask of a pack would be L x L. Here the prefix runs causal without any mask, and only the branch tokens meet a
mask, R x S for R branch queries and S keys. Both functions here are registered with transformers and take their
``PackLayout`` from the keyword argument ``layout`` of the model call: ``NAME`` computes with PyTorch's fused kernels,
``EAGER`` with plain products. transformers' own attentions would drop the layout without a word, so ``require`` stands
before every call of a model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from gpt4scene.model.branches import KeptKeys

NAME = "gpt4scene"
EAGER = "gpt4scene_eager"
PREFIX = -1
"""Owner of prefix tokens; branches are numbered from 0."""

_GROUPED_QUERIES = 256
"""Up to this many branch queries, query heads of one key head are laid side by side instead of repeating the keys."""


@dataclass(frozen=True, eq=False)
class PackLayout:
    """Which keys each query of a packed row may see.

    ``prefix_length`` leading queries belong to the prefix (0 while decoding on a cached prefix). ``mask_RS`` is true
    where one of the R remaining queries sees one of the S keys; ``None`` says that the row is plainly causal.
    """

    prefix_length: int
    mask_RS: torch.Tensor | None

    @staticmethod
    def build(owners: torch.Tensor, prefix_length: int, key_owners: torch.Tensor | None = None) -> PackLayout:
        """Return the layout of queries owned by ``owners[L]`` on keys owned by ``key_owners[S]``.

        The queries are the last L keys; ``key_owners`` is left out where there are no others. A query sees the keys
        of the prefix and of its own branch that do not come after it.
        """
        branch_owners = owners[prefix_length:, None]
        if key_owners is None and bool((branch_owners == owners[-1]).all()):
            return PackLayout(prefix_length, None)
        owners_S = owners if key_owners is None else key_owners
        keys = torch.arange(len(owners_S), device=owners.device)
        queries = keys[len(owners_S) - len(branch_owners) :, None]
        mask_RS = (owners_S == PREFIX) | (owners_S == branch_owners)
        return PackLayout(prefix_length, mask_RS & (keys <= queries))


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
    layout: PackLayout | KeptKeys | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Return attention ``[1, L, heads, channels]`` of ``query[1, heads, L, channels]`` on S keys of fewer heads.

    Without ``layout`` the row is plainly causal. More than one row has no meaning here and is refused, since padding
    would go unseen. A 4-D ``attention_mask`` (tests, reference runs) replaces the layout.
    """
    if isinstance(layout, KeptKeys):
        return _kept(module, query, key, value, scaling, layout), None
    options = {"dropout_p": dropout, "scale": scaling}
    if attention_mask is not None:
        key, value = _repeat(key, query), _repeat(value, query)
        out = scaled_dot_product_attention(query, key, value, attn_mask=attention_mask, **options)
        return out.transpose(1, 2).contiguous(), None
    _refuse_batch(query)
    length = query.shape[2]
    if layout is None or layout.mask_RS is None:
        return _causal(query, key, value, options).transpose(1, 2).contiguous(), None
    parts = []
    prefix = layout.prefix_length
    if prefix:
        parts.append(_causal(query[:, :, :prefix], key[:, :, :prefix], value[:, :, :prefix], options))
    if prefix < length:
        parts.append(_masked(query[:, :, prefix:], key, value, layout.mask_RS, options))
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def attend_eagerly(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    layout: PackLayout | KeptKeys | None = None,
    **_: object,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return what ``attend`` does, computed by plain products and an fp32 softmax; and the weights of all keys."""
    if isinstance(layout, KeptKeys):
        return _kept(module, query, key, value, scaling, layout), None
    seen = attention_mask
    if seen is None:
        _refuse_batch(query)
        seen = _seen(query.shape[2], key.shape[2], layout, query.device)
    key, value = _repeat(key, query), _repeat(value, query)
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if seen.dtype == torch.bool:
        seen = torch.zeros_like(seen, dtype=scores.dtype).masked_fill(~seen, torch.finfo(scores.dtype).min)
    scores = scores + seen
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


def _seen(length: int, total: int, layout: PackLayout | None, device: torch.device) -> torch.Tensor:
    """Return ``bool[L, S]``: which of S keys each of L queries, the last of the keys, may see."""
    keys = torch.arange(total, device=device)
    causal = keys <= keys[total - length :, None]
    if layout is None or layout.mask_RS is None:
        return causal
    return torch.cat([causal[: layout.prefix_length], layout.mask_RS])


def _refuse_batch(query: torch.Tensor) -> None:
    if query.shape[0] != 1:
        raise ValueError(f"attention '{NAME}' takes one packed row at a time, not a batch of {query.shape[0]}")


def _repeat(states: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Return key or value ``states`` with as many heads as ``query``."""
    groups = query.shape[1] // states.shape[1]
    return states if groups == 1 else states.repeat_interleave(groups, dim=1)


def _causal(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: dict) -> torch.Tensor:
    """Causal attention; queries are the last of the keys."""
    length, total = query.shape[2], key.shape[2]
    grouped = query.shape[1] != key.shape[1]
    if length == total:
        return scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=grouped, **options)
    positions = torch.arange(total, device=query.device)
    mask = positions <= positions[total - length :, None]
    return _masked(query, key, value, mask, options)


def _masked(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask_RS: torch.Tensor, options: dict
) -> torch.Tensor:
    """Attention of R queries under ``mask_RS``, without copies of the keys where the queries are few."""
    heads, key_heads, rows = query.shape[1], key.shape[1], query.shape[2]
    groups = heads // key_heads
    if groups == 1 or rows > _GROUPED_QUERIES or options["dropout_p"]:
        key, value = _repeat(key, query), _repeat(value, query)
        return scaled_dot_product_attention(query, key, value, attn_mask=mask_RS, **options)
    folded = query.reshape(1, key_heads, groups * rows, query.shape[-1])
    out = scaled_dot_product_attention(folded, key, value, attn_mask=mask_RS.repeat(groups, 1), **options)
    return out.reshape(1, heads, rows, value.shape[-1])


AttentionInterface.register(NAME, attend)
AttentionInterface.register(EAGER, attend_eagerly)
