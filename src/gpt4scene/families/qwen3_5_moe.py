"""Qwen3.5 with experts: of a layer's many MLPs a token passes a few, chosen by a router, and one that all tokens share.

Releases hold the experts of a layer in two tensors ``[experts, out, in]``, as transformers 5 does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gpt4scene.families import qwen3_5
from gpt4scene.families.shape import ModelShape
from gpt4scene.families.tiny import TinyShape


def _shape(config: Any) -> ModelShape:
    text = config.text_config
    active = text.num_experts_per_tok
    return replace(
        qwen3_5.hybrid_shape(config, active * text.moe_intermediate_size),
        experts=text.num_experts,
        active=active,
        shared=text.shared_expert_intermediate_size,
    )


def _tiny(shape: TinyShape, text: dict[str, Any], ids: dict[str, Any]) -> Any:
    from transformers import Qwen3_5MoeConfig

    experts = {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": shape.width // 2,
        "shared_expert_intermediate_size": 3 * shape.width // 4,
    }
    text = qwen3_5.text_config(shape, text) | experts
    return Qwen3_5MoeConfig(text_config=text, vision_config=qwen3_5.vision_config(shape), **ids)


FAMILY = replace(
    qwen3_5.FAMILY,
    name="qwen3_5_moe",
    shape=_shape,
    tiny=replace(qwen3_5.FAMILY.tiny, config=_tiny),
    norms=("Qwen3_5MoeRMSNorm",),
    gates=("Qwen3_5MoeMLP",),
)
