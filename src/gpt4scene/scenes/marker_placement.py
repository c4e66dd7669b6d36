"""Where object numbers go in an image.

A number sits on a pixel of its own object's visible surface, covers no other number, and is large enough to be read
after the image shrinks to 512 pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from gpt4scene.scenes.markers import Marker, label_size
from gpt4scene.scenes.masks import closed, depth_inside, framed
from gpt4scene.scenes.pixels import ObjectMask, PixelGrid

MarkerPlace = Literal["inside", "centroid"]
TEXT_SHARE = 17 / 512
"""Font size as a share of the image's longer side."""
MOST_COVERED = 0.4
"""Share of an image that all its labels may cover together."""
SHRINKS = (1.0, 0.8, 0.65)
"""Sizes that are tried, one after the other, where numbers crowd."""


def place_markers(
    masks: Sequence[ObjectMask], grid: PixelGrid, size: tuple[int, int], how: MarkerPlace = "inside"
) -> list[Marker]:
    """Markers for all objects of one image of ``size`` (width, height), in the order of ``masks``.

    ``inside`` takes the pixel farthest from the mask's edge, ``centroid`` the mask pixel nearest to its centroid.
    The smallest object chooses its place first. A number that would cover another moves within its own mask, then
    shrinks, and as a last resort stands beside its object with a line to it. Equal input gives equal output.
    """
    width, height = size
    font_size = _common_size([one.id for one in masks], size)
    chosen: dict[int, Marker] = {}
    order = sorted(range(len(masks)), key=lambda i: (np.count_nonzero(masks[i].mask), masks[i].id))
    for index in order:
        item, others = masks[index], list(chosen.values())
        pixels, preference = _candidates(item.mask, grid, how)
        marker = None
        for shrink in SHRINKS:
            marker = _fitted(item.id, pixels, preference, (width, height), round(font_size * shrink), others)
            if marker is not None:
                break
        chosen[index] = marker or _beside(item.id, pixels, preference, grid, (width, height), font_size, others)
    return [chosen[index] for index in range(len(masks))]


def _common_size(numbers: Sequence[int], size: tuple[int, int]) -> int:
    """The font size that numbers start with: smaller only where they would cover ``MOST_COVERED`` of the image."""
    font_size = max(9, round(max(size) * TEXT_SHARE))
    covered = sum(math.prod(label_size(number, font_size)) for number in numbers) / math.prod(size)
    return font_size if covered <= MOST_COVERED else max(6, int(font_size * math.sqrt(MOST_COVERED / covered)))


def _candidates(mask: np.ndarray, grid: PixelGrid, how: MarkerPlace) -> tuple[np.ndarray, np.ndarray]:
    """The mask's pixels (x, y), int [K, 2] row by row, and how much each is preferred, float [K]."""
    held_rows, held_columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert len(held_rows), "an object without visible pixel gets no marker"
    top, left = held_rows[0], held_columns[0]
    part = mask[top : held_rows[-1] + 1, left : held_columns[-1] + 1]
    rows, columns = np.nonzero(part)
    rows, columns = rows + top, columns + left
    off_center = np.hypot(rows - rows.mean(), columns - columns.mean())
    pixels = np.stack([grid.columns[columns], grid.rows[rows]], axis=1)
    if how == "centroid":
        return pixels, -off_center
    # Depth frames leave specks without reading; they are no edges.
    whole = closed(part, 2)
    inner = depth_inside(framed(whole, 1))[rows - top + 1, columns - left + 1]
    # Long even shapes have a ridge of equal distances: there the middle is better than an end.
    return pixels, inner - 0.1 * off_center * inner.max() / max(off_center.max(), 1.0)


def _boxes_at(pixels_K2: np.ndarray, label: tuple[int, int], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Left and top edges [K] of labels around pixels, pushed into the image."""
    left = np.clip(pixels_K2[:, 0] - label[0] // 2, 0, max(0, size[0] - label[0]))
    top = np.clip(pixels_K2[:, 1] - label[1] // 2, 0, max(0, size[1] - label[1]))
    return left, top


def _free(left_K: np.ndarray, top_K: np.ndarray, label: tuple[int, int], others: Sequence[Marker]) -> np.ndarray:
    """Which label positions touch no other label and no other marker's pixel, bool [K]."""
    free = np.ones(len(left_K), dtype=bool)
    first_x, last_x, first_y, last_y = left_K.min(), left_K.max() + label[0], top_K.min(), top_K.max() + label[1]
    for other in others:
        x0, y0, x1, y1 = other.box
        x, y = other.pixel
        x0, y0, x1, y1 = min(x0 - 1, x), min(y0 - 1, y), max(x1 + 1, x + 1), max(y1 + 1, y + 1)
        if first_x >= x1 or last_x <= x0 or first_y >= y1 or last_y <= y0:
            continue
        free &= (left_K >= x1) | (left_K + label[0] <= x0) | (top_K >= y1) | (top_K + label[1] <= y0)
    return free


def _fitted(
    number: int,
    pixels: np.ndarray,
    preference: np.ndarray,
    size: tuple[int, int],
    font_size: int,
    others: Sequence[Marker],
) -> Marker | None:
    """The label over its most preferred pixel where it is free; None when there is no such pixel."""
    label = label_size(number, font_size)
    left, top = _boxes_at(pixels, label, size)
    preference = np.where(_free(left, top, label, others), preference, -np.inf)
    best = int(np.argmax(preference))
    if preference[best] == -np.inf:
        return None
    return _marker(number, pixels[best], int(left[best]), int(top[best]), label, font_size)


def _marker(number: int, pixel: np.ndarray, x: int, y: int, label: tuple[int, int], font_size: int) -> Marker:
    return Marker(number, (int(pixel[0]), int(pixel[1])), (x, y, x + label[0], y + label[1]), font_size)


def _beside(
    number: int,
    pixels: np.ndarray,
    preference: np.ndarray,
    grid: PixelGrid,
    size: tuple[int, int],
    font_size: int,
    others: Sequence[Marker],
) -> Marker:
    """The label at the nearest free place, its pixel on the object and, if possible, under no other label.

    Where the image has no free place for the smallest label, it covers others.
    """
    bare = np.ones(len(pixels), dtype=bool)
    for other in others:
        x0, y0, x1, y1 = other.box
        bare &= ~((pixels >= (x0, y0)) & (pixels < (x1, y1))).all(axis=1)
    pixel = pixels[int(np.argmax(np.where(bare, preference, -np.inf) if bare.any() else preference))]
    taken = _taken(others, size)
    for shrink in (SHRINKS[-1], 0.5, 0.35, 0.25):
        small = max(6, round(font_size * shrink))
        label = label_size(number, small)
        left, top = _boxes_at(grid.pixels, label, size)
        right, bottom = np.minimum(left + label[0], size[0]), np.minimum(top + label[1], size[1])
        covered = taken[bottom, right] - taken[top, right] - taken[bottom, left] + taken[top, left]
        away = np.hypot(left + label[0] / 2 - pixel[0], top + label[1] / 2 - pixel[1])
        best = int(np.argmin(np.where(covered == 0, away, np.inf)))
        if covered[best] == 0:
            break
    return _marker(number, pixel, int(left[best]), int(top[best]), label, small)


def _taken(others: Sequence[Marker], size: tuple[int, int]) -> np.ndarray:
    """How many pixels above and left of each corner are taken by labels and their pixels, int [H + 1, W + 1]."""
    held = np.zeros((size[1] + 1, size[0] + 1), dtype=np.int32)
    for other in others:
        (x, y), (x0, y0, x1, y1) = other.pixel, other.box
        held[max(0, min(y0 - 1, y)) + 1 : max(y1, y) + 2, max(0, min(x0 - 1, x)) + 1 : max(x1, x) + 2] = 1
    return held.cumsum(axis=0).cumsum(axis=1)
