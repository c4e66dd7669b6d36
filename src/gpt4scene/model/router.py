"""The loss that keeps the experts of a layer equally busy, for each row of a pack.

Switch Transformers (arxiv.org/abs/2101.03961), equations 4 to 6, as transformers computes it for a batch of one row:
over all tokens of the row in all layers, the share of choices that fell on an expert, times the mean probability that
the router gave it; summed over the experts, times their number. It is the number of choices a token where all are
equally busy.

A row has its own loss, and the step's is the mean over its rows. So the number does not depend on how rows become
packs, micro-batches and processes. transformers pools the tokens of a micro-batch of several rows, and so depends on
that; with one row it gives what stands here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedConfig

from gpt4scene.errors import ConfigError
from gpt4scene.families.registry import shape_of
from gpt4scene.types import PackLayout


def set_balance(config: PreTrainedConfig, coefficient: float | None) -> None:
    """Make training add ``coefficient`` times the router's loss, as LLaMA-Factory's ``moe_aux_loss_coef`` does.

    None and 0 leave what ``config.json`` says. Raises ``ConfigError`` for a model without experts.
    """
    if not coefficient:
        return
    if not shape_of(config).experts:
        raise ConfigError(f"moe_aux_loss_coef: a {config.model_type} has no experts to balance; leave the key out")
    text: Any = config.get_text_config()
    text.output_router_logits, text.router_aux_loss_coef = True, coefficient


def balance_of(config: PreTrainedConfig) -> float:
    """Return what the router's loss counts for in a row's loss; 0 for none."""
    text = config.get_text_config()
    return float(text.router_aux_loss_coef) if getattr(text, "output_router_logits", False) else 0.0


def balance_losses(router_logits: Sequence[torch.Tensor], layout: PackLayout, active: int) -> torch.Tensor:
    """Return ``float32[K]``: the loss of each row of a pack.

    ``router_logits`` are ``[L, experts]`` of each layer for the L tokens of the packed row, of which ``active`` experts
    take each. The tokens of a row are the prefix and its branch, or its branch alone where that stands apart.
    """
    device, experts, rows = router_logits[0].device, router_logits[0].shape[-1], len(layout.lengths)
    lengths = torch.tensor((layout.prefix_length, *layout.lengths), device=device)
    owners = torch.repeat_interleave(
        torch.arange(rows + 1, device=device), lengths, output_size=layout.prefix_length + layout.branch_tokens
    )
    chosen = torch.zeros(rows + 1, experts, device=device)
    given = torch.zeros(rows + 1, experts, device=device)
    for logits in router_logits:
        chances = torch.softmax(logits.float(), dim=-1)
        picked = torch.zeros_like(chances).scatter_(1, chances.topk(active, dim=-1).indices, 1.0)
        chosen = chosen.index_add(0, owners, picked)
        given = given.index_add(0, owners, chances)
    seeing = torch.ones(rows, 1, device=device)
    if layout.apart:
        seeing[-layout.apart :] = 0
    counts = (lengths[1:, None] + seeing * lengths[0]) * len(router_logits)
    chosen, given = (sums[1:] + seeing * sums[:1] for sums in (chosen, given))
    return experts * (chosen * given).sum(dim=-1) / counts.square().squeeze(1)
