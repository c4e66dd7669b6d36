"""Qwen3-VL: inner layers of its tower reach the first language layers, too."""

from __future__ import annotations

from typing import Any

from gpt4scene.families.family import Family
from gpt4scene.families.shape import ModelShape, language_shape, tower_shape
from gpt4scene.families.tiny import HALF, VISION_SPREAD, Tiny, TinyShape, chatml, qwen_image


def qwen3_shape(config: Any) -> ModelShape:
    """Return the shape of a config with Qwen3-VL's tower and attention."""
    text, vision = config.text_config, config.vision_config
    tower = tower_shape(
        vision,
        vision.hidden_size,
        vision.intermediate_size,
        text.hidden_size,
        gated=False,
        positions=vision.num_position_embeddings,
        deep=len(vision.deepstack_visual_indexes),
    )
    return language_shape(config, tower, channels=text.head_dim, qkv_bias=False, qk_norm=True)


def vision_config(shape: TinyShape) -> dict[str, Any]:
    """Return the keys of a tiny tower: one inner layer of it reaches the language model."""
    return {
        "depth": shape.vision_layers,
        "hidden_size": shape.vision_width,
        "intermediate_size": 2 * shape.vision_width,
        "num_heads": 4,
        "out_hidden_size": shape.width,
        "num_position_embeddings": 256,
        "deepstack_visual_indexes": [0],
        "initializer_range": VISION_SPREAD,
    }


def text_config(shape: TinyShape, text: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a language model with Qwen3-VL's heads and interleaved rotary positions."""
    rope = {
        "rope_type": "default",
        "rope_theta": 5e6,
        "mrope_section": shape.mrope_section,
        "mrope_interleaved": True,
    }
    return {**text, "head_dim": shape.width // shape.heads, "rope_parameters": rope}


def _tiny(shape: TinyShape, text: dict[str, Any], ids: dict[str, Any]) -> Any:
    from transformers import Qwen3VLConfig

    return Qwen3VLConfig(text_config=text_config(shape, text), vision_config=vision_config(shape), **ids)


MERGERS = ("model.visual.merger", "model.visual.deepstack_merger_list")
TINY = Tiny(
    config=_tiny,
    chat_template=chatml(""),
    image=qwen_image("Qwen3VLProcessor", 16, (65536, 16777216), HALF),
    video_type="Qwen3VLVideoProcessor",
)

FAMILY = Family(
    name="qwen3_vl",
    template="qwen3_vl_nothink",
    thinking="qwen3_vl",
    shape=qwen3_shape,
    tiny=TINY,
    norms=("Qwen3VLTextRMSNorm",),
    gates=("Qwen3VLTextMLP",),
    mergers=MERGERS,
)
