"""Rotary positions that change with the longest row, which a pack does not have."""

from __future__ import annotations

from transformers import PreTrainedConfig

from gpt4scene.errors import ConfigError


def refuse_growing_positions(config: PreTrainedConfig, longest: int) -> None:
    """Raise ``ConfigError`` where rows of ``longest`` tokens would turn the positions of others in their pack.

    Rotary positions of the kind ``dynamic`` (InternVL3) are the usual ones up to ``max_position_embeddings``. Past it,
    those of all tokens hang on the longest row that was seen.
    """
    text = config.get_text_config()
    known, rope = text.max_position_embeddings, getattr(text, "rope_parameters", None) or {}
    if rope.get("rope_type") == "dynamic" and longest > known:
        raise ConfigError(
            f"cutoff_len is {longest}, but past {known} tokens the positions of this model hang on the longest row; "
            f"write cutoff_len: {known} or less"
        )
