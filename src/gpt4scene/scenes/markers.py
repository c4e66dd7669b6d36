"""Object numbers in images: where they go and how they look.

A number sits on a pixel of its own object's visible surface, covers no other number, has the same colour in every
image, and is large enough to be read after the image shrinks to 512 pixels.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_closing, distance_transform_edt

from gpt4scene.scenes.visibility import PixelGrid

Place = Literal["inside", "centroid"]
TEXT_SHARE = 17 / 512
"""Font size as a share of the image's longer side."""
MOST_COVERED = 0.4
"""Share of an image that all its labels may cover together."""
SHRINKS = (1.0, 0.8, 0.65)
"""Sizes that are tried, one after the other, where numbers crowd."""
_FINE = 4
"""Tiles are drawn this much larger and shrunk, for smooth edges."""


@dataclass(frozen=True)
class Marker:
    """A number in an image: ``pixel`` (x, y) on the object, ``box`` (x0, y0, x1, y1) of the label, ends excluded.

    The label covers its pixel, unless the image is too crowded: then a line joins the label to a dot at ``pixel``.
    """

    id: int
    pixel: tuple[int, int]
    box: tuple[int, int, int, int]
    font_size: int

    @property
    def apart(self) -> bool:
        """True when the label does not cover its pixel."""
        (x, y), (x0, y0, x1, y1) = self.pixel, self.box
        return not (x0 <= x < x1 and y0 <= y < y1)


@dataclass(frozen=True)
class Spot:
    """Where a number may go: object number and the pixels of its visible surface on the grid, bool [h, w]."""

    id: int
    mask: np.ndarray


def color_of(number: int) -> tuple[int, int, int]:
    """The colour of an object number, the same everywhere; neighbours in number differ most."""
    hue = (number * 0.618033988749895) % 1.0
    saturation, value = ((0.85, 0.95), (0.65, 0.75), (0.95, 0.65))[(number // 8) % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def ink_on(color: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white, whichever reads better on ``color`` (relative luminance, WCAG 2)."""
    linear = [(c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4) for c in color]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


def place(spots: Sequence[Spot], grid: PixelGrid, size: tuple[int, int], how: Place = "inside") -> list[Marker]:
    """Markers for all spots of one image of ``size`` (width, height), in the order of the spots.

    ``inside`` takes the pixel farthest from the mask's edge, ``centroid`` the mask pixel nearest to its centroid.
    The smallest object chooses first; a number that would cover another moves within its own mask, then shrinks, and
    as a last resort stands beside its object with a line to it. Equal input gives equal output.
    """
    width, height = size
    font_size = _common_size([spot.id for spot in spots], size)
    chosen: dict[int, Marker] = {}
    order = sorted(range(len(spots)), key=lambda i: (int(spots[i].mask.sum()), spots[i].id))
    for index in order:
        spot, others = spots[index], list(chosen.values())
        pixels, wish = _candidates(spot.mask, grid, how)
        marker = None
        for shrink in SHRINKS:
            marker = _fitted(spot.id, pixels, wish, (width, height), round(font_size * shrink), others)
            if marker is not None:
                break
        chosen[index] = marker or _beside(spot.id, pixels, wish, grid, (width, height), font_size, others)
    return [chosen[index] for index in range(len(spots))]


def _common_size(numbers: Sequence[int], size: tuple[int, int]) -> int:
    """The font size that numbers start with: smaller only where they would cover ``MOST_COVERED`` of the image."""
    font_size = max(9, round(max(size) * TEXT_SHARE))
    covered = sum(math.prod(label_size(number, font_size)) for number in numbers) / math.prod(size)
    return font_size if covered <= MOST_COVERED else max(6, int(font_size * math.sqrt(MOST_COVERED / covered)))


def _candidates(mask: np.ndarray, grid: PixelGrid, how: Place) -> tuple[np.ndarray, np.ndarray]:
    """The mask's pixels (x, y), int [K, 2] row by row, and how much each is wanted, float [K]."""
    rows, columns = np.nonzero(mask)
    assert len(rows), "an object without visible pixel gets no marker"
    off_center = np.hypot(rows - rows.mean(), columns - columns.mean())
    pixels = np.stack([grid.columns[columns], grid.rows[rows]], axis=1)
    if how == "centroid":
        return pixels, -off_center
    top, left = rows.min(), columns.min()
    # Depth frames leave specks without reading; they are no edges.
    whole = binary_closing(np.pad(mask[top : rows.max() + 1, left : columns.max() + 1], 3), iterations=2)
    inner = distance_transform_edt(whole)[rows - top + 3, columns - left + 3]  # pyright: ignore (stubs)
    # Long even shapes have a ridge of equal distances: there the middle is better than an end.
    return pixels, inner - 0.1 * off_center * inner.max() / max(off_center.max(), 1.0)


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font: no file is needed, and it is the same everywhere."""
    return ImageFont.load_default(size)


@lru_cache(maxsize=4096)
def label_size(number: int, font_size: int) -> tuple[int, int]:
    """Width and height in pixels of a number's box."""
    pad = max(2, round(font_size * 0.28))
    left, _, right, _ = _font(font_size).getbbox(str(number))
    _, top, _, bottom = _font(font_size).getbbox("0")
    tall = round(bottom - top) + 2 * pad
    return max(round(right - left) + 2 * pad, tall), tall


def _boxes_at(pixels_K2: np.ndarray, label: tuple[int, int], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Left and top edges [K] of labels around pixels, pushed into the image."""
    left = np.clip(pixels_K2[:, 0] - label[0] // 2, 0, max(0, size[0] - label[0]))
    top = np.clip(pixels_K2[:, 1] - label[1] // 2, 0, max(0, size[1] - label[1]))
    return left, top


def _free(left_K: np.ndarray, top_K: np.ndarray, label: tuple[int, int], others: Sequence[Marker]) -> np.ndarray:
    """Which label positions touch no other label and no other marker's pixel, bool [K]."""
    free = np.ones(len(left_K), dtype=bool)
    for other in others:
        x0, y0, x1, y1 = other.box
        x, y = other.pixel
        x0, y0, x1, y1 = min(x0 - 1, x), min(y0 - 1, y), max(x1 + 1, x + 1), max(y1 + 1, y + 1)
        free &= (left_K >= x1) | (left_K + label[0] <= x0) | (top_K >= y1) | (top_K + label[1] <= y0)
    return free


def _fitted(
    number: int, pixels: np.ndarray, wish: np.ndarray, size: tuple[int, int], font_size: int, others: Sequence[Marker]
) -> Marker | None:
    """The label over its most wanted pixel where it is free; None when there is no such pixel."""
    label = label_size(number, font_size)
    left, top = _boxes_at(pixels, label, size)
    wish = np.where(_free(left, top, label, others), wish, -np.inf)
    best = int(np.argmax(wish))
    if wish[best] == -np.inf:
        return None
    return _marker(number, pixels[best], int(left[best]), int(top[best]), label, font_size)


def _marker(number: int, pixel: np.ndarray, x: int, y: int, label: tuple[int, int], font_size: int) -> Marker:
    return Marker(number, (int(pixel[0]), int(pixel[1])), (x, y, x + label[0], y + label[1]), font_size)


def _beside(
    number: int,
    pixels: np.ndarray,
    wish: np.ndarray,
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
    pixel = pixels[int(np.argmax(np.where(bare, wish, -np.inf) if bare.any() else wish))]
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


def draw(image_HW3: np.ndarray, markers: Sequence[Marker]) -> np.ndarray:
    """The image with its markers, uint8 [H, W, 3]; the input is not changed."""
    image = Image.fromarray(image_HW3).convert("RGB")
    pen = ImageDraw.Draw(image)
    for marker in markers:
        if marker.apart:
            _draw_line(pen, marker)
    for marker in markers:
        x0, y0, x1, y1 = marker.box
        tile = _tile(marker.id, marker.font_size, (x1 - x0, y1 - y0))
        image.paste(tile, marker.box[:2], tile)
    return np.asarray(image)


def _draw_line(pen: ImageDraw.ImageDraw, marker: Marker) -> None:
    x0, y0, x1, y1 = marker.box
    x, y = marker.pixel
    middle = ((x0 + x1) / 2, (y0 + y1) / 2)
    thick = max(2, marker.font_size // 6)
    color = color_of(marker.id)
    pen.line([(x, y), middle], fill=ink_on(color), width=thick + 2)
    pen.line([(x, y), middle], fill=color, width=thick)
    pen.ellipse([x - thick, y - thick, x + thick, y + thick], fill=color, outline=ink_on(color))


@lru_cache(maxsize=1024)
def _tile(number: int, font_size: int, size: tuple[int, int]) -> Image.Image:
    """The number on its rounded box, RGBA, ``size`` wide and high."""
    width, height = size
    color, fine = color_of(number), _FINE
    ink = ink_on(color)
    tile = Image.new("RGBA", (width * fine, height * fine), (*ink, 0))
    pen = ImageDraw.Draw(tile)
    edge = max(1, round(font_size / 14)) * fine
    box = [0, 0, width * fine - 1, height * fine - 1]
    pen.rounded_rectangle(box, height * fine * 0.28, fill=(*color, 255), outline=(*ink, 255), width=edge)
    font = _font(font_size * fine)
    left, top, right, bottom = pen.textbbox((0, 0), str(number), font=font)
    start = (width * fine - (right - left)) / 2 - left, (height * fine - (bottom - top)) / 2 - top
    pen.text(start, str(number), fill=(*ink, 255), font=font, stroke_width=fine // 3, stroke_fill=(*ink, 255))
    return tile.resize(size, Image.Resampling.LANCZOS)
