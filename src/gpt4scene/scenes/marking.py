"""One scene's images: chosen frames and the bird's-eye view, with their markers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpt4scene.scans.images import read_color
from gpt4scene.scans.types import Frame, SceneObject
from gpt4scene.scenes.bev_camera import BevCamera
from gpt4scene.scenes.bev_fit import fit_bev_camera
from gpt4scene.scenes.bev_image import render_bev
from gpt4scene.scenes.frame_choice import covering, evenly, tracked_frames
from gpt4scene.scenes.marker_placement import MarkerPlace, place_markers
from gpt4scene.scenes.markers import Marker, draw_markers
from gpt4scene.scenes.masks import share
from gpt4scene.scenes.opened_scene import OpenedScene
from gpt4scene.scenes.outlines import draw_outlines
from gpt4scene.scenes.pixels import ObjectMask, PixelGrid, pixel_grid
from gpt4scene.scenes.visibility import VisibleObject

BEV_LEAST_PIXELS = 12
"""An object counts as seen from above when it covers this many pixels of the bird's-eye view."""


@dataclass(frozen=True)
class MarkingOptions:
    """How images are made: ``bev_size`` is the longest side of the bird's-eye view in pixels, ``least_area`` the share
    of a frame that an object must cover to be marked, ``marker_place`` the rule for where its number goes, ``outlines``
    whether a line goes around what is visible of each object.
    """

    bev_size: int
    least_area: float
    marker_place: MarkerPlace
    outlines: bool


@dataclass(frozen=True)
class MarkedObject:
    """A marker and the share of the image that its object visibly covers; 0 for one hidden from above."""

    marker: Marker
    area: float


@dataclass(frozen=True)
class MarkedImage:
    """An image without and with its markers, uint8 [H, W, 3]."""

    plain: np.ndarray
    drawn: np.ndarray
    objects: tuple[MarkedObject, ...]


@dataclass(frozen=True)
class MarkedBev(MarkedImage):
    """The bird's-eye view with its camera."""

    camera: BevCamera


def choose_frames(scene: OpenedScene, wanted: int, how: str, least_area: float) -> list[Frame]:
    """The frames to show: ``even`` as published, or ``coverage``, which shows as many objects as so few frames can.

    ``least_area`` is the share of a frame that an object must cover to count as shown.
    """
    frames = tracked_frames(scene.scan)
    if how == "even":
        return [frames[index] for index in evenly(len(frames), wanted)]
    candidates = [frames[index] for index in evenly(len(frames), max(8 * wanted, 256))]
    areas = np.zeros((len(candidates), len(scene.lookup.objects)))
    for row, frame in enumerate(candidates):
        grid = pixel_grid(frame.camera.width, frame.camera.height)
        for visible in scene.visible_in(frame, grid, least_area):
            areas[row, visible.object_index] = visible.area
    return [candidates[index] for index in covering(areas, wanted)]


def mark_frame(scene: OpenedScene, frame: Frame, options: MarkingOptions) -> MarkedImage:
    """A frame with the number of every object that it shows."""
    size = (frame.camera.width, frame.camera.height)
    grid = pixel_grid(*size)
    visible = scene.visible_in(frame, grid, options.least_area)
    masks = [_marker_mask(scene, item, options.least_area) for item in visible]
    markers = place_markers(masks, grid, size, options.marker_place)
    plain = read_color(frame)
    found = tuple(MarkedObject(marker, item.area) for marker, item in zip(markers, visible, strict=True))
    return MarkedImage(plain, _drawn(plain, scene, visible, markers, options), found)


def mark_bev(scene: OpenedScene, options: MarkingOptions) -> MarkedBev:
    """The bird's-eye view with the number of every object.

    An object seen from above has its number on its visible top. One that is hidden (under a table, above the cut) has
    it in its box's footprint, with area 0.
    """
    bev = fit_bev_camera(scene.caster, scene.objects, [frame.camera for frame in scene.scan.frames], options.bev_size)
    hits = scene.bev_hits(bev)
    plain = render_bev(scene.above, bev, hits, gap=0.10 if scene.voxels else 0.06)
    grid = pixel_grid(bev.width, bev.height, share=0.5)
    least = BEV_LEAST_PIXELS / (bev.width * bev.height)
    visible = scene.visible_in_bev(bev, hits, grid, least)
    masks = [_marker_mask(scene, item, least) for item in visible]
    areas = {scene.lookup.objects[item.object_index].id: item.area for item in visible}
    for item in scene.lookup.objects:
        if item.id not in areas and not item.empty:
            masks.append(ObjectMask(item.id, _footprint(bev, item, grid)))
    markers = place_markers(masks, grid, (bev.width, bev.height), options.marker_place)
    found = sorted((MarkedObject(m, areas.get(m.id, 0.0)) for m in markers), key=lambda one: one.marker.id)
    return MarkedBev(plain, _drawn(plain, scene, visible, markers, options), tuple(found), bev)


def _drawn(
    plain: np.ndarray,
    scene: OpenedScene,
    visible: Sequence[VisibleObject],
    markers: Sequence[Marker],
    options: MarkingOptions,
) -> np.ndarray:
    """The image with outlines where they are wanted, and with its markers on top."""
    if options.outlines:
        masks = [ObjectMask(scene.lookup.objects[item.object_index].id, item.mask) for item in visible]
        plain = draw_outlines(plain, masks, noisy=scene.measured)
    return draw_markers(plain, markers)


def _footprint(bev: BevCamera, item: SceneObject, grid: PixelGrid) -> np.ndarray:
    mask = bev.covers(item, grid.pixels).reshape(grid.shape)
    if not mask.any():  # a box outside the image cannot be: the view holds every box
        middle = bev.to_pixels(item.center[None, :2])[0]
        mask.flat[int(np.argmin(np.abs(grid.pixels - middle).sum(axis=1)))] = True
    return mask


def _marker_mask(scene: OpenedScene, visible: VisibleObject, least_area: float) -> ObjectMask:
    """Where the number may go: on what is the object's own, unless smaller objects leave too little of that."""
    own_area = share(visible.own)
    mask = visible.own if own_area >= min(least_area, visible.area / 4) and own_area > 0 else visible.mask
    return ObjectMask(scene.lookup.objects[visible.object_index].id, mask)
