"""LLaVA-OneVision in Hugging Face's form (``-hf``): anyres tiles, SigLIP, and Qwen2 behind."""

from __future__ import annotations

from typing import Any

from gpt4scene.families.family import Family
from gpt4scene.families.shape import ModelShape, TowerShape, language_shape
from gpt4scene.families.tiny import HALF, Tiny, TinyShape

_TILE = 44
"""Pixels of the tiny checkpoint's tiles: three patches and, as in the released ones, some pixels that none holds."""
_RESOLUTIONS = [[_TILE * rows, _TILE * columns] for rows in range(1, 7) for columns in range(1, 7)]
_TEMPLATE = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + ' ' }}
{%- if message['content'] is string -%}{{ '\\n' + message['content'] }}
{%- else -%}
{%- for part in message['content'] | selectattr('type', 'equalto', 'image') -%}{{ '<image>' }}{%- endfor -%}
{%- for part in message['content'] | selectattr('type', 'equalto', 'text') -%}{{ '\\n' + part['text'] }}{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""


def _shape(config: Any) -> ModelShape:
    text, vision = config.text_config, config.vision_config
    width, inner, hidden = vision.hidden_size, vision.intermediate_size, text.hidden_size
    bias = 1 if config.multimodal_projector_bias else 0
    block = 4 * width**2 + 4 * width + 2 * width * inner + inner + width + 4 * width
    patch, patches = 3 * vision.patch_size**2, (vision.image_size // vision.patch_size) ** 2
    tower = TowerShape(
        width=width,
        depth=vision.num_hidden_layers,
        heads=vision.num_attention_heads,
        intermediate=inner,
        gated=False,
        patch=patch,
        merge=1,
        parameters=(patch + 1 + patches) * width + vision.num_hidden_layers * block + 2 * width,
        merger_parameters=width * hidden + hidden**2 + 2 * bias * hidden + hidden,
    )
    channels = text.hidden_size // text.num_attention_heads
    return language_shape(config, tower, channels=channels, qkv_bias=True, qk_norm=False)


def _tiny(shape: TinyShape, text: dict[str, Any], ids: dict[str, Any]) -> Any:
    from transformers import LlavaOnevisionConfig

    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e6}
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": shape.vision_width,
        "intermediate_size": 2 * shape.vision_width,
        "num_hidden_layers": shape.vision_layers,
        "num_attention_heads": 4,
        "image_size": _TILE,
        "patch_size": 14,
        "vision_use_head": False,
    }
    return LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **text},
        vision_config=vision,
        image_token_index=ids["<image>"],
        video_token_index=ids["<video>"],
        image_grid_pinpoints=_RESOLUTIONS,
        tie_word_embeddings=False,
    )


FAMILY = Family(
    name="llava_onevision",
    template="llava_onevision",
    shape=_shape,
    tiny=Tiny(
        config=_tiny,
        chat_template=_TEMPLATE,
        image={
            "image_processor_type": "LlavaOnevisionImageProcessor",
            "processor_class": "LlavaOnevisionProcessor",
            "image_grid_pinpoints": _RESOLUTIONS,
            "size": {"height": _TILE, "width": _TILE},
            "resample": 3,
            **HALF,
        },
        video_type="LlavaOnevisionVideoProcessor",
        tokens=("<image>", "<video>"),
    ),
    norms=("Qwen2RMSNorm",),
    gates=("Qwen2MLP",),
    tower="model.vision_tower",
    mergers=("model.multi_modal_projector", "model.image_newline"),
    idle=("model.vision_tower.post_layernorm",),
    texts=("qwen2",),
    plain=True,
    seeing="anyres",
    released_names=(
        ("model.vision_tower.", "vision_tower.vision_model."),
        ("model.multi_modal_projector.", "multi_modal_projector."),
        ("model.image_newline", "image_newline"),
        ("model.language_model.", "language_model.model."),
        ("lm_head.", "language_model.lm_head."),
    ),
)
