"""Whether the files of a checkpoint agree with each other and with what is done here; no weight is read.

Each check raises ``DataError`` that names the file and the way out. Nothing here imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpt4scene.data.templates import TEMPLATES
from gpt4scene.errors import DataError
from gpt4scene.families.others import why_unknown
from gpt4scene.families.registry import FAMILIES
from gpt4scene.files.whole import read_json
from gpt4scene.model.weight_files import Stored

_DTYPES = ("float32", "bfloat16", "float16", "auto")
_ROPES = ("default", "mrope", "linear", "yarn")
_PLAIN_ROPES = ("default", "linear", "yarn", "dynamic")
"""Kinds of rotary positions for three rows of them, and for one running number."""
_EMBEDDINGS = ("model.embed_tokens.weight", "model.language_model.embed_tokens.weight")
_PATCHES = (
    ("patch_size", "patch_size"),
    ("merge_size", "spatial_merge_size"),
    ("temporal_patch_size", "temporal_patch_size"),
)
_IMAGE_KEYS = ("image_token_id", "image_token_index")
_OTHER_TOKENS = (
    ("video_token_id", "<|video_pad|>"),
    ("vision_start_token_id", "<|vision_start|>"),
    ("vision_end_token_id", "<|vision_end|>"),
)


def known_config(folder: Path) -> dict[str, Any]:
    """Return ``config.json`` of a checkpoint folder; ``DataError`` where it is cut off, or of no known family."""
    path = folder / "config.json"
    config = _read(path, "model's description")
    family = config.get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        why = f": {said}" if (said := why_unknown(family)) else ""
        raise DataError(
            f"{path}: model_type {family!r} is no family that is known here{why}; give a checkpoint of one of "
            f"{', '.join(sorted(FAMILIES))}"
        )
    return config


def check_config(folder: Path) -> dict[str, Any]:
    """Return ``config.json`` of a checkpoint folder, of a known family and with nothing in it that is not done here.

    Raises ``DataError`` where it is cut off, of another family, of quantised weights, in an unknown number format, or
    asks for rotary positions that are not computed here.
    """
    path, config = folder / "config.json", known_config(folder)
    family = config["model_type"]
    text, texts = _text(config), FAMILIES[str(family)].texts
    if texts and text.get("model_type", texts[0]) not in texts:
        raise DataError(
            f"{path}: the language model of this {family} is a {text.get('model_type')}, which is not known here "
            f"({', '.join(texts)}); take a checkpoint with one of these"
        )
    for part in (config, text):
        if part.get("quantization_config"):
            method = part["quantization_config"]
            method = method.get("quant_method", "unknown") if isinstance(method, dict) else method
            raise DataError(
                f"{path}: quantised weights ({method}) are not supported; take the checkpoint in bf16, fp16 or fp32, "
                "and merge adapters into that"
            )
        for key in ("dtype", "torch_dtype"):
            if part.get(key) is not None and str(part[key]).removeprefix("torch.") not in _DTYPES:
                raise DataError(f"{path}: '{key}: {part[key]}' is not supported; known are {', '.join(_DTYPES)}")
    _check_rope(path, text, plain=FAMILIES[str(family)].plain)
    return config


def _check_rope(path: Path, text: Mapping[str, Any], plain: bool) -> None:
    """Raise ``DataError`` where rotary positions are of an unknown kind, or their sections do not fill a head.

    ``plain``: a position is one number, so that there are no sections.
    """
    name = "rope_parameters" if text.get("rope_parameters") else "rope_scaling"
    rope = text.get(name)
    if rope is None:
        return
    if not isinstance(rope, dict):
        raise DataError(f"{path}: '{name}' must be an object, found {rope!r}")
    kinds = {rope[key] for key in ("rope_type", "type") if rope.get(key) is not None}
    known = _PLAIN_ROPES if plain else _ROPES
    unknown = sorted(str(kind) for kind in kinds - set(known))
    if unknown:
        raise DataError(
            f"{path}: '{name}' is of the kind '{unknown[0]}', which is not computed here (known: {', '.join(known)})"
        )
    if plain:
        return
    heads, width = text.get("num_attention_heads"), text.get("hidden_size")
    channels = text.get("head_dim") or (width // heads if isinstance(heads, int) and isinstance(width, int) else None)
    sections = rope.get("mrope_section")
    if sections is None:
        raise DataError(f"{path}: mrope_section is missing in '{name}'; copy config.json from the base model")
    share = rope.get("partial_rotary_factor", text.get("partial_rotary_factor", 1.0))
    if channels is not None and sum(sections) != (half := int(channels * share) // 2):
        which = "a head's channels" if share == 1 else f"the {share:g} of a head's channels that turn"
        raise DataError(f"{path}: mrope_section {sections} does not sum to {half}, half of {which}")


def check_generation(folder: Path) -> None:
    """Raise ``DataError`` where ``generation_config.json`` is there and broken: a loader would pass over it."""
    path = folder / "generation_config.json"
    if path.is_file():
        _read(path, "generation settings")


def check_processor(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise ``DataError`` where the image processor has no colours, or other patches than the vision tower takes."""
    vision = config.get("vision_config") or {}
    path = folder / "preprocessor_config.json"
    processor = _read(path, "image processor's settings") if path.is_file() else {}
    for key in ("image_mean", "image_std"):
        values = processor.get(key)
        if values is not None and not _are_of_channels(values, above=0 if key == "image_std" else None):
            raise DataError(
                f"{path}: {key} must be three numbers, one a colour, not {values!r}; copy it from the base model"
            )
    for ours, theirs in _PATCHES:
        cut, taken = processor.get(ours), vision.get(theirs)
        if cut is not None and taken is not None and cut != taken:
            raise DataError(
                f"{path}: {ours} is {cut}, but the vision tower in config.json takes {taken}; copy the processor files "
                "and config.json from one checkpoint"
            )


def check_vocabulary(folder: Path, config: Mapping[str, Any], stored: Mapping[str, Stored]) -> None:
    """Raise ``DataError`` where the tokenizer is of another vocabulary than the embedding, or its files are broken."""
    path, ids = _token_ids(folder)
    rows = next((stored[name].shape[0] for name in _EMBEDDINGS if name in stored), _text(config).get("vocab_size"))
    highest = max(ids.values(), default=-1)
    if isinstance(rows, int) and highest >= rows:
        raise DataError(
            f"{path}: the tokenizer's tokens go up to {highest}, but the embedding has {rows} rows; take the tokenizer "
            "files of this checkpoint"
        )
    pad = TEMPLATES[FAMILIES[config["model_type"]].template].image_pad
    for key, token in (*((key, pad) for key in _IMAGE_KEYS), *_OTHER_TOKENS):
        wanted = config.get(key, _text(config).get(key))
        if wanted is not None and ids.get(token) != wanted:
            raise DataError(
                f"{path}: '{token}' is token {ids.get(token)} of the tokenizer and {wanted} in config.json ({key}); "
                "take the tokenizer files of this checkpoint"
            )


def _token_ids(folder: Path) -> tuple[Path, dict[str, int]]:
    """Return the tokenizer's main file, and the id of every token."""
    path = folder / "tokenizer.json"
    ids: dict[str, int] = {}
    try:
        if path.is_file():
            content = _read(path, "tokenizer")
            ids |= dict(content["model"]["vocab"])
            ids |= {entry["content"]: int(entry["id"]) for entry in content.get("added_tokens", [])}
        else:
            path = folder / "vocab.json"
            if not (folder / "merges.txt").is_file():
                raise DataError(f"{folder / 'merges.txt'}: missing beside vocab.json; copy it from the base model")
            ids |= _read(path, "vocabulary")
            added = folder / "added_tokens.json"
            ids |= _read(added, "added tokens") if added.is_file() else {}
        settings = folder / "tokenizer_config.json"
        described = _read(settings, "tokenizer's settings") if settings.is_file() else {}
        ids |= {entry["content"]: int(id) for id, entry in (described.get("added_tokens_decoder") or {}).items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a tokenizer that is known here ({error}); copy it from the base model") from error
    return path, ids


def _are_of_channels(values: Any, above: float | None) -> bool:
    """Return whether ``values`` are three finite numbers, all of them larger than ``above``."""
    if not isinstance(values, list) or len(values) != 3:
        return False
    return all(isinstance(one, int | float) and math.isfinite(one) and (above is None or one > above) for one in values)


def _text(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the language model's part of a description, which released checkpoints keep at its top."""
    nested = config.get("text_config")
    return nested if isinstance(nested, dict) else config


def _read(path: Path, what: str) -> dict[str, Any]:
    content = read_json(path, what)
    if not isinstance(content, dict):
        raise DataError(f"{path}: the {what} must be a JSON object; copy it from the base model")
    return content
