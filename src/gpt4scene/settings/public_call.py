"""The public project's way of calling ``evaluate/infer.py``: a configuration file, then keys and values in pairs."""

from __future__ import annotations

import os
from collections.abc import Sequence

from gpt4scene.registry import nearest

_FLAGS = {
    "model_path": "--model",
    "val_tag": "--tasks",
    "output_dir": "--output_dir",
    "num_chunks": "--num_shards",
    "chunk_idx": "--shard",
    "anno_root": "--annotation_dir",
    "model": "--public_name",
}
_WITHOUT_EFFECT = ("evaluate", "batch_size", "num_workers", "save_interval", "calculate_score_tag")


def our_flags(argv: Sequence[str]) -> list[str]:
    """Return our flags for ``config.py key value …``; a call that starts with a flag is returned as it is.

    ``scene_anno`` gives the list of images and, beside it, the annotation folder. Keys about batches, loader
    processes and saving have no meaning here: scenes are answered as one row and every answer is saved at once. The
    caller starts one process a chunk, so none is started here. Raises ``ValueError`` for other keys.
    """
    if not argv or argv[0].startswith("-"):
        return list(argv)
    words = list(argv[1:])
    if not argv[0].endswith(".py"):
        raise ValueError(f"'{argv[0]}' is not a flag; --help lists them")
    if len(words) % 2:
        raise ValueError(f"after {argv[0]} keys and values come in pairs, but '{words[-1]}' has no value")
    flags = ["--num_processes=1"]
    for name, value in zip(words[::2], words[1::2], strict=True):
        if name == "scene_anno":
            flags += [f"--images={value}"]
            if "anno_root" not in words[::2]:
                flags += [f"--annotation_dir={os.path.dirname(value) or '.'}"]
        elif name in _FLAGS:
            flags += [f"{_FLAGS[name]}={value.replace('#', ',') if name == 'val_tag' else value}"]
        elif name not in _WITHOUT_EFFECT:
            known = ["scene_anno", *_FLAGS, *_WITHOUT_EFFECT]
            raise ValueError(f"'{name}' is not a key{nearest(name, known)} (known: {', '.join(known)})")
    return flags
