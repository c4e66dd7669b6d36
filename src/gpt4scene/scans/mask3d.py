"""Mask3D exports: proposals as vertex masks, listed in ``<scene>.txt`` as ``pred_mask/<file>.txt class score``."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json
from gpt4scene.scans.geometry import box_of
from gpt4scene.scans.named_files import existing_file
from gpt4scene.scans.objects import FoundObjects
from gpt4scene.scans.text_files import read_lines
from gpt4scene.scans.types import Scan, SceneObject

MOST_PROPOSALS = 100
"""Proposals after the first hundred, in export order, are left out, as in the published data."""


def mask3d_objects(scan: Scan, place: str) -> FoundObjects:
    """The proposals of a scene in export order: an object's number is its line, from 0.

    Class numbers are ScanNet200's unless the folder has a ``labels.json`` ``{number: name}``. A mask without vertices
    keeps its number and is empty. Raises DataError when a mask has another length than the mesh, and for a class or a
    score that cannot be.
    """
    folder = Path(place)
    listing = folder / f"{scan.scene_id}.txt"
    if scan.mesh is None:
        raise DataError(f"{scan.source}: Mask3D masks count mesh vertices, but the scan has no mesh")
    if not listing.is_file():
        raise DataError(
            f"{listing}: is missing; the Mask3D export has one such file a scene, and the folder has "
            f"{_what_is_there(folder)}"
        )
    lines = [line for line in read_lines(listing) if line.strip()]
    names = _class_names(folder)
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
        _check_score(f"{listing}, line {number + 1}", words[2])
        vertices = scan.mesh.kept(_mask(existing_file(folder, words[0]), scan.mesh.count_in_file))
        box = box_of(scan.mesh.vertices[vertices])
        objects.append(SceneObject(number, names[int(words[1])], *box, vertices))
    return FoundObjects(tuple(objects), tuple(_notes(listing, len(lines), objects)))


def _check_score(place: str, word: str) -> None:
    """DataError for a score that is no number; its size decides nothing, the order of the export does."""
    try:
        score = float(word)
    except ValueError:
        score = float("nan")
    if not np.isfinite(score):
        raise DataError(f"{place}: the score '{word}' is no number; export the proposals again")


def _notes(listing: Path, listed: int, objects: list[SceneObject]) -> Iterator[str]:
    if listed > MOST_PROPOSALS:
        yield f"{listing}: lists {listed} proposals; the first {MOST_PROPOSALS} are used, as in the published data"
    empty = [str(item.id) for item in objects if item.vertices is not None and not len(item.vertices)]
    if empty:
        yield f"{listing}: {len(empty)} proposals have no vertices and are marked nowhere: {', '.join(empty)}"


def _what_is_there(folder: Path) -> str:
    """How many scenes a folder lists, for the message that one is missing."""
    found = sorted(path.name for path in folder.glob("*.txt")) if folder.is_dir() else []
    return f"{len(found)} others, such as {found[0]}" if found else "none at all"


def _class_names(folder: Path) -> dict[int, str]:
    """Class number -> name: the folder's ``labels.json``, else ScanNet200's."""
    path = folder / "labels.json"
    content = read_json(path if path.is_file() else Path(__file__).with_name("scannet200.json"))
    try:
        wrong = [f"{key}: {value!r}" for key, value in content.items() if not isinstance(value, str)]
        if wrong:
            raise ValueError(f"{wrong[0]} is no name")
        return {int(key): value for key, value in content.items()}
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path}: must be JSON {{class number: name}} ({error})") from error


def _mask(path: Path, count: int) -> np.ndarray:
    """Indices of the vertices whose line is not 0."""
    try:
        words = path.read_bytes().removeprefix(codecs.BOM_UTF8).split()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if len(words) != count:
        raise DataError(f"{path}: has {len(words)} lines for {count} vertices; it belongs to another mesh")
    try:
        values = np.array(words, dtype="S").astype(np.float64)
    except ValueError as error:
        raise DataError(f"{path}: must have 0 or 1 on each line") from error
    wrong = np.nonzero((values != 0) & (values != 1))[0]
    if len(wrong):
        raise DataError(f"{path}, line {wrong[0] + 1}: is {values[wrong[0]]:g}, must be 0 or 1")
    return np.nonzero(values)[0]
