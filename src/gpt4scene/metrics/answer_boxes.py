"""Boxes that answers bring themselves, of any detector: six numbers, or eight corners of which the outer box counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.metrics.boxes import SceneBoxes

FORM = "a box is [cx, cy, cz, dx, dy, dz], centre and size in metres, or its eight corners [[x, y, z], …]"
"""What a box looks like, for messages."""


@dataclass(frozen=True)
class AnswerBoxes(SceneBoxes):
    """The boxes of each answer, numbered from 0 in each: ``own`` holds them by the answer's ``origin``, float64[N, 6].

    By scene they are those of all its answers.
    """

    own: Mapping[str, np.ndarray] = field(default_factory=dict)

    def of(self, scene: str, origin: str) -> np.ndarray:
        """Return the boxes of the answer that ``origin`` names, none where it brings none."""
        return self.own.get(origin, np.zeros((0, 6)))

    def said(self, origin: str) -> str:
        """Return the boxes of the answer that ``origin`` names as a text, in millimetres at the finest."""
        return ", ".join(str([round(float(value), 3) for value in box_6]) for box_6 in self.of("", origin))


def answer_boxes(own: Mapping[str, np.ndarray], scenes: Mapping[str, str]) -> AnswerBoxes:
    """Return the boxes of answers by origin; ``scenes`` are the scenes that these are about, by origin."""
    by_scene: dict[str, list[np.ndarray]] = {}
    for origin, boxes_N6 in own.items():
        by_scene.setdefault(scenes[origin], []).append(boxes_N6)
    return AnswerBoxes(
        {scene: np.concatenate(found) for scene, found in by_scene.items()}, "the answers' own boxes", own=own
    )


@dataclass(frozen=True)
class Themselves(SceneBoxes):
    """A box for every object, each its own: answers are about the objects themselves, and no box is compared."""


def themselves(objects: Iterable[tuple[str, int]]) -> Themselves:
    """Return boxes that meet themselves for ``objects``, scene and number."""
    most: dict[str, int] = {}
    for scene, number in objects:
        most[scene] = max(most.get(scene, 0), number + 1)
    return Themselves({scene: np.ones((count, 6)) for scene, count in most.items()}, "the objects asked about")


def without_arrays(value: Any) -> Any:
    """Return ``value`` with lists and plain numbers in place of arrays and their numbers, lists inside it too."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return [without_arrays(one) for one in value] if isinstance(value, list | tuple) else value


def is_box(value: Any) -> bool:
    """Return whether ``value`` has the form of one box; six whole numbers have it too."""
    return _is_row(value, 6) or _is_corners(value)


def boxes_of(value: Sequence[Any], origin: str) -> np.ndarray:
    """Return a box, or a list of boxes, as centre and size, float64[N, 6].

    Corners, in any order and turned in any way, give the box along the axes around them. Raises ``DataError`` naming
    ``origin`` for another form, a number that is not finite, and a negative size.
    """
    found = [value] if is_box(value) else list(value)
    return np.array([_box(one, number, origin) for number, one in enumerate(found)]).reshape(-1, 6)


def _box(value: Any, number: int, origin: str) -> np.ndarray:
    if not is_box(value):
        said = f"{len(value)} values" if isinstance(value, Sequence) and not isinstance(value, str) else repr(value)
        raise DataError(f"{origin}: box {number} has {said}; {FORM}")
    box = np.array(value, dtype=np.float64)
    if box.ndim == 2:
        low, high = box.min(axis=0), box.max(axis=0)
        box = np.concatenate([(low + high) / 2, high - low])
    if not np.isfinite(box).all() or (box[3:] < 0).any():
        raise DataError(
            f"{origin}: box {number} holds a value that is not finite or a negative size ({box.tolist()}); {FORM}"
        )
    return box


def _is_row(value: Any, length: int) -> bool:
    return isinstance(value, list | tuple) and len(value) == length and all(map(_is_number, value))


def _is_corners(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 8 and all(_is_row(one, 3) for one in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
