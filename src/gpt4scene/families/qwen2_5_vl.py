"""Qwen2.5-VL: a gated tower, most of whose blocks see windows. It speaks Qwen2-VL's template."""

from __future__ import annotations

from typing import Any

from gpt4scene.families.family import BEFORE_4_52, Family
from gpt4scene.families.shape import ModelShape, language_shape, tower_shape
from gpt4scene.families.tiny import CLIP, VISION_SPREAD, Tiny, TinyShape, chatml, qwen_image


def _shape(config: Any) -> ModelShape:
    text, vision = config.text_config, config.vision_config
    tower = tower_shape(vision, vision.hidden_size, vision.intermediate_size, text.hidden_size, gated=True)
    channels = text.hidden_size // text.num_attention_heads
    return language_shape(config, tower, channels=channels, qkv_bias=True, qk_norm=False)


def _tiny(shape: TinyShape, text: dict[str, Any], ids: dict[str, Any]) -> Any:
    from transformers import Qwen2_5_VLConfig

    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": shape.mrope_section}
    vision = {
        "depth": shape.vision_layers,
        "hidden_size": shape.vision_width,
        "intermediate_size": 2 * shape.vision_width,
        "num_heads": 4,
        "out_hidden_size": shape.width,
        "fullatt_block_indexes": [shape.vision_layers - 1],
        "initializer_range": VISION_SPREAD,
    }
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)


FAMILY = Family(
    name="qwen2_5_vl",
    template="qwen2_vl",
    shape=_shape,
    tiny=Tiny(
        config=_tiny,
        chat_template=chatml("You are a helpful assistant."),
        image=qwen_image("Qwen2_5_VLProcessor", 14, (3136, 12845056), CLIP),
        video_type="Qwen2VLVideoProcessor",
    ),
    norms=("Qwen2_5_VLRMSNorm",),
    gates=("Qwen2MLP",),
    released_names=BEFORE_4_52,
    flat=True,
)
