"""All model families, one line each: the only list of them."""

from __future__ import annotations

from typing import Any

from gpt4scene.families import (
    internvl,
    llava_onevision,
    qwen2_5_vl,
    qwen2_vl,
    qwen3_5,
    qwen3_5_moe,
    qwen3_vl,
    qwen3_vl_moe,
)
from gpt4scene.families.family import Family
from gpt4scene.families.shape import ModelShape
from gpt4scene.registry import Registry

FAMILIES: Registry[Family] = Registry("model family")
for family in (
    qwen2_vl.FAMILY,
    qwen2_5_vl.FAMILY,
    qwen3_vl.FAMILY,
    qwen3_vl_moe.FAMILY,
    qwen3_5.FAMILY,
    qwen3_5_moe.FAMILY,
    internvl.FAMILY,
    llava_onevision.FAMILY,
):
    FAMILIES.add(family.name, family)


def family_of(config: Any) -> Family:
    """Return the family of a transformers config; ``ValueError`` names the known ones."""
    return FAMILIES[config.model_type]


def shape_of(config: Any) -> ModelShape:
    """Return the shape of a transformers config of a known family."""
    return family_of(config).shape(config)
