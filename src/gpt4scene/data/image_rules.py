"""All rules of images, by the ``image_processor_type`` of a checkpoint: the only list of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gpt4scene.data.anyres import AnyresRule
from gpt4scene.data.image_rule import ImageRule
from gpt4scene.data.tiles import TileRule
from gpt4scene.data.video_rule import VideoLimits, VideoRule, refuse_other_patches, style_of
from gpt4scene.data.vision import VisionRule
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.whole import read_json

RULES: Mapping[str, type[ImageRule]] = MappingProxyType(
    {
        "Qwen2VLImageProcessor": VisionRule,
        "Qwen2_5_VLImageProcessor": VisionRule,
        "Qwen3VLImageProcessor": VisionRule,
        "GotOcr2ImageProcessor": TileRule,
        "LlavaOnevisionImageProcessor": AnyresRule,
    }
)
"""Rules by the names of Hugging Face's image processors, which may end in ``Fast`` or ``Pil``."""

CROPPED = "crop_to_patches cuts images into tiles, which InternVL alone does; leave it out"


def image_rule(
    folder: str | os.PathLike,
    image_resolution: int | None = 512,
    image_max_pixels: int | None = None,
    image_min_pixels: int | None = None,
    crop_to_patches: bool = False,
    *,
    video: VideoLimits | None = None,
) -> ImageRule:
    """Return the rule of a checkpoint folder, from its ``preprocessor_config.json`` or ``processor_config.json``.

    A file that names no processor is taken for one of Qwen's. ``video`` are the limits of videos; without them, none is
    read. Raises DataError when neither file is there or readable,
    and for a processor or a value that is not computed here; ConfigError for a key that the family does not have.
    """
    config, path = processor_config(Path(folder))
    described = path.parent / "config.json"
    model = read_json(described, "model's description") if described.is_file() else {}
    limits: dict[str, Any] = {
        "image_resolution": image_resolution,
        "image_max_pixels": image_max_pixels,
        "image_min_pixels": image_min_pixels,
    }
    name = config.get("image_processor_type", "Qwen2VLImageProcessor")
    rule = RULES.get(str(name).removesuffix("Fast").removesuffix("Pil"))
    if rule is None:
        raise DataError(
            f"{path}: image_processor_type {name!r} is none that is known here ({', '.join(sorted(RULES))}); copy the "
            "processor files of the base model, or take a checkpoint of a known family"
        )
    if rule is TileRule:
        limits["crop_to_patches"] = crop_to_patches
    elif crop_to_patches:
        raise ConfigError(CROPPED)
    made = rule.read(config, path, limits, model)
    style = style_of(model)
    if not isinstance(made, VisionRule) or video is None or style is None:
        return made
    refuse_other_patches(folder, made.patch_size, made.mean)
    return replace(made, video=VideoRule.from_folder(folder, video, style))


def processor_config(folder: Path) -> tuple[dict[str, Any], Path]:
    """Return the image processor's settings of a checkpoint, and the file they stand in. Raises DataError."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        config = read_json(path, "description of the image processor")
        config = config.get("image_processor", config)
        if "patch_size" in config or "image_processor_type" in config or name == "preprocessor_config.json":
            return config, path
    raise DataError(
        f"{folder}: no preprocessor_config.json in the model folder; "
        "copy the processor files of the base model into it (preprocessor_config.json, chat_template.json)"
    )
