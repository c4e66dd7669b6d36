"""Edited boxes on disk, in the form that ``prepare --objects boxes:FILE`` takes; no file of others is overwritten."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.prepared import PreparedScene, SceneBox
from gpt4scene.files.whole import read_json, write_json
from gpt4scene.scans.objects import matrix_of, parse_objects
from gpt4scene.view.editing import Boxes

_TRIES = 1000


@dataclass(frozen=True)
class BoxFile:
    """A file of edited boxes, and its bytes as they were when it was last read or written; ``None`` for no file."""

    path: Path
    known: bytes | None = None

    def changed(self) -> bool:
        """Return whether someone else wrote or removed the file since."""
        return _content(self.path) != self.known


def default_file(scene: PreparedScene) -> Path:
    """Return where a scene's edited boxes go when nothing else is said: beside its ``scene.json``."""
    return scene.record.with_name(f"{scene.scene_id.replace('/', '_')}.boxes.json")


def open_boxes(path: Path, scene: PreparedScene) -> tuple[BoxFile, Boxes | None]:
    """Return the file at ``path``, and the boxes of earlier edits that it holds, ``None`` where there is no file.

    Raises ``DataError`` where it holds something else, or boxes of a scene that is aligned in another way.
    """
    content = _content(path)
    if content is None:
        return BoxFile(path), None
    written = read_json(path, "file of boxes")
    found = parse_objects(path, written, None, None).objects
    align = written.get("axis_align")
    if align is not None and not np.allclose(matrix_of(path, "axis_align", align), scene.align_44, atol=0.02):
        raise DataError(
            f"{path}: its boxes are of a scene that is aligned in another way than {scene.record}; "
            "move the file away, or name another one with --save"
        )
    boxes = tuple(SceneBox(item.id, item.label, _three(item.center), _three(item.size)) for item in found)
    return BoxFile(path, content), boxes


def save_boxes(file: BoxFile, boxes: Boxes, scene: PreparedScene) -> BoxFile:
    """Write ``boxes`` and return the file that now holds them.

    It is another one, with a number in its name, where someone else changed the file in between. ``OSError`` where it
    cannot be written.
    """
    path = _free(file.path) if file.changed() else file.path
    rows = [
        {"id": box.id, "label": box.label, "center": list(box.center), "size": list(box.size)}
        for box in sorted(boxes, key=lambda box: box.id)
    ]
    write_json(path, {"objects": rows, "axis_align": scene.align_44.tolist()})
    return replace(file, path=path, known=_content(path))


def _free(path: Path) -> Path:
    """Return a name beside ``path`` that no file has."""
    names = (path.with_name(f"{path.stem}.{number}{path.suffix}") for number in range(2, _TRIES))
    for name in names:
        if not name.exists():
            return name
    raise DataError(f"{path}: {_TRIES} files of this name are there; remove some")


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _three(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = map(float, values)
    return x, y, z
