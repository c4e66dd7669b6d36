"""Qwen3.5 and Qwen3.6: three of four language layers carry a state from token to token instead of keys."""

from __future__ import annotations

from typing import Any

from gpt4scene.families.family import Family
from gpt4scene.families.shape import ModelShape, RecurrentShape, language_shape, tower_shape
from gpt4scene.families.tiny import HALF, VISION_SPREAD, Tiny, TinyShape, chatml, qwen_image


def hybrid_shape(config: Any, intermediate: int) -> ModelShape:
    """Return the shape of a config with Qwen3.5's tower and layers, whose MLPs have ``intermediate`` channels."""
    text, vision = config.text_config, config.vision_config
    tower = tower_shape(
        vision,
        vision.hidden_size,
        vision.intermediate_size,
        text.hidden_size,
        gated=False,
        positions=vision.num_position_embeddings,
    )
    recurrent = RecurrentShape(
        layers=text.layer_types.count("linear_attention"),
        key_width=text.linear_num_key_heads * text.linear_key_head_dim,
        heads=text.linear_num_value_heads,
        channels=text.linear_value_head_dim,
        memory=text.linear_key_head_dim,
        kernel=text.linear_conv_kernel_dim,
    )
    return language_shape(
        config,
        tower,
        intermediate=intermediate,
        channels=text.head_dim,
        qkv_bias=False,
        qk_norm=True,
        gated_query=True,
        centred=True,
        recurrent=recurrent,
    )


def _shape(config: Any) -> ModelShape:
    return hybrid_shape(config, config.text_config.intermediate_size)


def text_config(shape: TinyShape, text: dict[str, Any]) -> dict[str, Any]:
    """Return the language keys of a tiny model: every third layer from the last has keys, the others are recurrent."""
    channels = shape.width // shape.heads
    angles = channels // 4  # half of the channels turn, two by an angle
    rows = angles * 3 // 8
    kinds = ["linear_attention" if number % 3 else "full_attention" for number in reversed(range(shape.layers))]
    return text | {
        "head_dim": channels,
        "layer_types": kinds,
        "linear_num_key_heads": shape.key_value_heads,
        "linear_num_value_heads": shape.heads,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 24,
        "linear_conv_kernel_dim": 4,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e7,
            "mrope_section": [angles - 2 * rows, rows, rows],
            "mrope_interleaved": True,
            "partial_rotary_factor": 0.5,
        },
    }


def vision_config(shape: TinyShape) -> dict[str, Any]:
    """Return the keys of a tiny model's tower."""
    return {
        "depth": shape.vision_layers,
        "hidden_size": shape.vision_width,
        "intermediate_size": 2 * shape.vision_width,
        "num_heads": 4,
        "out_hidden_size": shape.width,
        "num_position_embeddings": 256,
        "initializer_range": VISION_SPREAD,
    }


def _tiny(shape: TinyShape, text: dict[str, Any], ids: dict[str, Any]) -> Any:
    from transformers import Qwen3_5Config

    return Qwen3_5Config(text_config=text_config(shape, text), vision_config=vision_config(shape), **ids)


FAMILY = Family(
    name="qwen3_5",
    template="qwen3_5_nothink",
    thinking="qwen3_5",
    shape=_shape,
    tiny=Tiny(
        config=_tiny,
        chat_template=chatml(""),
        image=qwen_image("Qwen3VLProcessor", 16, (65536, 16777216), HALF),
        video_type="Qwen3VLVideoProcessor",
    ),
    norms=("Qwen3_5RMSNorm",),
    gates=("Qwen3_5MLP",),
    centred=True,
    unused=("mtp.",),
    rope_parameters=True,
)
