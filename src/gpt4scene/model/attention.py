"""Attention over a pack: prefix tokens plainly causal, each branch sees the prefix and itself.

The dense mask of a pack would be L x L. Here none is built: ``two_part`` computes the branches on the prefix and on
themselves, and merges. Both functions here are registered with transformers and take their ``PackLayout`` from the
keyword argument ``layout`` of the model call: ``NAME`` computes with fused kernels, ``EAGER`` with plain products.
transformers' own attentions would drop the layout without a word, so ``require`` stands before every call of a model.
"""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel

from gpt4scene.errors import ConfigError
from gpt4scene.model.branches import KeptKeys
from gpt4scene.model.delta import delta_sentence, foreign_layer
from gpt4scene.model.kernels import fused_kernels, kernel_sentence, one_precision, repeated
from gpt4scene.model.layout import seen
from gpt4scene.model.two_part import attend_branches, attend_causally, attend_pack
from gpt4scene.types import PackLayout

NAME = "gpt4scene"
EAGER = "gpt4scene_eager"


def text_attention(attention: str) -> str:
    """Return the attention of the language part where ``attention`` was asked for: always one that obeys layouts."""
    return EAGER if attention == "eager" else NAME


def require(model: torch.nn.Module) -> None:
    """Raise ``ValueError`` unless all layers of the language part of ``model``, wrapped or not, obey layouts."""
    network = next((module for module in model.modules() if isinstance(module, PreTrainedModel)), None)
    assert network is not None, "a model of transformers, or a wrapper around one"
    found = network.config.get_text_config()._attn_implementation
    wrong = f"attention '{found}'" if found not in (NAME, EAGER) else foreign_layer(network)
    if wrong is not None:
        raise ValueError(
            f"{wrong} does not know which questions of a pack see each other, so answers and losses would "
            "mix; load the model with gpt4scene.model.loading.load_model and leave its attention as it is"
        )


def attention_sentence(
    config: PreTrainedConfig, attention: str, device: torch.device, dtype: torch.dtype, instead: str
) -> str:
    """Return what computes the language part's attention where ``attention`` was asked for, in ``dtype``.

    What computes layers with a recurrent state is named as well. Raises ``ConfigError`` where no kernel can;
    ``instead`` is what the command at hand offers then.
    """
    recurrent = delta_sentence(config, device, dtype)
    beside = f"; {recurrent}" if recurrent else ""
    if text_attention(attention) == EAGER:
        return f"plain products under a mask{beside}"
    text = config.get_text_config()
    channels = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    try:
        return kernel_sentence(device, dtype, channels) + beside
    except ValueError as error:
        raise ConfigError(f"{error}; {instead}") from None


def refuse_dropout(config: PreTrainedConfig, attention: str) -> None:
    """Raise ``ConfigError`` where the language part would train with a dropout that ``attention`` does not have."""
    if text_attention(attention) != EAGER:
        _refuse_dropout(config.get_text_config().attention_dropout)


def _refuse_dropout(dropout: float) -> None:
    if dropout:
        raise ConfigError(
            f"config.json sets attention_dropout to {dropout}, which the fused attention over packs does not have; set "
            "it to 0 there, or write flash_attn: disabled"
        )


@torch.compiler.disable  # its calls differ with every layout; compiled code would be made anew for each
def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    layout: PackLayout | KeptKeys | None = None,
    branches_only: bool = False,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Return attention ``[1, L, heads, channels]`` of ``query[1, heads, L, channels]`` on S keys of fewer heads.

    Without ``layout`` the row is plainly causal. More than one row has no meaning here and is refused, since padding
    would go unseen; so is dropout, which the kernels do not all have. A 4-D ``attention_mask`` (tests, reference runs)
    replaces the layout. ``branches_only``: nobody reads the model's output at tokens of the prefix, so that in the last
    layer zeros stand there.
    """
    if isinstance(layout, KeptKeys):
        return _kept(module, query, key, value, scaling, layout), None
    query, key, value = one_precision(query, key, value)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if attention_mask is not None:
        return _masked(query, key, value, attention_mask, scale).transpose(1, 2).contiguous(), None
    _refuse_batch(query)
    _refuse_dropout(dropout)
    if layout is None:
        return attend_causally(query, key, value, scale), None
    if branches_only and _is_last(module):
        return attend_branches(query, key, value, layout, scale), None
    return attend_pack(query, key, value, layout, scale), None


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
    """Return what ``attend`` does, computed by plain products and an fp32 softmax; and the weights of all keys.

    On kept keys (inference, which does not offer plain attention) it is the fused kernels all the same.
    """
    if isinstance(layout, KeptKeys):
        return _kept(module, query, key, value, scaling, layout), None
    mask = attention_mask
    if mask is None:
        _refuse_batch(query)
        mask = _seen(query.shape[2], key.shape[2], layout, query.device)
    key, value = repeated(key, query), repeated(value, query)
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, torch.finfo(scores.dtype).min)
    scores = scores + mask
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = torch.nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def _is_last(module: torch.nn.Module) -> bool:
    """Return whether ``module`` is the attention of the last layer of the language part."""
    number, config = module.layer_idx, module.config
    assert isinstance(number, int) and isinstance(config, PreTrainedConfig), "layers of the language part are numbered"
    return number + 1 == config.num_hidden_layers


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
    query, key, value = one_precision(query, key, value)
    return layout.attend(layer, query, key, value, query.shape[-1] ** -0.5 if scaling is None else scaling)


def _seen(length: int, total: int, layout: PackLayout | None, device: torch.device) -> torch.Tensor:
    """Return ``bool[L, S]``: which of S keys each of L queries, the last of the keys, may see."""
    if layout is not None:
        return seen(layout, device)[total - length :]
    keys = torch.arange(total, device=device)
    return keys <= keys[total - length :, None]


def _refuse_batch(query: torch.Tensor) -> None:
    if query.shape[0] != 1:
        raise ValueError(f"attention '{NAME}' takes one packed row at a time, not a batch of {query.shape[0]}")


def _masked(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, scale: float
) -> torch.Tensor:
    """Return attention ``[1, heads, L, channels]`` under a whole mask."""
    with fused_kernels(query.device):
        return scaled_dot_product_attention(
            query, repeated(key, query), repeated(value, query), attn_mask=mask, scale=scale
        )


AttentionInterface.register(NAME, attend)
AttentionInterface.register(EAGER, attend_eagerly)
