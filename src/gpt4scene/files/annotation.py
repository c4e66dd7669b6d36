"""The companion files of an annotation folder: boxes and labels of objects, captions, unique and multiple objects.

``scannet*_attributes.pt`` is ``{scene: {"objects": [label, ...], "locs": float tensor [n, 6]}}``, centre and size in
metres in the aligned frame. The row number is the object's number, so that an empty proposal is a row of six zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.tensors import NotReadable, read_tensors, tensor_bytes
from gpt4scene.files.whole import read_json, write_bytes
from gpt4scene.metrics.boxes import SceneBoxes, scene_boxes

PROPOSALS = "scannet_mask3d_{split}_attributes.pt"
"""File of the marked objects, which answers name by number."""

GROUND_TRUTH = "scannet_{split}_attributes.pt"
"""File of the annotated objects."""


def read_attributes(path: Path) -> SceneBoxes:
    """Return boxes and labels of a ``scannet*_attributes.pt`` file; nothing in it is executed.

    Raises ``DataError`` for a missing or broken file, boxes of another shape and numbers that are not finite.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; download the annotations or run `gpt4scene prepare`")
    try:
        content = read_tensors(path)
    except NotReadable as error:
        reason = (
            "it holds other values than tensors, numbers, texts and lists" if "Weights only" in str(error) else error
        )
        raise DataError(
            f"{path}: not a readable attributes file ({reason}); download it again, or write it with "
            "`gpt4scene prepare`"
        ) from None
    if not isinstance(content, Mapping) or not all(isinstance(v, Mapping) and "locs" in v for v in content.values()):
        raise DataError(f"{path}: expected {{scene: {{'objects': labels, 'locs': boxes}}}}")
    boxes, labels = {}, {}
    for scene, value in content.items():
        try:
            boxes[scene] = np.array([*value["locs"]], dtype=np.float64)
            labels[scene] = tuple(map(str, _listed(value.get("objects", ()))))
        except (TypeError, ValueError):
            raise DataError(
                f"{path}: scene '{scene}' must hold labels in 'objects' and rows of six numbers in 'locs'"
            ) from None
    return SceneBoxes(scene_boxes(boxes, str(path)).scenes, str(path), labels)


def _listed(labels: Any) -> Any:
    """Return ``labels``; raise ``TypeError`` for a text, which would be taken letter by letter."""
    if isinstance(labels, str | Mapping):
        raise TypeError("no list of labels")
    return labels


def attributes_of(objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one scene's entry from its objects as ``scene.json`` has them (``id, label, center, size``).

    Numbers without object get an empty name and six zeros, and so do the boxes of objects without extent.
    """
    count = max((item["id"] for item in objects), default=-1) + 1
    labels, locs = [""] * count, np.zeros((count, 6), dtype=np.float32)
    for item in objects:
        labels[item["id"]] = item["label"]
        if any(side > 0 for side in item["size"]):
            locs[item["id"]] = [*item["center"], *item["size"]]
    return {"objects": labels, "locs": locs}


def write_attributes(path: str | Path, scenes: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write the file and return ``path``; scenes in the order given, equal content gives equal bytes."""
    content = {
        scene: {"objects": list(entry["objects"]), "locs": np.asarray(entry["locs"], dtype=np.float32)}
        for scene, entry in scenes.items()
    }
    return write_bytes(path, tensor_bytes(content))


def read_corpus(path: Path) -> dict[str, list[str]]:
    """Return the captions of annotated objects: ``scene|object -> captions``."""
    return checked_corpus(read_json(path), str(path))


def checked_corpus(corpus: Any, source: str) -> dict[str, list[str]]:
    """Return ``corpus``; raise ``DataError`` naming ``source`` and the object whose captions are no list of texts."""
    if not isinstance(corpus, Mapping):
        raise DataError(f"{source}: expected {{'scene|object': [captions]}}")
    for key, captions in corpus.items():
        scene, _, target = str(key).rpartition("|")
        if not scene or not target.isdecimal():
            raise DataError(f"{source}: the key '{key}' must name scene and object as 'scene0011_00|4'")
        listed = isinstance(captions, Sequence) and not isinstance(captions, str)
        if not listed or not captions or not all(isinstance(caption, str) for caption in captions):
            raise DataError(f"{source}: '{key}' must hold a list of captions, found {captions!r}")
    return {str(key): list(captions) for key, captions in corpus.items()}


def read_lookup(path: Path) -> dict[str, dict[str, int]]:
    """Return which objects are the only ones of their class: ``scene -> object -> 0 unique | 1 multiple``."""
    return checked_lookup(read_json(path), str(path))


def checked_lookup(lookup: Any, source: str) -> dict[str, dict[str, int]]:
    """Return ``lookup``; raise ``DataError`` naming ``source`` and the object that is neither unique nor multiple."""
    if not isinstance(lookup, Mapping):
        raise DataError(f"{source}: expected {{scene: {{object: 0 or 1}}}}")
    for scene, objects in lookup.items():
        if not isinstance(objects, Mapping):
            raise DataError(f"{source}: scene '{scene}' must hold {{object: 0 or 1}}, found {str(objects)[:80]}")
        for target, kind in objects.items():
            if not isinstance(kind, int | float) or kind not in (0, 1):
                raise DataError(f"{source}: object {target} of scene '{scene}' must be 0 (unique) or 1, found {kind!r}")
    return {str(scene): {str(target): int(kind) for target, kind in found.items()} for scene, found in lookup.items()}
