"""Mask3D exports: proposals as vertex masks, listed in ``<scene>.txt`` as ``pred_mask/<file>.txt class score``."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.types import Scan, SceneObject, box_of

MOST_PROPOSALS = 100
"""Proposals after the first hundred, in export order, are left out, as in the published data."""


def mask3d_objects(scan: Scan, place: str) -> tuple[SceneObject, ...]:
    """The proposals of a scene in export order: an object's number is its line, from 0.

    Class numbers are ScanNet200's unless the folder has a ``labels.json`` ``{number: name}``. A mask without vertices
    keeps its number and is empty. Raises DataError when a mask has another length than the mesh.
    """
    folder = Path(place)
    listing = folder / f"{scan.scene_id}.txt"
    if scan.mesh is None:
        raise DataError(f"{scan.source}: Mask3D masks count mesh vertices, but the scan has no mesh")
    try:
        lines = [line for line in listing.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise DataError(f"{listing}: is missing; the Mask3D export has one such file a scene") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{listing}: is no text file") from error
    names = class_names(folder)
    objects = []
    for number, line in enumerate(lines[:MOST_PROPOSALS]):
        words = line.split()
        if len(words) != 3 or not words[1].lstrip("-").isdigit():
            raise DataError(f"{listing}, line {number + 1}: '{line[:80]}' is not 'mask-file class score'")
        if int(words[1]) not in names:
            raise DataError(
                f"{listing}, line {number + 1}: class {words[1]} is none of ScanNet200's; "
                f"name it in {folder / 'labels.json'}"
            )
        vertices = _mask(folder / words[0], len(scan.mesh.vertices))
        box = box_of(scan.mesh.vertices[vertices])
        objects.append(SceneObject(number, names[int(words[1])], *box, vertices))
    return tuple(objects)


def class_names(folder: Path) -> dict[int, str]:
    """Class number -> name: the folder's ``labels.json``, else ScanNet200's."""
    path = folder / "labels.json"
    source = path if path.is_file() else files("gpt4scene.scans") / "scannet200.json"
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
        return {int(key): str(value) for key, value in content.items()}
    except (ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: must be JSON {{class number: name}} ({error})") from error


def _mask(path: Path, count: int) -> np.ndarray:
    """Indices of the vertices whose line is not 0."""
    try:
        words = path.read_bytes().split()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if len(words) != count:
        raise DataError(f"{path}: has {len(words)} lines for {count} vertices; it belongs to another mesh")
    try:
        return np.nonzero(np.array(words, dtype="S8").astype(np.float64) != 0)[0]
    except ValueError as error:
        raise DataError(f"{path}: must have 0 or 1 on each line") from error
