"""Annotated objects beside a recording: ``objects.json`` with boxes or masks, and ``axis_align.txt``.

``{"objects": [{"id", "label", "center", "size"}]}`` in metres in the aligned frame; or ``"mask"``, a file with the
numbers of the object's mesh vertices, whose box is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json, write_json
from gpt4scene.scans.geometry import box_of, transformed
from gpt4scene.scans.text_files import number_lines, read_matrix, read_numbers
from gpt4scene.scans.types import Mesh, SceneObject

_OBJECTS, _ALIGN = "objects.json", "axis_align.txt"


def read_annotation(folder: Path, mesh: Mesh | None) -> tuple[np.ndarray | None, tuple[SceneObject, ...]]:
    """The 4x4 axis alignment, or None, and the objects of a recording, sorted by number, as far as its folder has them.

    Boxes without an alignment say that the recording's world is the aligned frame.
    """
    align_file, objects_file = folder / _ALIGN, folder / _OBJECTS
    align = read_matrix(align_file, 4) if align_file.is_file() else None
    if not objects_file.is_file():
        return align, ()
    objects = parse_objects(objects_file, read_json(objects_file), mesh, align)
    return (np.eye(4) if align is None and objects else align), objects


def parse_objects(path: Path, content: object, mesh: Mesh | None, align: np.ndarray | None) -> tuple[SceneObject, ...]:
    """The objects in the content of a JSON file, sorted by number.

    ``align`` (4x4) takes mesh vertices to the frame of the boxes. Raises DataError naming the file and the row.
    """
    entries = content.get("objects") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise DataError(f"{path}: must be JSON with a list 'objects'")
    objects: dict[int, SceneObject] = {}
    for row, entry in enumerate(entries):
        try:
            item = _object(path, row, entry, mesh, align)
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise DataError(
                f"{path}, object {row}: lacks {error} (each has id, label, center and size, or mask)"
            ) from error
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path}, object {row}: center and size are three numbers each ({error})") from error
        if item.id in objects or item.id < 0:
            why = "used twice" if item.id in objects else "negative"
            raise DataError(f"{path}, object {row}: id {item.id} is {why}")
        if not np.isfinite([item.center, item.size]).all() or (item.size < 0).any():
            raise DataError(f"{path}, object {row}: the box {item.center.tolist()} {item.size.tolist()} is not a box")
        objects[item.id] = item
    return tuple(objects[number] for number in sorted(objects))


def _object(path: Path, row: int, entry: dict, mesh: Mesh | None, align: np.ndarray | None) -> SceneObject:
    number, label = int(entry["id"]), str(entry["label"])
    if number != float(entry["id"]):
        raise DataError(f"{path}, object {row}: id {entry['id']} is no whole number")
    vertices = _mask(path.parent / entry["mask"], mesh) if entry.get("mask") else None
    if "center" in entry:
        center, size = (np.array(entry[key], dtype=np.float64).reshape(3) for key in ("center", "size"))
    elif vertices is not None and mesh is not None:
        points = mesh.vertices[vertices]
        center, size = box_of(points if align is None else transformed(points, align))
    else:
        raise KeyError("center and size, or mask")
    return SceneObject(number, label, center, size, vertices)


def _mask(path: Path, mesh: Mesh | None) -> np.ndarray:
    """Vertex indices in a mask file, sorted, each once."""
    if mesh is None:
        raise DataError(f"{path}: masks are vertex indices and need a mesh.ply")
    values = np.array([value for row in read_numbers(path) for value in row])
    wrong = values[~((values >= 0) & (values < len(mesh.vertices)) & (values == np.floor(values)))]
    if len(wrong):
        raise DataError(f"{path}: names vertex {wrong[-1]:.16g} but the mesh has {len(mesh.vertices)}, from 0")
    return np.unique(values.astype(np.int64))


def write_annotation(folder: Path, align: np.ndarray | None, objects: Sequence[SceneObject]) -> None:
    """Write what ``read_annotation`` reads. Objects with ``vertices`` get a mask file; boxes are always written."""
    if align is not None:
        (folder / _ALIGN).write_text(number_lines(align))
    entries = []
    for item in objects:
        entry: dict = {"id": item.id, "label": item.label, "center": item.center.tolist(), "size": item.size.tolist()}
        if item.vertices is not None:
            (folder / "masks").mkdir(exist_ok=True)
            entry["mask"] = f"masks/{item.id}.txt"
            (folder / entry["mask"]).write_text("".join(f"{index}\n" for index in item.vertices))
        entries.append(entry)
    if entries:
        write_json(folder / _OBJECTS, {"objects": entries})
