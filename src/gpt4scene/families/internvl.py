"""InternVL3 and InternVL3.5 in Hugging Face's form (``-hf``): tiles, InternViT, and Qwen2 or Qwen3 behind."""

from __future__ import annotations

from typing import Any

from gpt4scene.families.family import Family
from gpt4scene.families.shape import ModelShape, TowerShape, language_shape
from gpt4scene.families.tiny import VISION_SPREAD, Tiny, TinyShape, chatml

_SYSTEM = "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
_PAD, _START, _END = "<IMG_CONTEXT>", "<img>", "</img>"


def _shape(config: Any) -> ModelShape:
    text, vision = config.text_config, config.vision_config
    third = text.model_type == "qwen3"
    channels = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    tower = _tower(config, vision, text.hidden_size)
    return language_shape(config, tower, channels=channels, qkv_bias=not third, qk_norm=third)


def _tower(config: Any, vision: Any, hidden: int) -> TowerShape:
    """Count the parameters of an InternViT and of its projector, in the order in which their modules are made."""
    width, inner, merge = vision.hidden_size, vision.intermediate_size, round(1 / config.downsample_ratio)
    patch = 3 * vision.patch_size[0] * vision.patch_size[1]
    positions = vision.image_size[0] // vision.patch_size[0] * (vision.image_size[1] // vision.patch_size[1]) + 1
    embedding = width + (width if vision.use_mask_token else 0) + patch * width + width
    embedding += positions * width if vision.use_absolute_position_embeddings else 0
    norms = 2 * (2 * width if vision.norm_type == "layer_norm" else width)
    attention = 4 * width**2 + width + (3 * width if vision.attention_bias else 0)
    attention += 2 * width if vision.use_qk_norm else 0
    block = attention + 2 * width * inner + inner + width + norms + 2 * width
    last = 0 if vision.use_mean_pooling else 2 * width
    merged = merge**2 * width
    return TowerShape(
        width=width,
        depth=vision.num_hidden_layers,
        heads=vision.num_attention_heads,
        intermediate=inner,
        gated=False,
        patch=patch,
        merge=merge**2,
        parameters=embedding + vision.num_hidden_layers * block + last,
        merger_parameters=2 * merged + merged * hidden + hidden + hidden**2 + hidden,
    )


def _tiny(shape: TinyShape, text: dict[str, Any], ids: dict[str, Any]) -> Any:
    from transformers import InternVLConfig

    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e6}
    vision = {
        "hidden_size": shape.vision_width,
        "intermediate_size": 2 * shape.vision_width,
        "num_hidden_layers": shape.vision_layers,
        "num_attention_heads": 4,
        "image_size": [56, 56],
        "patch_size": [14, 14],
        "attention_bias": True,
        "initializer_range": VISION_SPREAD,
    }
    tokens = {"image_token_id": ids[_PAD], "image_seq_length": 4, "tie_word_embeddings": False}
    return InternVLConfig(text_config={"model_type": "qwen2", **text}, vision_config=vision, **tokens)


FAMILY = Family(
    name="internvl",
    template="intern_vl",
    shape=_shape,
    tiny=Tiny(
        config=_tiny,
        chat_template=chatml(_SYSTEM).replace("<|vision_start|><|image_pad|><|vision_end|>", _PAD + "\\n"),
        image={
            "image_processor_type": "GotOcr2ImageProcessorFast",
            "processor_class": "InternVLProcessor",
            "crop_to_patches": False,
            "min_patches": 1,
            "max_patches": 12,
            "size": {"height": 56, "width": 56},
            "resample": 3,
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
        },
        video_type="InternVLVideoProcessor",
        tokens=(_START, _END, _PAD, "<video>"),
        called=(
            ("start_image_token", _START),
            ("end_image_token", _END),
            ("context_image_token", _PAD),
            ("video_token", "<video>"),
        ),
    ),
    norms=("Qwen2RMSNorm", "Qwen3RMSNorm"),
    gates=("Qwen2MLP", "Qwen3MLP"),
    tower="model.vision_tower",
    mergers=("model.multi_modal_projector",),
    texts=("qwen2", "qwen3"),
    plain=True,
    seeing="tiles",
    released_names=(
        ("model.vision_tower.", "vision_tower."),
        ("model.multi_modal_projector.", "multi_modal_projector."),
        ("model.language_model.", "language_model.model."),
        ("lm_head.", "language_model.lm_head."),
    ),
)
