"""The public project's way of calling ``evaluate/*.py``: a configuration file, then keys and values in pairs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from gpt4scene.errors import ConfigError
from gpt4scene.registry import nearest

INFER = MappingProxyType(
    {
        "model_path": "model",
        "val_tag": "tasks",
        "output_dir": "output_dir",
        "num_chunks": "num_shards",
        "chunk_idx": "shard",
        "scene_anno": "images",
        "anno_root": "annotation_dir",
        "model": "public_name",
    }
)
"""Public key -> flag of ``gpt4scene infer``."""

SCORE = MappingProxyType(
    {"output_dir": "predictions", "anno_root": "annotation_dir", "val_tag": "tasks", "calculate_score_tag": "tasks"}
)
"""Public key -> flag of ``gpt4scene score``; ``calculate_score_tag`` wins over ``val_tag``."""

WITHOUT_EFFECT = frozenset({"evaluate", "batch_size", "num_workers", "save_interval"})
"""Keys about batches, loader processes and saving: scenes are answered as one row, every answer is saved at once."""


def infer_flags(argv: Sequence[str]) -> list[str]:
    """Return the flags of ``gpt4scene infer`` for ``config.py key value …``; a call by flags is returned as it is.

    ``scene_anno`` gives the list of images and, beside it, the annotation folder. The caller starts one process a
    chunk, so none is started here. Raises ``ConfigError`` for other keys.
    """
    pairs = _pairs(argv)
    if pairs is None:
        return list(argv)
    pairs.pop("calculate_score_tag", None)
    if "scene_anno" in pairs:
        pairs.setdefault("anno_root", os.path.dirname(pairs["scene_anno"]) or ".")
    return ["--num_processes=1", *_flags(pairs, INFER)]


def score_flags(argv: Sequence[str]) -> list[str]:
    """Return the flags of ``gpt4scene score`` for ``config.py key value …``; a call by flags is returned as it is.

    Keys of inference have no effect on scores and are taken. Raises ``ConfigError`` for other keys.
    """
    pairs = _pairs(argv)
    return list(argv) if pairs is None else _flags({k: v for k, v in pairs.items() if k in SCORE and v}, SCORE)


def _pairs(argv: Sequence[str]) -> dict[str, str] | None:
    """Return the pairs of a public call, ``None`` for a call by flags."""
    if not argv or argv[0].startswith("-"):
        return None
    words = list(argv[1:])
    if not argv[0].endswith(".py"):
        raise ConfigError(f"'{argv[0]}' is not a flag; --help lists them")
    if len(words) % 2:
        raise ConfigError(f"after {argv[0]} keys and values come in pairs, but '{words[-1]}' has no value")
    pairs = dict(zip(words[::2], words[1::2], strict=True))
    known = [*dict.fromkeys([*INFER, *SCORE]), *sorted(WITHOUT_EFFECT)]
    unknown = [name for name in pairs if name not in known]
    if unknown:
        listed = f"(known: {', '.join(known)})"
        raise ConfigError(*(f"'{name}' is not a key{nearest(name, known)} {listed}" for name in unknown))
    return pairs


def _flags(pairs: Mapping[str, str], names: Mapping[str, str]) -> list[str]:
    ordered = sorted((name for name in pairs if name in names), key=list(names).index)
    values = {names[name]: pairs[name] for name in ordered}
    return [f"--{flag}={value.replace('#', ',') if flag == 'tasks' else value}" for flag, value in values.items()]
