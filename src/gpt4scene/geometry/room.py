"""A room as facts: objects with oriented boxes, outline, and what each shown frame sees. Metres, z up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from gpt4scene.errors import DataError

CORNER_SIGNS_83 = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)
"""The eight corners of a box in units of its half sizes: first axis slowest, lower side first."""

AXES_TOLERANCE = 5e-3
"""How far the axes of a box may be from perpendicular unit vectors; files round them, some to three digits."""


@dataclass(frozen=True, eq=False)
class RoomObject:
    """One object: ``id`` as it stands in the scene, ``label``, and its box.

    ``center_3`` and ``size_3`` are in metres. The columns of ``axes_33`` are the directions of the box's sides, so
    column i belongs to ``size_3[i]``. Axis-aligned boxes have the unit matrix.
    """

    id: int
    label: str
    center_3: np.ndarray
    size_3: np.ndarray
    axes_33: np.ndarray = field(default_factory=lambda: np.eye(3))

    @property
    def corners_83(self) -> np.ndarray:
        """The eight corners of the box."""
        return self.center_3 + (CORNER_SIGNS_83 * (self.size_3 / 2)) @ self.axes_33.T

    @property
    def upright(self) -> RoomObject:
        """The same box with its sides listed so that the third axis is the one that points up most."""
        up = int(np.abs(self.axes_33[2]).argmax())
        order = [*(side for side in range(3) if side != up), up]
        return replace(self, size_3=self.size_3[order], axes_33=self.axes_33[:, order])

    @property
    def longest_side(self) -> float:
        """The longest side of the box in metres."""
        return float(self.size_3.max())


@dataclass(frozen=True, eq=False)
class Sighting:
    """What one shown frame sees: object id -> share of the object that is visible there, above 0 to 1.

    ``seconds`` is the frame's time in the recording. ``position_3`` is where the camera stands and ``pose_44`` its
    camera-to-world transform. What is not known is None.
    """

    frame: str
    shares: Mapping[int, float]
    seconds: float | None = None
    position_3: np.ndarray | None = None
    pose_44: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Room:
    """A scene: its objects, its outline seen from above, and the frames that are shown in their order.

    ``outline_N2`` are the corners of one polygon without holes. ``stated_area`` (square metres) goes before its area:
    scene files may give the area alone, and an outline of several pieces has no single polygon. ``several_rooms`` says
    that the area spans more than one room. ``floor_z`` is the height of the floor.
    """

    scene_id: str
    objects: tuple[RoomObject, ...]
    outline_N2: np.ndarray | None = None
    stated_area: float | None = None
    several_rooms: bool = False
    sightings: tuple[Sighting, ...] = ()
    floor_z: float | None = None

    @property
    def area(self) -> float | None:
        """Floor area in square metres: the stated one, else that of the outline, else None."""
        if self.stated_area is not None:
            return self.stated_area
        return None if self.outline_N2 is None else polygon_area(self.outline_N2)

    @cached_property
    def by_label(self) -> dict[str, tuple[int, ...]]:
        """Label -> places of its objects in ``objects``, labels in order of their first object."""
        places: dict[str, list[int]] = {}
        for place, item in enumerate(self.objects):
            places.setdefault(item.label, []).append(place)
        return {label: tuple(found) for label, found in places.items()}

    @property
    def counts(self) -> dict[str, int]:
        """Label -> number of its objects."""
        return {label: len(places) for label, places in self.by_label.items()}

    @cached_property
    def single_places(self) -> tuple[int, ...]:
        """Places of the objects whose label no other object has, in order."""
        return tuple(places[0] for places in self.by_label.values() if len(places) == 1)

    @property
    def path_T3(self) -> np.ndarray:
        """Positions of the camera, frame after frame, those that are known."""
        known = [sighting.position_3 for sighting in self.sightings if sighting.position_3 is not None]
        return np.array(known, dtype=np.float64).reshape(-1, 3)


def room(
    scene_id: str,
    objects: Iterable[RoomObject],
    outline_N2: object = None,
    stated_area: float | None = None,
    several_rooms: bool = False,
    sightings: Iterable[Sighting] = (),
    floor_z: float | None = None,
) -> Room:
    """Return a room whose values are checked: finite numbers, sizes above or at 0, boxes with perpendicular axes.

    Labels that differ only in case or spaces are one label, in its first spelling. Raises ``DataError`` naming the
    scene and the object, for an id that stands twice, an empty label, an area that is not above 0, an outline of fewer
    than three corners, and a frame that sees an object that is not in the room.
    """
    spelled: dict[str, str] = {}
    checked = tuple(_checked(item, scene_id, spelled) for item in objects)
    ids = [item.id for item in checked]
    if len(set(ids)) < len(ids):
        twice = next(number for number in ids if ids.count(number) > 1)
        raise DataError(f"scene '{scene_id}': two objects have the id {twice}; give every object its own")
    outline = None if outline_N2 is None else _outline(outline_N2, scene_id)
    if stated_area is not None and not (np.isfinite(stated_area) and stated_area > 0):
        raise DataError(f"scene '{scene_id}': its floor area is {stated_area}; it must be above 0 (square metres)")
    seen = tuple(sightings)
    for sighting in seen:
        unknown = set(sighting.shares) - set(ids)
        if unknown:
            raise DataError(f"scene '{scene_id}': frame '{sighting.frame}' sees object {min(unknown)}, which it lacks")
    return Room(scene_id, checked, outline, stated_area, several_rooms, seen, floor_z)


def polygon_area(corners_N2: np.ndarray) -> float:
    """Area of a polygon that does not cross itself, whichever way round its corners are listed."""
    around = np.asarray(corners_N2, dtype=np.float64)
    x, y = (around - around[0]).T
    return float(abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2)


def _outline(corners: object, scene_id: str) -> np.ndarray:
    try:
        outline_N2 = np.asarray(corners, dtype=np.float64)
    except (TypeError, ValueError):
        outline_N2 = np.zeros(0)
    is_polygon = outline_N2.ndim == 2 and outline_N2.shape[-1] == 2 and len(outline_N2) >= 3
    if not is_polygon or not np.isfinite(outline_N2).all():
        raise DataError(f"scene '{scene_id}': its outline must be three or more corners [x, y] in metres")
    return outline_N2


def plain(label: str) -> str:
    """Return a label as labels are compared: lower case, single spaces."""
    return " ".join(label.casefold().split())


def _checked(item: RoomObject, scene_id: str, spelled: dict[str, str]) -> RoomObject:
    place = f"scene '{scene_id}', object {item.id}"
    if not item.label.strip():
        raise DataError(f"{place}: has no label; leave it out or name it")
    arrays = []
    for name, value, shape in (
        ("centre", item.center_3, (3,)),
        ("size", item.size_3, (3,)),
        ("axes", item.axes_33, (3, 3)),
    ):
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError(f"{place}: its {name} is not made of numbers ({str(value)[:60]})") from None
        if array.shape != shape or not np.isfinite(array).all():
            raise DataError(f"{place}: its {name} must be finite numbers of the shape {shape} ({str(value)[:60]})")
        arrays.append(array)
    center_3, size_3, axes_33 = arrays
    if (size_3 < 0).any():
        raise DataError(f"{place}: has a negative size ({size_3.tolist()})")
    if np.abs(axes_33.T @ axes_33 - np.eye(3)).max() > AXES_TOLERANCE:
        raise DataError(f"{place}: its axes are not perpendicular unit vectors; columns are the sides' directions")
    label = spelled.setdefault(plain(item.label), " ".join(item.label.split()))
    return RoomObject(item.id, label, center_3, size_3, axes_33)
