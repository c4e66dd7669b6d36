"""Models that people try and that are no family here: why they are not, and what to take instead."""

from __future__ import annotations

import re

_REASONS = (
    (
        r"gemma3|paligemma",
        "its image tokens see each other in both directions, and packs are computed for causal attention alone",
    ),
    (r"gemma4", "most of its layers see a window of the last tokens, and packs are computed for layers that see all"),
    (r"internvl_chat", "this is InternVL's own form; take the one in Hugging Face's form, whose name ends in -hf"),
    (r"mllama|idefics", "its images are no tokens of a row, and tokens are what the questions of a pack share"),
    (r"llama|qwen2|qwen3|qwen2_moe|qwen3_moe|mistral|gemma2?|phi3?", "a language model alone, which sees no images"),
)
"""Patterns of ``model_type``, and why such a model is neither trained nor asked here."""


def why_unknown(model_type: object) -> str:
    """Return why models of ``model_type`` are no family here; empty where there is nothing special to say."""
    return next((why for pattern, why in _REASONS if re.fullmatch(pattern, str(model_type))), "")
