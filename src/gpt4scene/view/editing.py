"""What can be done to a scene's boxes: each step makes new boxes of old ones and can be taken back.

Numbers stay: a merged object keeps the number that was named first, a new object gets the next one that is free.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.prepared import SceneBox

Boxes = tuple[SceneBox, ...]

LEAST_SIDE = 0.01
"""Shortest side of a box in metres that a person can give."""
LEAST_POINTS = 10
"""Points of a part that is split off, and of what remains."""
LONGEST = 200
"""Most characters of a name."""


@dataclass(frozen=True)
class Cutter:
    """A box in the aligned frame that cuts another: ``center`` and ``size`` in metres."""

    center: tuple[float, float, float]
    size: tuple[float, float, float]


@dataclass(frozen=True)
class Step:
    """What was done, in a few words, and the boxes after it."""

    done: str
    boxes: Boxes


@dataclass(frozen=True)
class History:
    """Boxes with all steps that led to them; ``at`` is the place of the present ones in ``steps``."""

    steps: tuple[Step, ...]
    at: int = 0

    @classmethod
    def of(cls, boxes: Boxes, done: str = "as prepared") -> History:
        """Return the history of boxes to which nothing was done."""
        return cls((Step(done, boxes),))

    @property
    def boxes(self) -> Boxes:
        """The present boxes."""
        return self.steps[self.at].boxes

    def after(self, done: str, boxes: Boxes) -> History:
        """Return the history with one more step; steps that were taken back are gone. No step where nothing changed."""
        if boxes == self.boxes:
            return self
        return History((*self.steps[: self.at + 1], Step(done, boxes)), self.at + 1)

    def undone(self) -> History:
        """Return the history with the last step taken back, itself where there is none."""
        return replace(self, at=max(self.at - 1, 0))

    def redone(self) -> History:
        """Return the history with the step that was taken back last done again, itself where there is none."""
        return replace(self, at=min(self.at + 1, len(self.steps) - 1))

    @property
    def undo(self) -> str | None:
        """What ``undone`` takes back, ``None`` where there is nothing."""
        return self.steps[self.at].done if self.at else None

    @property
    def redo(self) -> str | None:
        """What ``redone`` does again, ``None`` where there is nothing."""
        return self.steps[self.at + 1].done if self.at + 1 < len(self.steps) else None


def box_of(boxes: Boxes, number: int) -> SceneBox:
    """Return the box of an object; ``DataError`` where there is none."""
    for box in boxes:
        if box.id == number:
            return box
    raise DataError(f"there is no object {number}; someone may have removed it")


def renamed(boxes: Boxes, number: int, label: str) -> Boxes:
    """Return the boxes with another name for object ``number``. Spaces around and between words become one."""
    words = " ".join(label.split())
    if not words:
        raise DataError("a name needs at least one letter; write 'object' where nothing is known")
    if len(words) > LONGEST or not words.isprintable():
        raise DataError(f"a name has at most {LONGEST} characters, all of them printable")
    return _with(boxes, replace(box_of(boxes, number), label=words))


def removed(boxes: Boxes, number: int) -> Boxes:
    """Return the boxes without object ``number``."""
    gone = box_of(boxes, number)
    return tuple(box for box in boxes if box is not gone)


def merged(boxes: Boxes, number: int, others: Sequence[int]) -> Boxes:
    """Return the boxes with ``others`` in object ``number``, whose box then holds all of theirs. Its name stays."""
    parts = [box_of(boxes, one) for one in dict.fromkeys((number, *others))]
    if len(parts) < 2:
        raise DataError(f"merge object {number} with another one, not with itself")
    solid = [box for box in parts if any(box.size)] or parts
    low = np.min([_low(box) for box in solid], axis=0)
    high = np.max([_high(box) for box in solid], axis=0)
    gone = {box.id for box in parts[1:]}
    kept = tuple(box for box in boxes if box.id not in gone)
    return _with(kept, replace(parts[0], **_between(low, high)))


def moved(boxes: Boxes, number: int, center: tuple[float, float, float], size: tuple[float, float, float]) -> Boxes:
    """Return the boxes with object ``number`` at another place, or of another size."""
    _check(center, size)
    return _with(boxes, replace(box_of(boxes, number), center=_rounded(center), size=_rounded(size)))


def added(boxes: Boxes, label: str, center: tuple[float, float, float], size: tuple[float, float, float]) -> Boxes:
    """Return the boxes with a new object, whose number is the next that is free."""
    _check(center, size)
    number = free_number(boxes)
    return renamed((*boxes, SceneBox(number, label, _rounded(center), _rounded(size))), number, label)


def free_number(boxes: Boxes) -> int:
    """Return the number that a new object gets."""
    return max((box.id for box in boxes), default=-1) + 1


def split_off(boxes: Boxes, number: int, cutter: Cutter, places_N3: np.ndarray | None = None) -> Boxes:
    """Return the boxes with what of object ``number`` lies in ``cutter`` as a new object of the same name.

    Where points of the scan (``places_N3``, metres) lie in the box, both boxes are measured anew: one around the points
    inside the cutter, one around the others. Where there are none the box itself is cut in two. Raises ``DataError``
    where one part would be nothing.
    """
    _check(cutter.center, cutter.size)
    whole = box_of(boxes, number)
    low, high = _low(whole), _high(whole)
    knife = SceneBox(-1, "", cutter.center, cutter.size)
    inner_low, inner_high = np.maximum(low, _low(knife)), np.minimum(high, _high(knife))
    if (inner_high - inner_low < LEAST_SIDE / 10).any():
        raise DataError(f"the cutting box does not reach into object {number}; move it there")
    if (inner_low <= low).all() and (inner_high >= high).all():
        raise DataError(f"the cutting box holds all of object {number}; make it smaller")
    own_N3 = _within(places_N3, low, high)
    if len(own_N3):
        inside_N = ((own_N3 >= inner_low) & (own_N3 <= inner_high)).all(axis=1)
        counts = int(inside_N.sum()), int((~inside_N).sum())
        if min(counts) < LEAST_POINTS:
            where = "inside" if counts[0] < LEAST_POINTS else "outside of"
            raise DataError(
                f"only {min(counts)} points of object {number} lie {where} the cutting box, and each part needs "
                f"{LEAST_POINTS}; move it"
            )
        part, rest = _around(own_N3[inside_N]), _around(own_N3[~inside_N])
    else:
        part, rest = (inner_low, inner_high), max(_slabs(low, high, inner_low, inner_high), key=_volume)
    new = SceneBox(free_number(boxes), whole.label, **_between(*part))
    return (*_with(boxes, replace(whole, **_between(*rest))), new)


def _within(places_N3: np.ndarray | None, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    if places_N3 is None:
        return np.zeros((0, 3))
    return places_N3[((places_N3 >= low) & (places_N3 <= high)).all(axis=1)]


def _around(points_N3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return points_N3.min(axis=0).astype(np.float64), points_N3.max(axis=0).astype(np.float64)


def _slabs(
    low: np.ndarray, high: np.ndarray, inner_low: np.ndarray, inner_high: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the six boxes that remain of a box beside the part that is cut out, one at each side of it."""
    for axis in range(3):
        for corner, other in ((low, inner_low), (inner_high, high)):
            first, last = low.copy(), high.copy()
            first[axis], last[axis] = corner[axis], other[axis]
            yield first, last


def _volume(box: tuple[np.ndarray, np.ndarray]) -> float:
    return float(np.prod(box[1] - box[0]))


def _low(box: SceneBox | Cutter) -> np.ndarray:
    return np.asarray(box.center) - np.asarray(box.size) / 2


def _high(box: SceneBox | Cutter) -> np.ndarray:
    return np.asarray(box.center) + np.asarray(box.size) / 2


def _between(low: np.ndarray, high: np.ndarray) -> dict[str, tuple[float, float, float]]:
    size = np.maximum(high - low, 0)
    return {"center": _rounded((low + high) / 2), "size": _rounded(size)}


def _rounded(values: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    x, y, z = (round(float(value), 6) + 0.0 for value in values)
    return x, y, z


def _check(center: Sequence[float], size: Sequence[float]) -> None:
    if not np.isfinite([*center, *size]).all() or np.abs(center).max() > 1e4 or max(size) > 1e4:
        raise DataError("a box has a place and a size in metres, three numbers each")
    if min(size) < LEAST_SIDE:
        raise DataError(f"each side of a box is at least {LEAST_SIDE} m long")


def _with(boxes: Boxes, changed: SceneBox) -> Boxes:
    return tuple(changed if box.id == changed.id else box for box in boxes)
