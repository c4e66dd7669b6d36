"""Axis-aligned boxes ``(x, y, z, width, depth, height)``: centre and size in metres; IoU without Python loops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gpt4scene.errors import DataError

PUBLISHED_EPSILON = 1e-8
"""Added to the union by the public scorer, so that a box against itself stays just below 1."""

THRESHOLDS = (("0.25", 0.25), ("0.50", 0.5))
"""The IoU thresholds of published figures: as they stand in metric names, and as numbers."""


@dataclass(frozen=True)
class SceneBoxes(Mapping[str, np.ndarray]):
    """Boxes of many scenes: ``scene -> float64[N, 6]``. ``source`` names the file, or what the boxes are."""

    scenes: Mapping[str, np.ndarray]
    source: str
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __getitem__(self, scene: str) -> np.ndarray:
        return self.scenes[scene]

    def __iter__(self) -> Iterator[str]:
        return iter(self.scenes)

    def __len__(self) -> int:
        return len(self.scenes)

    def of(self, scene: str, origin: str) -> np.ndarray:
        """Return the boxes of ``scene`` or raise ``DataError`` naming ``origin``, the file, and a scene that it has."""
        if scene not in self.scenes:
            known = (
                f"it knows {len(self.scenes)} scenes, such as '{next(iter(self.scenes))}'" if self.scenes else "empty"
            )
            raise DataError(
                f"{origin}: scene '{scene}' is not in {self.source} ({known}); is that the file of another split?"
            )
        return self.scenes[scene]

    def label(self, scene: str, index: int) -> str:
        """Return the label of box ``index``, or ``unlabelled`` where the file has none."""
        return self.known_label(scene, index) or "unlabelled"

    def in_brackets(self, scene: str, index: int) -> str:
        """Return the label of box ``index`` in brackets behind a space, nothing where it has none."""
        label = self.known_label(scene, index)
        return f" ({label})" if label else ""

    def known_label(self, scene: str, index: int) -> str:
        """Return the label of box ``index``, an empty text where it has none."""
        labels = self.labels.get(scene, ())
        return labels[index] if index < len(labels) else ""

    def row(self, scene: str, index: int, origin: str) -> np.ndarray:
        """Return box ``index`` of ``scene``, float64[6], or raise ``DataError`` when there is no such box."""
        boxes_N6 = self.of(scene, origin)
        if not 0 <= index < len(boxes_N6):
            raise DataError(
                f"{origin}: object {index} is past the {len(boxes_N6)} boxes of scene '{scene}' in {self.source}; "
                "is that the file of another split?"
            )
        return boxes_N6[index]


def flat_targets(truth: SceneBoxes, asked: Iterable[tuple[str, int]]) -> tuple[str, ...]:
    """Return a note where ``asked`` names objects (scene, index) whose box has no volume, which no answer can meet."""
    flat = [(scene, index) for scene, index in asked if not truth[scene][index, 3:].all()]
    if not flat:
        return ()
    scene, index = flat[0]
    return (
        f"{len(flat)} targets are boxes without volume, which no answer can meet (the first is object {index} of scene "
        f"'{scene}' in {truth.source})",
    )


def scene_boxes(boxes: Mapping[str, object], source: str) -> SceneBoxes:
    """Return ``boxes`` (scene -> rows of six numbers) as float64 arrays.

    Raises ``DataError`` for another shape, a number that is not finite, or a negative size.
    """
    if isinstance(boxes, SceneBoxes):
        return boxes
    return SceneBoxes({scene: _checked(value, scene, source) for scene, value in boxes.items()}, source)


def _checked(value: object, scene: str, source: str) -> np.ndarray:
    try:
        boxes_N6 = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{source}: boxes of scene '{scene}' must be rows of six numbers{_first_odd(value)}") from None
    if boxes_N6.size == 0:
        return np.zeros((0, 6))
    if boxes_N6.ndim != 2 or boxes_N6.shape[1] != 6:
        raise DataError(
            f"{source}: boxes of scene '{scene}' have the shape {boxes_N6.shape} instead of (objects, 6); "
            "a box is its centre and its size along the axes, in metres"
        )
    broken_N = ~np.isfinite(boxes_N6).all(axis=1) | (boxes_N6[:, 3:] < 0).any(axis=1)
    if broken_N.any():
        index = int(np.argmax(broken_N))
        raise DataError(
            f"{source}: box {index} of scene '{scene}' holds a value that is not finite or a negative size "
            f"({boxes_N6[index].tolist()}); write it again from the scan (an empty proposal is six zeros)"
        )
    return boxes_N6


def _first_odd(value: object) -> str:
    """Name the first row of ``value`` that is not six numbers, or nothing where there are no rows."""
    for index, row in enumerate(value if isinstance(value, Sequence) else ()):
        try:
            if np.asarray(row, dtype=np.float64).shape == (6,):
                continue
        except (TypeError, ValueError):
            pass
        return f"; box {index} is {str(row)[:80]}"
    return ""


def iou(first: np.ndarray, second: np.ndarray, epsilon: float = 0.0) -> np.ndarray:
    """Return the IoU of boxes, broadcast over all leading axes: ``[..., 6]`` and ``[..., 6]`` to ``[...]``.

    Two boxes without volume give 0. ``epsilon`` is added to the union (``PUBLISHED_EPSILON`` for published figures).
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    low_1, high_1 = first[..., :3] - first[..., 3:] / 2, first[..., :3] + first[..., 3:] / 2
    low_2, high_2 = second[..., :3] - second[..., 3:] / 2, second[..., :3] + second[..., 3:] / 2
    common = _volume(np.maximum(np.minimum(high_1, high_2) - np.maximum(low_1, low_2), 0))
    union = _volume(high_1 - low_1) + _volume(high_2 - low_2) - common + epsilon
    return np.divide(common, union, out=np.zeros(np.shape(common)), where=union > 0)


def iou_matrix(first_N6: np.ndarray, second_M6: np.ndarray, epsilon: float = 0.0) -> np.ndarray:
    """Return the IoU of every box with every other one, float64[N, M]."""
    return iou(np.asarray(first_N6)[:, None, :], np.asarray(second_M6)[None, :, :], epsilon)


def _volume(size: np.ndarray) -> np.ndarray:
    return size[..., 0] * size[..., 1] * size[..., 2]
