"""The chat template that a training output learned with, as its ``run.json`` says: it is asked with the same."""

from __future__ import annotations

import re
from typing import NamedTuple

from gpt4scene.files.whole import read_json
from gpt4scene.model.folder import ModelFolder

RECORD = "run.json"


class Trained(NamedTuple):
    """The name of a template, and ``enable_thinking`` as the training had it."""

    template: str
    enable_thinking: bool | None


def trained_with(folder: ModelFolder) -> Trained | None:
    """Return what the last training of a model was told; None for a checkpoint that is no training output.

    ``checkpoint-<step>`` folders are those of the output around them. Raises ``DataError`` where the file is broken.
    """
    place = folder.adapter or folder.base
    places = [place, place.parent] if re.fullmatch(r"checkpoint-\d+", place.name) else [place]
    file = next((path for one in places if (path := one / RECORD).is_file()), None)
    content = None if file is None else read_json(file, "record of a training run")
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(config, dict):
        return None
    keys = {key: value for part in config.values() if isinstance(part, dict) for key, value in part.items()}
    name = keys.get("template")
    return Trained(name, keys.get("enable_thinking", True)) if isinstance(name, str) else None
