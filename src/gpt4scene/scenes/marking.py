"""One scene's images: chosen frames and the bird's-eye view, with their markers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpt4scene.scans.images import read_color
from gpt4scene.scans.types import Frame, SceneObject
from gpt4scene.scenes.bev_camera import TopView, paint, top_view
from gpt4scene.scenes.frame_choice import covering, evenly, tracked_frames
from gpt4scene.scenes.markers import Marker, Place, Spot, draw, place
from gpt4scene.scenes.opened_scene import Room
from gpt4scene.scenes.outlines import draw_outlines
from gpt4scene.scenes.visibility import PixelGrid, Shown, pixel_grid

TOP_LEAST_PIXELS = 12
"""An object counts as seen from above when it covers this many pixels of the bird's-eye view."""


@dataclass(frozen=True)
class Look:
    """How images are made: ``bev_size`` is the longest side of the top view in pixels, ``least_area`` the share
    of a frame that an object must cover to be marked, ``marker_place`` the rule for where its number goes, ``outlines``
    whether a line goes around what is visible of each object.
    """

    bev_size: int = 1024
    least_area: float = 0.001
    marker_place: Place = "inside"
    outlines: bool = False


@dataclass(frozen=True)
class MarkedObject:
    """A marker and the share of the image that its object visibly covers; 0 for one hidden from above."""

    marker: Marker
    area: float


@dataclass(frozen=True)
class Marked:
    """An image without and with its markers, uint8 [H, W, 3]."""

    plain: np.ndarray
    drawn: np.ndarray
    objects: tuple[MarkedObject, ...]


@dataclass(frozen=True)
class MarkedTop(Marked):
    """The bird's-eye view with its camera."""

    view: TopView


def choose_frames(room: Room, wanted: int, how: str, look: Look) -> list[Frame]:
    """The frames to show: ``even`` as published, or ``coverage``, which shows as many objects as so few frames can."""
    frames = tracked_frames(room.scan)
    if how == "even":
        return [frames[index] for index in evenly(len(frames), wanted)]
    candidates = [frames[index] for index in evenly(len(frames), max(8 * wanted, 256))]
    areas = np.zeros((len(candidates), len(room.finder.objects)))
    for row, frame in enumerate(candidates):
        grid = pixel_grid(frame.camera.width, frame.camera.height)
        for shown in room.shown_in(frame, grid, look.least_area):
            areas[row, shown.object_index] = shown.area
    return [candidates[index] for index in covering(areas, wanted)]


def mark_frame(room: Room, frame: Frame, look: Look) -> Marked:
    """A frame with the number of every object that it shows."""
    size = (frame.camera.width, frame.camera.height)
    grid = pixel_grid(*size)
    shown = room.shown_in(frame, grid, look.least_area)
    markers = place([_spot(room, item, look.least_area) for item in shown], grid, size, look.marker_place)
    plain = read_color(frame)
    found = tuple(MarkedObject(marker, item.area) for marker, item in zip(markers, shown, strict=True))
    return Marked(plain, draw(_outlined(plain, room, shown, look), markers), found)


def mark_top(room: Room, look: Look) -> MarkedTop:
    """The bird's-eye view with the number of every object.

    An object seen from above has its number on its visible top. One that is hidden (under a table, above the cut) has
    it in its box's footprint, with area 0.
    """
    cameras = [frame.camera for frame in room.scan.frames]
    view = top_view(room.caster, room.objects, cameras, look.bev_size)
    hits = room.top_hits(view)
    plain = paint(room.above, view, hits, gap=0.10 if room.voxels else 0.06)
    grid = pixel_grid(view.width, view.height, share=0.5)
    least = TOP_LEAST_PIXELS / (view.width * view.height)
    shown = room.shown_from_above(view, hits, grid, least)
    spots = [_spot(room, item, least) for item in shown]
    areas = {room.finder.objects[item.object_index].id: item.area for item in shown}
    for item in room.finder.objects:
        if item.id not in areas and not item.empty:
            spots.append(Spot(item.id, _footprint(view, item, grid)))
    markers = place(spots, grid, (view.width, view.height), look.marker_place)
    found = sorted((MarkedObject(m, areas.get(m.id, 0.0)) for m in markers), key=lambda one: one.marker.id)
    return MarkedTop(plain, draw(_outlined(plain, room, shown, look), markers), tuple(found), view)


def _outlined(plain: np.ndarray, room: Room, shown: Sequence[Shown], look: Look) -> np.ndarray:
    if not look.outlines:
        return plain
    spots = [Spot(room.finder.objects[item.object_index].id, item.mask) for item in shown]
    return draw_outlines(plain, spots, noisy=room.measured)


def _footprint(view: TopView, item: SceneObject, grid: PixelGrid) -> np.ndarray:
    mask = view.covers(item, grid.pixels).reshape(grid.shape)
    if not mask.any():  # a box outside the image cannot be: the view holds every box
        middle = view.to_pixels(item.center[None, :2])[0]
        mask.flat[int(np.argmin(np.abs(grid.pixels - middle).sum(axis=1)))] = True
    return mask


def _spot(room: Room, shown: Shown, least_area: float) -> Spot:
    """Where the number may go: on what is the object's own, unless smaller objects leave too little of that."""
    own_area = float(shown.own.mean())
    mask = shown.own if own_area >= min(least_area, shown.area / 4) and own_area > 0 else shown.mask
    return Spot(room.finder.objects[shown.object_index].id, mask)
