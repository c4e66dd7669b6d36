"""``scannet*_attributes.pt``: names and boxes of a split's objects, in the form that the field's scorers read.

``{scene: {"objects": [label, ...], "locs": float tensor [n, 6]}}``, centre and size in metres in the aligned frame.
The row number is the object's number, so that a number without object (an empty proposal) is a row of six zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.tensors import read_tensors, tensor_bytes
from gpt4scene.files.whole import write_bytes
from gpt4scene.scans.types import SceneObject

Attributes = dict[str, dict]
"""Scene id -> ``{"objects": list of labels, "locs": float32 array [n, 6]}``."""


def attributes_of(objects: Sequence[SceneObject]) -> dict:
    """One scene's entry; numbers without object get an empty name and six zeros."""
    count = max((item.id for item in objects), default=-1) + 1
    labels, locs = [""] * count, np.zeros((count, 6), dtype=np.float32)
    for item in objects:
        labels[item.id] = item.label
        locs[item.id, :3], locs[item.id, 3:] = (0, 0) if item.empty else (item.center, item.size)
    return {"objects": labels, "locs": locs}


def write_attributes(path: str | Path, scenes: Mapping[str, Mapping]) -> None:
    """Write the file; scenes in the order given, equal content gives equal bytes."""
    content = {
        scene: {"objects": list(entry["objects"]), "locs": np.asarray(entry["locs"], dtype=np.float32)}
        for scene, entry in scenes.items()
    }
    write_bytes(path, tensor_bytes(content))


def read_attributes(path: str | Path) -> Attributes:
    """The file's scenes; DataError when it is no such file. Nothing in it is executed."""
    try:
        return {
            scene: {"objects": list(entry["objects"]), "locs": np.asarray(entry["locs"], np.float32).reshape(-1, 6)}
            for scene, entry in read_tensors(path).items()
        }
    except FileNotFoundError as error:
        raise DataError(f"{path}: is missing; `gpt4scene prepare` writes it") from error
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: is no attributes file {{scene: {{'objects', 'locs'}}}} ({error})") from error
