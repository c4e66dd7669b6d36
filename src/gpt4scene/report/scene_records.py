"""Which ``scene.json`` belongs to the images of a page: the one that says with what cameras they were made.

Boxes are drawn only where nothing speaks against it: the same images, of the same sizes, and the same boxes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.errors import DataError
from gpt4scene.files.prepared import PreparedScene, SceneBev, SceneBox, SceneFrame, find_scenes, read_prepared
from gpt4scene.files.scenes import scene_json
from gpt4scene.metrics.answer_boxes import AnswerBoxes
from gpt4scene.report.images import PageImage

SAME = 0.05
"""Metres by which the same box may differ in two files: public ones were computed from other meshes."""
WAY_OUT = "--scenes names the folder that 'gpt4scene prepare' wrote"


@dataclass(frozen=True)
class Cameras:
    """The camera of each image of a page by its place there, and the scene that they come from.

    ``why`` says what is missing or wrong where there is no ``scene``.
    """

    scene: PreparedScene | None
    of: Mapping[int, SceneBev | SceneFrame]
    why: str = ""

    @classmethod
    def none(cls, why: str) -> Cameras:
        """Return no cameras, and the reason."""
        return cls(None, {}, why)


def given_records(places: str | None) -> dict[str, Path] | None:
    """Return ``scene -> scene.json`` for places separated by commas; ``None`` where none is given.

    Raises ``DataError`` for a place without prepared scenes.
    """
    if not places:
        return None
    return {record.parent.name: record for record in find_scenes(filter(None, map(str.strip, places.split(","))))}


def cameras_of(scene: str, images: Sequence[PageImage], given: Mapping[str, Path] | None) -> Cameras:
    """Return the cameras of a page's ``images``.

    Its ``scene.json`` is the ``given`` one, else that of the folder of prepared scenes in which the images lie.
    """
    shown = {place: image for place, image in enumerate(images) if image.source is not None}
    if not shown:
        return Cameras.none("no image of this scene is shown")
    if given is not None:
        record = given.get(scene)
        if record is None:
            return Cameras.none(f"--scenes has no scene '{scene}'")
    else:
        source = next(iter(shown.values())).source
        assert source is not None, "only those are shown"
        folders = source.resolve().parents
        record = scene_json(folders[2], scene) if len(folders) > 2 else None
        if record is None or not record.is_file():
            return Cameras.none(f"no scene.json of a prepared scene lies beside them; {WAY_OUT}")
    try:
        prepared = read_prepared(record)
    except DataError as error:
        return Cameras.none(str(error))
    return _matched(prepared, shown)


def _matched(prepared: PreparedScene, shown: Mapping[int, PageImage]) -> Cameras:
    known = {_name(camera.image): camera for camera in (prepared.bev, *prepared.frames)}
    found = {}
    for place, image in shown.items():
        assert image.source is not None, "only those are shown"
        camera = known.get(_name(image.source))
        if camera is None:
            return Cameras.none(f"{prepared.record}: has no image '{'/'.join(_name(image.source))}'; {WAY_OUT}")
        if image.full != (camera.width, camera.height):
            sizes = f"{image.full[0]} x {image.full[1]} pixels, not {camera.width} x {camera.height}"
            return Cameras.none(f"{prepared.record}: {image.source} has {sizes}; {WAY_OUT}")
        found[place] = camera
    return Cameras(prepared, found)


def _name(path: Path) -> tuple[str, str]:
    """Return the folder and the stem of an image, which stay when images are copied or saved in another format."""
    return path.parent.name, path.stem


def disagreement(annotation: Annotation, prepared: PreparedScene) -> str:
    """Return why the boxes of ``annotation`` are not those of the prepared scene; empty where they are.

    Boxes that answers name are compared with the marked objects, true ones with the annotated objects where the scene
    has any. Where answers bring boxes of their own, something must say in which frame the true ones lie.
    """
    own = isinstance(annotation.proposals, AnswerBoxes)
    truth = prepared.ground_truth or (prepared.objects if own else ())
    pairs = [] if own else [(annotation.proposals, prepared.objects, "marked")]
    pairs += [(annotation.ground_truth, truth, "annotated")] if truth else []
    for boxes, objects, kind in pairs:
        why = _differ(boxes.get(prepared.scene_id, np.zeros((0, 6))), objects)
        if why:
            return f"{boxes.source} and {prepared.record} have other {kind} boxes ({why}); {WAY_OUT} for these images"
    return ""


def _differ(boxes_N6: np.ndarray, objects: Sequence[SceneBox]) -> str:
    known = {item.id: np.array([*item.center, *item.size]) for item in objects if any(item.size)}
    for number, box_6 in enumerate(boxes_N6):
        if box_6[3:].any() != (number in known):
            return f"object {number} is in one of them only"
        if number in known and np.abs(box_6 - known[number]).max() > SAME:
            return f"object {number} differs by {np.abs(box_6 - known[number]).max():.2f} m"
    past = sorted(number for number in known if number >= len(boxes_N6))
    return f"object {past[0]} is in one of them only" if past else ""
