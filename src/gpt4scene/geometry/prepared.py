"""A prepared scene as a room: the objects that its frames show can be asked about, and the rest are counted.

A question must have an answer that can be seen. So a name is asked about only where the shown frames show every object
of that name; where one is hidden, neither "the lamp" nor "how many lamps" has an answer for who looks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.geometry.room import Room, RoomObject, Sighting, room
from gpt4scene.geometry.visible import visible_share
from gpt4scene.geometry.walking import WalkMap, read_map
from gpt4scene.metrics.boxes import iou_matrix
from gpt4scene.metrics.object_ids import object_mark

LEAST_SHARE = 0.1
"""Share of an object that a frame must show for it to be clearly visible there (see ``visible_share``)."""
MOST_BESIDE = 0.05
"""Share of a room's area that pieces beside it may have; with more, nobody knows what the room is."""
SAME = 0.5
"""IoU from which a marked object is the annotated one."""
NO_THINGS = frozenset(
    (
        *("wall", "floor", "ceiling", "beam", "ceiling beam", "column", "pillar", "rail", "wall trim", "baseboard"),
        *("structure", "otherstructure", "other structure", "room", "background", "split", "remove", "void", "none"),
        *("object", "objects", "thing", "item", "stuff", "clutter", "misc", "miscellaneous", "other", "others"),
        *("otherfurniture", "other furniture", "otherprop", "other prop"),
        *("unknown", "undefined", "unlabeled", "unlabelled", "unannotated"),
    )
)
"""Names that nobody can ask for: parts of the building, and words for anything."""


@dataclass(frozen=True, eq=False)
class PreparedRoom:
    """A room, where somebody can walk in it (None: not known), and objects that are not asked about by reason."""

    room: Room
    floor: WalkMap | None = None
    dropped: Counter[str] = field(default_factory=Counter)


def prepared_room(content: Mapping[str, Any], source: str, numbered: bool = False) -> PreparedRoom:
    """Return the room that a ``scene.json`` describes; ``numbered`` names objects by label and marked number.

    Annotated objects go before the marked ones where a scene has both: the marked ones that overlap them best then say
    in which frames they are. Raises ``DataError`` naming ``source`` for a description of another form.
    """
    try:
        return _prepared(content, numbered)
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{source}: is no description of a prepared scene ({type(error).__name__}: {error}); prepare it again with "
            "--overwrite"
        ) from None


def _prepared(content: Mapping[str, Any], numbered: bool) -> PreparedRoom:
    facts = content.get("room") or {}
    marked = _objects(content["objects"], facts.get("turned", ()))
    annotated = _objects(content["ground_truth"], facts.get("ground_truth_turned", ()))
    dropped: Counter[str] = Counter()
    asked, number_of = marked, {item.id: item.id for item in marked}
    if annotated and [_fact(item) for item in annotated] != [_fact(item) for item in marked]:
        asked, number_of = annotated, _marked_as(annotated, marked)
    things = [item for item in asked if _is_thing(item, dropped)]
    hidden = {item.label for item in asked if not _has_box(item)}
    if numbered:
        things = [_numbered(item, number_of[item.id]) for item in things if item.id in number_of]
    by_number = {item.id: item for item in marked}
    shares = [_shares(frame, by_number) for frame in content["frames"]]
    for item in things:
        if max((shown.get(number_of.get(item.id, -1), 0.0) for shown in shares), default=0.0) < LEAST_SHARE:
            hidden.add(item.label)
    kept = [item for item in things if item.label not in hidden]
    dropped["objects of a name that the frames do not show in full number"] += len(things) - len(kept)
    sightings = [
        _sighting(frame, {item.id: shown[number_of[item.id]] for item in kept if number_of.get(item.id) in shown})
        for frame, shown in zip(content["frames"], shares, strict=True)
    ]
    joined = (facts.get("beside") or 0.0) <= MOST_BESIDE * (facts.get("area") or 0.0)
    found = room(
        content["scene_id"],
        kept,
        facts.get("outline") if joined else None,
        facts.get("area") if joined else None,
        several_rooms=True,  # the outline goes through open doors, so a question must say that all rooms count
        sightings=sightings,
        floor_z=facts.get("floor_height", content["bev"]["floor_height"]),
    )
    walkable = facts.get("walkable")
    floor = None if walkable is None else read_map(walkable["rows"], walkable["x"], walkable["y"], walkable["cell"])
    return PreparedRoom(found, floor, +dropped)


def _objects(rows: Sequence[Mapping[str, Any]], turned: Iterable[Mapping[str, Any]]) -> list[RoomObject]:
    """The objects of a scene, those with a turned box in that one."""
    better = {row["id"]: row for row in turned}
    found = [
        RoomObject(
            row["id"],
            _name(row["label"]),
            np.array(better.get(row["id"], row)["center"], dtype=np.float64),
            np.array(better.get(row["id"], row)["size"], dtype=np.float64),
            _about_z(better[row["id"]]["degrees"]) if row["id"] in better else np.eye(3),
        )
        for row in rows
    ]
    for item in found:
        if not (np.isfinite(item.center_3).all() and np.isfinite(item.size_3).all()):
            raise DataError(
                f"object {item.id}: its box is not made of finite numbers; prepare it again with --overwrite"
            )
    return found


def _about_z(degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def _name(label: str) -> str:
    """A label as a word of a sentence."""
    return " ".join(label.lower().replace("_", " ").split())


def _numbered(item: RoomObject, number: int) -> RoomObject:
    return replace(item, label=f"{item.label} {object_mark(number)}")


def _fact(item: RoomObject) -> tuple:
    return (item.id, item.label, *item.center_3.tolist(), *item.size_3.tolist())


def _has_box(item: RoomObject) -> bool:
    return bool((item.size_3 > 0).any())


def _is_thing(item: RoomObject, dropped: Counter[str]) -> bool:
    if not _has_box(item):
        dropped["objects without a box"] += 1
    elif item.label in NO_THINGS or not item.label:
        dropped["objects without a name of their own"] += 1
    else:
        return True
    return False


def _marked_as(annotated: Sequence[RoomObject], marked: Sequence[RoomObject]) -> dict[int, int]:
    """Annotated object -> the number that it is marked with, those without a number left out."""
    if not marked:
        return {}
    first, second = (np.array([[*one.center_3, *2 * _reach(one)] for one in some]) for some in (annotated, marked))
    overlap = iou_matrix(first, second)
    best = overlap.argmax(axis=1)
    return {item.id: marked[best[row]].id for row, item in enumerate(annotated) if overlap[row, best[row]] >= SAME}


def _reach(item: RoomObject) -> np.ndarray:
    """Half the size of the box along the axes around an object's box."""
    return np.abs(item.axes_33) @ (item.size_3 / 2)


def _shares(frame: Mapping[str, Any], by_number: Mapping[int, RoomObject]) -> dict[int, float]:
    """Number -> share of the object that a frame shows."""
    pose, intrinsics = np.array(frame["pose"]), np.array(frame["intrinsics"])
    size = (frame["width"], frame["height"])
    return {
        mark["id"]: visible_share(by_number[mark["id"]], pose, intrinsics, size, mark["area"])
        for mark in frame["markers"]
        if mark["area"] > 0
    }


def _sighting(frame: Mapping[str, Any], shares: dict[int, float]) -> Sighting:
    pose = np.array(frame["pose"], dtype=np.float64)
    return Sighting(frame["name"], shares, position_3=pose[:3, 3], pose_44=pose)
