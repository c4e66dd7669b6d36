"""Annotated objects beside a recording: ``objects.json`` with boxes or masks, and ``axis_align.txt``.

``{"objects": [{"id", "label", "center", "size"}]}`` in metres in the aligned frame; or ``"mask"``, a file with the
numbers of the object's mesh vertices, whose box is measured. A key that would change the box is refused, others that
are not used are named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json, write_json
from gpt4scene.scans.geometry import box_of, transformed
from gpt4scene.scans.mesh_files import seen_geometry
from gpt4scene.scans.named_files import existing_file
from gpt4scene.scans.text_files import number_lines, read_matrix, read_values
from gpt4scene.scans.types import Mesh, SceneObject

_OBJECTS, _ALIGN = "objects.json", "axis_align.txt"
_USED = frozenset({"id", "label", "center", "size", "mask"})
_TURNS = re.compile(
    r"(.*_)?(rot|rotations?|rotmat|yaw|pitch|roll|headings?|angles?|theta|euler|quaternion|quat|orientation|direction)"
    r"(_.*)?|r|r[xyz]|q[wxyz]|axes|normalizedaxes|basis|(\w+_)?transform(ation)?(_matrix)?|pose|matrix"
)
"""Keys that turn a box, in small letters."""
BESIDE = 0.25
"""Metres beside a box where vertices of its mask may lie."""
_METRES = frozenset({"m", "metre", "metres", "meter", "meters"})


class FoundObjects(NamedTuple):
    """Objects, and sentences about what was seen beside them and not used."""

    objects: tuple[SceneObject, ...]
    notes: tuple[str, ...] = ()


class Annotation(NamedTuple):
    """The 4x4 axis alignment or None, the objects by number, and sentences about what was not used."""

    align: np.ndarray | None
    objects: tuple[SceneObject, ...]
    notes: tuple[str, ...] = ()


def read_annotation(folder: Path, mesh: Mesh | None) -> Annotation:
    """The annotation of a recording, as far as its folder has one.

    The alignment stands in its own file, or beside the boxes as ``axis_align``. Boxes without one say that the
    recording's world is the aligned frame.
    """
    align_file, objects_file = folder / _ALIGN, folder / _OBJECTS
    align = read_matrix(align_file, 4) if align_file.is_file() else None
    if not objects_file.is_file():
        return Annotation(align, ())
    content = read_json(objects_file)
    if isinstance(content, dict) and content.get("axis_align") is not None:
        own = matrix_of(objects_file, "axis_align", content.pop("axis_align"))
        if align is not None and not np.allclose(align, own, atol=1e-4):
            raise DataError(f"{objects_file}: its axis_align is another than {align_file} has; remove one")
        align = own if align is None else align
    objects, notes = parse_objects(objects_file, content, mesh, align)
    return Annotation(np.eye(4) if align is None and objects else align, objects, notes)


def matrix_of(path: Path, key: str, content: object) -> np.ndarray:
    """The 4x4 matrix of four rows, or of sixteen numbers row by row, that stands under ``key``."""
    try:
        values = np.array(content, dtype=np.float64)
    except (ValueError, TypeError):
        values = np.zeros(0)
    if values.shape not in ((4, 4), (16,)):
        raise DataError(f"{path}: {key} must be a 4x4 matrix, row by row")
    return values.reshape(4, 4)


def parse_objects(path: Path, content: object, mesh: Mesh | None, align: np.ndarray | None) -> FoundObjects:
    """The objects in the content of a JSON file, sorted by number.

    ``align`` (4x4) takes mesh vertices to the frame of the boxes. Raises DataError naming the file and the row.
    """
    entries = content.get("objects") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(entries, list):
        raise DataError(f"{path}: must be JSON with a list 'objects'")
    check_keys(str(path), content)
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
    unused = {key for entry in entries for key in entry} - _USED
    if "settings" not in content:  # else it is the scene.json of a prepared scene, whose keys are our own
        unused |= content.keys() - {"objects"}
    notes = (f"{path}: not used: {', '.join(sorted(map(repr, unused)))}",) if unused else ()
    return FoundObjects(tuple(objects[number] for number in sorted(objects)), notes)


def check_keys(place: str, entry: Mapping) -> None:
    """DataError for keys that say that a box is turned or not in metres."""
    for key, value in entry.items():
        if _TURNS.fullmatch(str(key).lower()) and not _turns_nothing(value):
            raise DataError(
                f"{place}: '{key}' turns the box, but boxes lie along the axes of the aligned frame; give center and "
                f"size of the box around it and leave '{key}' out"
            )
        if str(key).lower() in ("unit", "units") and str(value).lower() not in _METRES:
            raise DataError(f"{place}: the {key} is '{value}', but boxes are in metres; write them so")


def _turns_nothing(value: object) -> bool:
    """True for None, angles of 0, the identity matrix, and the quaternion without a turn."""
    if isinstance(value, Mapping):
        return all(_turns_nothing(one) for one in value.values())
    try:
        numbers = np.array(0.0 if value is None else value, dtype=np.float64)
    except (ValueError, TypeError):
        return False
    if numbers.size in (9, 16) and np.allclose(numbers.ravel(), np.eye(3 if numbers.size == 9 else 4).ravel()):
        return True
    if numbers.size == 4 and np.isclose(np.abs(numbers.ravel()[[0, 3]]).max(), 1) and np.count_nonzero(numbers) == 1:
        return True
    return not numbers.any()


def whole_number(value: object) -> int:
    """The whole number that a JSON value is, also written 3.0 or "3". Raises ValueError for others."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        number = int(value) if isinstance(value, int) else float(value)
        if number == int(number):
            return int(number)
    raise ValueError(f"{value!r} is no whole number")


def text_of(value: object) -> str:
    """The text that a JSON value is. Raises ValueError for others."""
    if isinstance(value, str):
        return value
    raise ValueError(f"id is a whole number and label a text, found {value!r} (write 'object' if nothing is known)")


def _object(path: Path, row: int, entry: dict, mesh: Mesh | None, align: np.ndarray | None) -> SceneObject:
    try:
        number, label = whole_number(entry["id"]), text_of(entry["label"])
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path}, object {row}: {error}") from None
    check_keys(f"{path}, object {row}", entry)
    vertices = _mask(path.parent, existing_file(path.parent, str(entry["mask"])), mesh) if entry.get("mask") else None
    if "center" in entry:
        center, size = (np.array(entry[key], dtype=np.float64).reshape(3) for key in ("center", "size"))
        _check_place(f"{path}, object {row}", center, size, vertices, mesh, align)
    elif vertices is not None and mesh is not None:
        points = mesh.vertices[vertices]
        center, size = box_of(points if align is None else transformed(points, align))
    else:
        raise KeyError("center and size, or mask")
    return SceneObject(number, label, center, size, vertices)


def _check_place(
    place: str,
    center: np.ndarray,
    size: np.ndarray,
    vertices: np.ndarray | None,
    mesh: Mesh | None,
    align: np.ndarray | None,
) -> None:
    """DataError where most of a mask lies outside of the box that is given beside it."""
    if vertices is None or mesh is None or not len(vertices) or not (size > 0).any():
        return
    points = mesh.vertices[vertices]
    places = [points] if align is None else [points, transformed(points, align)]  # which the mask is of, others judge
    outside = np.array([(np.abs(place - center) > size / 2 + BESIDE).any(axis=1) for place in places]).all(axis=0)
    if outside.mean() > 0.5:
        raise DataError(
            f"{place}: {int(outside.sum())} of the {len(vertices)} vertices of its mask lie outside of its box; masks "
            "hold numbers of the mesh's vertices, from 0, and boxes are metres in the aligned frame"
        )


def _mask(folder: Path, path: Path, mesh: Mesh | None) -> np.ndarray:
    """Vertex indices in a mask file, sorted, each once."""
    if mesh is None:
        raise DataError(f"{path}: masks are vertex indices and need a mesh.ply{seen_geometry(folder)}")
    values = read_values(path)
    wrong = values[~((values >= 0) & (values < mesh.count_in_file) & (values == np.floor(values)))]
    if len(wrong):
        raise DataError(f"{path}: names vertex {wrong[-1]:.16g} but the mesh has {mesh.count_in_file}, from 0")
    if len(values) == mesh.count_in_file > 2 and values.max() <= 1:
        raise DataError(f"{path}: has 0 or 1 for each vertex; masks hold the numbers of the vertices, from 0")
    return mesh.kept(np.unique(values.astype(np.int64)))


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
