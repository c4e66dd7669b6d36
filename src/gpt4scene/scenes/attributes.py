"""``scannet*_attributes.pt``: names and boxes of a split's objects, in the form that the field's scorers read.

``{scene: {"objects": [label, ...], "locs": float tensor [n, 6]}}``, centre and size in metres in the aligned frame.
The row number is the object's number, so that a number without object (an empty proposal) is a row of six zeros.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..types import DataError
from .types import SceneObject

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
    import torch

    path = Path(path)
    content = {
        scene: {"objects": list(entry["objects"]), "locs": torch.as_tensor(np.array(entry["locs"], np.float32))}
        for scene, entry in scenes.items()
    }
    part = path.with_name(path.name + ".part")
    with open(part, "wb") as file:
        torch.save(content, file)
    os.replace(part, path)


def read_attributes(path: str | Path) -> Attributes:
    """The file's scenes; DataError when it is no such file. Nothing in it is executed (``weights_only``)."""
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return {
            scene: {"objects": list(entry["objects"]), "locs": entry["locs"].float().numpy().reshape(-1, 6)}
            for scene, entry in content.items()
        }
    except FileNotFoundError as error:
        raise DataError(f"{path}: is missing; `gpt4scene prepare` writes it") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: is no attributes file {{scene: {{'objects', 'locs'}}}} ({error})") from error
