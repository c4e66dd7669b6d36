"""Boxes seen from above: the one that an answer names, the one that was meant, and all others, as numbers for an SVG.

Beside the plan a strip shows from what height to what height the first two kinds reach, which a view from above hides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.judging import Judged, Pointed
from gpt4scene.metrics.answer_boxes import AnswerBoxes, Themselves
from gpt4scene.metrics.boxes import SceneBoxes

SIDE, STRIP, GAP, EDGE = 150.0, 10.0, 6.0, 4.0
"""Pixels: longer side of the plan, width of one bar of the strip, space before the strip, space around all."""
ABOVE = " above the lowest box"
"""From where heights are said."""


@dataclass(frozen=True)
class Shape:
    """A rectangle in pixels; ``kind`` is ``named``, ``meant`` or ``other``, ``name`` shows when the pointer rests."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    name: str = ""


@dataclass(frozen=True)
class PointedBox:
    """A box that an answer is about, ``named`` or ``meant`` by ``kind``: centre and size in metres."""

    kind: str
    number: int
    name: str
    box_6: np.ndarray


@dataclass(frozen=True)
class Drawing:
    """A plan: ``shapes`` over the other boxes of the room, which the page holds once."""

    shapes: tuple[Shape, ...]
    width: float
    height: float

    @property
    def paths(self) -> dict[str, str]:
        """The shapes as the data of one SVG path a kind, meant ones first: a page of many plans stays small."""
        kinds = dict.fromkeys(shape.kind for shape in self.shapes)
        return {kind: path_of(shape for shape in self.shapes if shape.kind == kind) for kind in kinds}

    @property
    def says(self) -> str:
        """The boxes in words: each by its name, with its heights."""
        return f"{'; '.join(shape.name.removesuffix(ABOVE) for shape in self.shapes if ABOVE in shape.name)}{ABOVE}"


@dataclass(frozen=True)
class Sheet:
    """The plans of many answers about a scene; ``others`` are the faint boxes as the data of one SVG path."""

    drawings: tuple[Drawing | None, ...]
    others: str
    others_are: str


@dataclass(frozen=True)
class RoomPlan:
    """The frame of a room's plans: metres become pixels by ``scale``, from the corner ``low`` to ``high``.

    ``found`` are the boxes that answers name and ``truth`` those that were meant; ``others_N6`` stand faint behind.
    """

    scene: str
    found: SceneBoxes
    truth: SceneBoxes
    others_N6: np.ndarray
    others_are: str
    low: np.ndarray
    high: np.ndarray
    scale: float

    @classmethod
    def of(cls, annotation: Annotation, scene: str) -> RoomPlan | None:
        """Return the frame of ``scene``, ``None`` where nothing has an extent or no box is compared.

        Behind boxes that answers bring themselves stand the annotated objects, else the marked ones.
        """
        found, truth = annotation.proposals, annotation.ground_truth
        if isinstance(truth, Themselves):
            return None
        named_N6, meant_M6 = (boxes.get(scene, np.zeros((0, 6))) for boxes in (found, truth))
        every_B6 = np.concatenate([named_N6, meant_M6])
        every_B6 = every_B6[(every_B6[:, 3:] > 0).any(axis=1)]
        if not len(every_B6):
            return None
        low = (every_B6[:, :3] - every_B6[:, 3:] / 2).min(axis=0)
        high = (every_B6[:, :3] + every_B6[:, 3:] / 2).max(axis=0)
        scale = SIDE / max(float((high - low)[:2].max()), 1e-3)
        own = isinstance(found, AnswerBoxes)
        others = (meant_M6, "annotated objects") if own else (named_N6, "other marked boxes")
        return cls(scene, found, truth, *others, low, high, scale)

    @property
    def width(self) -> float:
        """Pixels of the plan alone, from left to right."""
        return float((self.high - self.low)[0] * self.scale)

    @property
    def height(self) -> float:
        """Pixels of the plan from top to bottom."""
        return max(float((self.high - self.low)[1] * self.scale), 20.0)

    def others(self) -> tuple[Shape, ...]:
        """Return the faint boxes."""
        return tuple(self._from_above("other", box_6) for box_6 in self.others_N6 if (box_6[3:5] > 0).any())

    def pointed(self, judged: Judged) -> Iterator[PointedBox]:
        """Yield the boxes that an answer is about, first those that were meant; numbers past the last are left out."""
        pointed, origin = judged.pointed or Pointed((), ()), judged.row.origin
        kinds = (("meant", "object", pointed.meant, self.truth), ("named", "marked", pointed.named, self.found))
        for kind, called, numbers, boxes in kinds:
            boxes_N6 = boxes.of(self.scene, origin) if numbers else np.zeros((0, 6))
            for number in numbers:
                if number < len(boxes_N6):
                    name = f"{called} {number} {boxes.known_label(self.scene, number)}".strip()
                    yield PointedBox(kind, number, name, boxes_N6[number])

    def draw(self, judged: Judged) -> Drawing | None:
        """Return the plan of an answer; ``None`` where it is about no box."""
        pointed = judged.pointed or Pointed((), ())
        bars = bool(pointed.named) + bool(pointed.meant)
        places = {"meant": 0, "named": bars - 1}
        shapes = tuple(shape for box in self.pointed(judged) for shape in self._both(box, places[box.kind]))
        if not shapes:
            return None
        width = self.width + GAP + bars * STRIP + 2 * EDGE
        return Drawing(shapes, round(width, 1), round(self.height + 2 * EDGE, 1))

    def _both(self, box: PointedBox, place: int) -> Iterator[Shape]:
        """Yield a box from above and, as bar ``place``, beside."""
        yield self._from_above(box.kind, box.box_6, box.name)
        yield self._beside(box.kind, box.box_6, box.name, place)

    def _from_above(self, kind: str, box_6: np.ndarray, name: str = "") -> Shape:
        size = box_6[3:5] * self.scale
        x = (box_6[0] - self.low[0]) * self.scale - size[0] / 2 + EDGE
        y = (self.high[1] - box_6[1]) * self.scale - size[1] / 2 + EDGE
        return _rounded(kind, x, y, size[0], size[1], name)

    def _beside(self, kind: str, box_6: np.ndarray, name: str, place: int) -> Shape:
        per_metre = self.height / max(float(self.high[2] - self.low[2]), 1e-3)
        tall = box_6[5] * per_metre
        y = (self.high[2] - box_6[2]) * per_metre - tall / 2 + EDGE
        bottom, top = box_6[2] - box_6[5] / 2 - self.low[2], box_6[2] + box_6[5] / 2 - self.low[2]
        said = f"{name}: {bottom:.2f} to {top:.2f} m{ABOVE}"
        return _rounded(kind, self.width + EDGE + GAP + place * STRIP, y, STRIP - 2, tall, said)


def sheet(room: RoomPlan, items: Iterable[Judged]) -> Sheet:
    """Return the plans of ``items``, ``None`` for those that are about no box."""
    return Sheet(tuple(map(room.draw, items)), path_of(room.others()), room.others_are)


def path_of(shapes: Iterable[Shape]) -> str:
    """Return shapes as the data of one SVG path."""
    return "".join(f"M{one.x:g} {one.y:g}h{one.width:g}v{one.height:g}h-{one.width:g}z" for one in shapes)


def _rounded(kind: str, x: float, y: float, width: float, height: float, name: str) -> Shape:
    left, top, wide, tall = (round(float(value), 1) for value in (x, y, max(width, 1.0), max(height, 1.0)))
    return Shape(kind, left, top, wide, tall, name)
