"""The file of true boxes: an attributes file, or ``{scene: {object id: box}}`` in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.annotation import read_attributes
from gpt4scene.files.whole import read_json
from gpt4scene.metrics.answer_boxes import FORM, boxes_of, is_box, without_arrays
from gpt4scene.metrics.boxes import SceneBoxes

_MOST = 100_000
"""The largest number of an object; a larger one is a slip, and would fill the memory."""


@dataclass(frozen=True)
class NumberedBoxes(SceneBoxes):
    """Boxes by number, of which some are not there: ``known`` holds those that are."""

    known: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def row(self, scene: str, index: int, origin: str) -> np.ndarray:
        """Return box ``index`` of ``scene``, float64[6], or raise ``DataError`` naming some that there are."""
        boxes_N6 = self.of(scene, origin)
        if index not in self.known[scene]:
            some = ", ".join(map(str, sorted(self.known[scene])[:6]))
            raise DataError(
                f"{origin}: {self.source} has no box of object {index} of scene '{scene}' (it has {some or 'none'}, …)"
            )
        return boxes_N6[index]


def read_boxes(path: str | Path) -> SceneBoxes:
    """Return the boxes in ``path``, a ``.pt`` file (``files.annotation``) or JSON."""
    path = Path(path)
    if path.suffix.lower() != ".json":
        return read_attributes(path)
    return boxes_by_number(read_json(path, "file of boxes"), str(path))


def boxes_by_number(content: Any, source: str) -> SceneBoxes:
    """Return ``{scene: {object id: box}}``, or lists of boxes in place of the inner objects, as boxes.

    Raises ``DataError`` naming ``source``, scene and object for whatever is none.
    """
    if not isinstance(content, Mapping) or not content:
        raise DataError(f"{source}: expected {{scene: {{object id: box}}}}; {FORM}")
    scenes, known = {}, {}
    for scene, objects in content.items():
        objects = without_arrays(objects)
        if isinstance(objects, list) and not is_box(objects):
            objects = dict(enumerate(objects))
        if not isinstance(objects, Mapping):
            raise DataError(f"{source}: scene '{scene}' must hold {{object id: box}}, found {str(objects)[:60]}")
        boxes = {_number(key, source, scene): without_arrays(box) for key, box in objects.items()}
        array_N6 = np.zeros((max(boxes, default=-1) + 1, 6))
        for number, box in boxes.items():
            origin = f"{source}, scene '{scene}', object {number}"
            if not is_box(box):
                raise DataError(f"{origin}: {str(box)[:60]} is no box; {FORM}")
            array_N6[number] = boxes_of(box, origin)[0]
        scenes[str(scene)], known[str(scene)] = array_N6, frozenset(boxes)
    return NumberedBoxes(scenes, source, known=known)


def _number(key: Any, source: str, scene: Any) -> int:
    text = str(key)
    if not text.isdecimal() or int(text) > _MOST:
        raise DataError(f"{source}: scene '{scene}' has the object '{key}'; the number of an object is wanted")
    return int(text)
