"""Qwen3-VL with experts: a router sends each token through a few of a layer's many MLPs.

transformers 5 keeps the experts of a layer in two tensors ``[experts, out, in]``; releases hold ``[experts, in, out]``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.families.family import Family
from gpt4scene.families.qwen3_vl import MERGERS, TINY, qwen3_shape, text_config, vision_config
from gpt4scene.families.shape import ModelShape
from gpt4scene.families.tiny import TinyShape


def _shape(config: Any) -> ModelShape:
    text = config.text_config
    if text.mlp_only_layers or text.decoder_sparse_step != 1:
        raise DataError(
            "config.json gives some layers one MLP in place of experts (mlp_only_layers, decoder_sparse_step), and "
            "memory is planned here for equal layers; take a checkpoint all of whose layers have experts"
        )
    active = text.num_experts_per_tok
    return replace(
        qwen3_shape(config),
        intermediate=active * text.moe_intermediate_size,
        experts=text.num_experts,
        active=active,
    )


def _tiny(shape: TinyShape, text: dict[str, Any], ids: dict[str, Any]) -> Any:
    from transformers import Qwen3VLMoeConfig

    experts = {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 3 * shape.width // 4,  # no tensor is square, so that its axes can be told apart
    }
    text = text_config(shape, text) | experts
    return Qwen3VLMoeConfig(text_config=text, vision_config=vision_config(shape), **ids)


FAMILY = Family(
    name="qwen3_vl_moe",
    template="qwen3_vl_nothink",
    thinking="qwen3_vl",
    shape=_shape,
    tiny=replace(TINY, config=_tiny),
    norms=("Qwen3VLMoeTextRMSNorm",),
    mergers=MERGERS,
    released_swapped=("mlp.experts.gate_up_proj", "mlp.experts.down_proj"),
)
