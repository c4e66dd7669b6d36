"""The boxes of answers drawn over images of their scene: which images, and the lines in each.

An image stands on the page once and a box in an image once, however many answers show them: a view is a list of names.
Cameras say where a box lies in an image, and nothing about what stands before it. A frame in which the object's number
is drawn shows the object for sure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.judging import Judged
from gpt4scene.files.prepared import PreparedScene, SceneBev
from gpt4scene.metrics.boxes import iou
from gpt4scene.report.images import PageImage
from gpt4scene.report.plan import PointedBox, RoomPlan
from gpt4scene.report.projecting import Projected, from_above, in_frame
from gpt4scene.report.scene_records import Cameras, cameras_of, disagreement

FRAMES = 3
"""Frames that are shown beside the bird's-eye view for an answer."""
LEAST_INSIDE, LEAST_AREA = 0.25, 0.0005
"""A frame shows a box where this share of its corners is in the image and it covers this share of the image."""
SAME_OBJECT = 0.5
"""IoU from which a marked object is the one of a box."""


@dataclass(frozen=True)
class Shape:
    """A box in an image: ``edges`` and ``outline`` are the data of two SVG paths.

    Its number stands at ``x``, ``y``, so ``tall``, in pixels of the image.
    """

    id: str
    kind: str
    number: int
    name: str
    edges: str
    outline: str
    x: int
    y: int
    tall: int


@dataclass(frozen=True)
class View:
    """An image with the boxes that it shows: ``image`` is its place on the page, ``shapes`` are names of shapes.

    ``said`` is what is known of the objects there, behind the image's name.
    """

    image: int
    image_name: str
    shapes: tuple[str, ...]
    said: str


@dataclass(frozen=True)
class Look:
    """What an answer's boxes look like: the ``views``, and the names of boxes that no frame shows."""

    views: tuple[View, ...]
    hidden: tuple[str, ...]


@dataclass(frozen=True)
class Overlays:
    """All that a scene's page draws over its images: ``shapes`` once, and the look of answers by task and place.

    ``sizes`` are, by their place on the page, the images that are used, with the width and height that shapes are drawn
    in. ``missing`` are sentences: why boxes are not drawn.
    """

    shapes: tuple[Shape, ...] = ()
    looks: Mapping[tuple[str, int], Look] = field(default_factory=dict)
    sizes: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def tasks(self) -> frozenset[str]:
        """The tasks of which an answer shows boxes."""
        return frozenset(task for task, _ in self.looks)


@dataclass(frozen=True)
class Pointing:
    """The answers of a task that may be about boxes, the plan of their scene, and the folder that the boxes are of."""

    items: Sequence[Judged]
    plan: RoomPlan
    annotation: Annotation


def overlays(
    scene: str, images: Sequence[PageImage], tasks: Mapping[str, Pointing], given: Mapping[str, Path] | None = None
) -> Overlays:
    """Return what is drawn for the answers of ``tasks`` over ``images``, the images of ``scene`` on its page.

    ``given`` is as for ``cameras_of``. Where nothing tells with what cameras the images were made, or boxes of other
    objects, nothing is drawn, and ``missing`` says why.
    """
    if not tasks:
        return Overlays()
    cameras = cameras_of(scene, images, given)
    if cameras.scene is None:
        return Overlays(missing=(cameras.why,))
    why = {task: disagreement(pointing.annotation, cameras.scene) for task, pointing in tasks.items()}
    drawer = _Drawer(cameras, images, cameras.scene)
    looks = {}
    for task, pointing in tasks.items():
        for place, item in enumerate(pointing.items if not why[task] else ()):
            boxes = list(pointing.plan.pointed(item))
            if boxes:
                looks[task, place] = drawer.look(boxes)
    used = {view.image for look in looks.values() for view in look.views}
    sizes = {place: (camera.width, camera.height) for place, camera in cameras.of.items() if place in used}
    missing = tuple(dict.fromkeys(filter(None, why.values())))
    return Overlays(tuple(drawer.shapes.values()), looks, sizes, missing)


class _Drawer:
    """Boxes in the images of one scene, each computed once."""

    def __init__(self, cameras: Cameras, images: Sequence[PageImage], scene: PreparedScene) -> None:
        self.shapes: dict[tuple[str, int, bytes, int], Shape] = {}
        self._cameras, self._images, self._scene = cameras.of, images, scene
        self._known: dict[tuple[bytes, int], Projected | None] = {}
        self._objects_N6 = np.array([[*item.center, *item.size] for item in scene.objects]).reshape(-1, 6)
        self._numbers: dict[bytes, int | None] = {}

    def look(self, pointed: Sequence[PointedBox]) -> Look:
        """Return the views of an answer: from above, then the frames that show its boxes best."""
        frames = self._best(pointed)
        above = [place for place, camera in self._cameras.items() if isinstance(camera, SceneBev)]
        views = [view for place in (*above, *frames) if (view := self._view(place, pointed)) is not None]
        seen = {box.name for place in frames for box in pointed if self._shows(box, place)}
        return Look(tuple(views), tuple(dict.fromkeys(box.name for box in pointed if box.name not in seen)))

    def _best(self, pointed: Sequence[PointedBox]) -> list[int]:
        """Return the frames to show: each next one shows best what those before it don't, then all together."""
        frames = [place for place, camera in self._cameras.items() if not isinstance(camera, SceneBev)]
        waiting, chosen = list(pointed), []
        while len(chosen) < FRAMES and len(chosen) < len(frames):
            rest = [place for place in frames if place not in chosen]
            values = {
                place: (
                    sum(self._value(box, place) for box in waiting),
                    sum(self._value(box, place) for box in pointed),
                )
                for place in rest
            }
            best = max(rest, key=lambda place: values[place])
            if values[best][1] <= 0:
                break
            chosen.append(best)
            waiting = [box for box in waiting if not self._shows(box, best)]
        return sorted(chosen)

    def _value(self, box: PointedBox, place: int) -> float:
        """Return how well a frame shows a box: its number there is most, then how much of it, then how large."""
        projected = self._project(box, place)
        if projected is None or not self._shows(box, place):
            return 0.0
        return 2.0 * self._has_number(box, place) + projected.inside + min(4 * projected.area, 1.0)

    def _shows(self, box: PointedBox, place: int) -> bool:
        projected = self._project(box, place)
        if projected is None:
            return False
        enough = projected.inside >= LEAST_INSIDE and projected.area >= LEAST_AREA
        return enough or self._has_number(box, place)

    def _has_number(self, box: PointedBox, place: int) -> bool:
        return self._number(box) in {marker.id for marker in self._cameras[place].markers}

    def _number(self, box: PointedBox) -> int | None:
        """Return the number in the images of the object that a box is of; ``None`` where no marked object is it."""
        known = box.box_6.tobytes()
        if known not in self._numbers:
            overlap_N = iou(self._objects_N6, box.box_6) if len(self._objects_N6) else np.zeros(0)
            at = int(overlap_N.argmax()) if len(overlap_N) and overlap_N.max() >= SAME_OBJECT else None
            self._numbers[known] = None if at is None else self._scene.objects[at].id
        return self._numbers[known]

    def _project(self, box: PointedBox, place: int) -> Projected | None:
        known = box.box_6.tobytes(), place
        if known not in self._known:
            camera = self._cameras[place]
            above = isinstance(camera, SceneBev)
            self._known[known] = from_above(box.box_6, camera) if above else in_frame(box.box_6, camera)
        return self._known[known]

    def _view(self, place: int, pointed: Sequence[PointedBox]) -> View | None:
        above = isinstance(self._cameras[place], SceneBev)
        drawn = [box for box in pointed if self._project(box, place) is not None]
        drawn = drawn if above else [box for box in drawn if self._shows(box, place)]
        if not drawn:
            return None
        shapes = tuple(self._shape(box, place) for box in drawn)
        return View(place, self._images[place].name, shapes, "" if above else self._said(drawn, place))

    def _said(self, drawn: Sequence[PointedBox], place: int) -> str:
        """Return what is known of the objects: numbers that stand in the frame, or that something may hide them."""
        there = sorted(
            {number for box in drawn if (number := self._number(box)) is not None and self._has_number(box, place)}
        )
        unsure = any(not self._has_number(box, place) for box in drawn)
        many = "s" if len(there) > 1 else ""
        said = [f"number{many} {', '.join(map(str, there))} drawn here"] if there else []
        said += ["the other may be hidden" if there else "may be hidden here"] if unsure else []
        return "".join(f"; {one}" for one in said)

    def _shape(self, box: PointedBox, place: int) -> str:
        key = box.kind, box.number, box.box_6.tobytes(), place
        if key not in self.shapes:
            projected, camera = self._project(box, place), self._cameras[place]
            assert projected is not None, "only boxes in the image are drawn"
            x, y = projected.outline_K2[projected.outline_K2[:, 1].argmin()]
            tall = round(max(camera.width, camera.height) / 26)
            self.shapes[key] = Shape(
                f"b{len(self.shapes)}",
                box.kind,
                box.number,
                f"{box.name} ({box.kind})",
                "".join(map(_line, projected.lines_E22)),
                f"{_line(projected.outline_K2)}Z",
                round(min(max(x, tall), camera.width - tall)),
                round(min(max(y - tall / 4, tall), camera.height - 2)),
                tall,
            )
        return self.shapes[key].id


def _line(points_K2: np.ndarray) -> str:
    """Return the data of a path through points, in whole pixels."""
    (x, y), *rest = np.rint(points_K2).astype(int).tolist()
    return f"M{x} {y}" + "".join(f"L{a} {b}" for a, b in rest)
