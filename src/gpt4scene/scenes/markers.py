"""Object numbers in pictures: where they go and how they look.

A number sits on a pixel of its own object's visible surface, covers no other number, has the same colour in every
picture, and is large enough to be read after the picture shrinks to 512 pixels.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_closing, distance_transform_edt

from .visibility import PixelGrid

Place = Literal["inside", "centroid"]
TEXT_SHARE = 17 / 512
"""Font size as a share of the picture's longer side."""
SHRINKS = (1.0, 0.8, 0.65)
"""Sizes that are tried, one after the other, where numbers crowd."""
_FINE = 4
"""Tiles are drawn this much larger and shrunk, for smooth edges."""


@dataclass(frozen=True)
class Marker:
    """A number in a picture: ``pixel`` (x, y) on the object, ``box`` (x0, y0, x1, y1) of the label, ends excluded.

    The label covers its pixel, unless the picture is too crowded: then a line joins the label to a dot at ``pixel``.
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
    """Markers for all spots of one picture of ``size`` (width, height), in the order of the spots.

    ``inside`` takes the pixel farthest from the mask's edge, ``centroid`` the mask pixel nearest to its centroid.
    The smallest object chooses first; a number that would cover another moves within its own mask, then shrinks, and
    as a last resort stands beside its object with a line to it. Equal input gives equal output.
    """
    width, height = size
    font_size = max(9, round(max(size) * TEXT_SHARE))
    chosen: dict[int, Marker] = {}
    order = sorted(range(len(spots)), key=lambda i: (int(spots[i].mask.sum()), spots[i].id))
    for index in order:
        spot = spots[index]
        rank = _preference(spot.mask, how)
        marker = None
        for shrink in SHRINKS:
            marker = _fitted(spot, rank, grid, (width, height), round(font_size * shrink), list(chosen.values()))
            if marker is not None:
                break
        chosen[index] = marker or _beside(spot, rank, grid, (width, height), font_size, list(chosen.values()))
    return [chosen[index] for index in range(len(spots))]


def _preference(mask: np.ndarray, how: Place) -> np.ndarray:
    """How much each pixel of the mask is wanted, float [h, w]; -inf outside the mask."""
    rows, columns = np.nonzero(mask)
    assert len(rows), "an object without visible pixel gets no marker"
    center = rows.mean(), columns.mean()
    off_center = np.hypot(np.arange(mask.shape[0])[:, None] - center[0], np.arange(mask.shape[1])[None] - center[1])
    if how == "centroid":
        return np.where(mask, -off_center, -np.inf)
    # Depth frames leave specks without reading; they are no edges.
    whole = binary_closing(np.pad(mask, 3), iterations=2)
    inner = distance_transform_edt(whole)[3:-3, 3:-3]
    # Long even shapes have a ridge of equal distances: there the middle is better than an end.
    return np.where(mask, inner - 0.1 * off_center * inner.max() / max(off_center[mask].max(), 1.0), -np.inf)


def label_size(number: int, font_size: int) -> tuple[int, int]:
    """Width and height in pixels of a number's box."""
    pad = max(2, round(font_size * 0.28))
    left, top, right, bottom = ImageFont.load_default(font_size).getbbox(str(number))
    high = ImageFont.load_default(font_size).getbbox("0")
    tall = high[3] - high[1] + 2 * pad
    return max(round(right - left) + 2 * pad, round(tall)), round(tall)


def _boxes_at(columns: np.ndarray, rows: np.ndarray, label: tuple[int, int], size: tuple[int, int]) -> tuple:
    """Left and top edges of labels around pixels, pushed into the picture."""
    left = np.clip(columns - label[0] // 2, 0, max(0, size[0] - label[0]))
    top = np.clip(rows - label[1] // 2, 0, max(0, size[1] - label[1]))
    return left, top


def _free(left: np.ndarray, top: np.ndarray, label: tuple[int, int], others: Sequence[Marker]) -> np.ndarray:
    """Which label positions touch no other label and no other marker's pixel."""
    free = np.ones(np.broadcast_shapes(left.shape, top.shape), dtype=bool)
    for other in others:
        x0, y0, x1, y1 = other.box
        free &= (left >= x1 + 1) | (left + label[0] + 1 <= x0) | (top >= y1 + 1) | (top + label[1] + 1 <= y0)
        x, y = other.pixel
        free &= (left > x) | (left + label[0] <= x) | (top > y) | (top + label[1] <= y)
    return free


def _fitted(
    spot: Spot, rank: np.ndarray, grid: PixelGrid, size: tuple[int, int], font_size: int, others: Sequence[Marker]
) -> Marker | None:
    label = label_size(spot.id, font_size)
    left, top = _boxes_at(grid.columns[None, :], grid.rows[:, None], label, size)
    wanted = np.where(_free(left, top, label, others), rank, -np.inf)
    best = int(np.argmax(wanted))
    if wanted.flat[best] == -np.inf:
        return None
    row, column = divmod(best, wanted.shape[1])
    x, y = int(left[0, column]), int(top[row, 0])
    return Marker(
        spot.id, (int(grid.columns[column]), int(grid.rows[row])), (x, y, x + label[0], y + label[1]), font_size
    )


def _beside(
    spot: Spot, rank: np.ndarray, grid: PixelGrid, size: tuple[int, int], font_size: int, others: Sequence[Marker]
) -> Marker:
    """The label at the nearest free place, its pixel on the object and under no other label."""
    uncovered = rank.copy()
    for other in others:
        x0, y0, x1, y1 = other.box
        hidden = ((grid.columns >= x0) & (grid.columns < x1))[None] & ((grid.rows >= y0) & (grid.rows < y1))[:, None]
        uncovered[hidden] = -np.inf
    source = uncovered if np.isfinite(uncovered).any() else rank
    row, column = divmod(int(np.argmax(source)), rank.shape[1])
    pixel = int(grid.columns[column]), int(grid.rows[row])
    for shrink in (SHRINKS[-1], 0.5, 0.35):
        small = max(6, round(font_size * shrink))
        label = label_size(spot.id, small)
        left, top = _boxes_at(grid.columns[None, :], grid.rows[:, None], label, size)
        away = np.hypot(left + label[0] / 2 - pixel[0], top + label[1] / 2 - pixel[1])
        away = np.where(_free(left, top, label, others), away, np.inf)
        best = int(np.argmin(away))
        if np.isfinite(away.flat[best]):
            break
    row, column = divmod(best, away.shape[1])
    x, y = int(left[0, column]), int(top[row, 0])
    return Marker(spot.id, pixel, (x, y, x + label[0], y + label[1]), small)


def draw(image_HW3: np.ndarray, markers: Sequence[Marker]) -> np.ndarray:
    """The picture with its markers, uint8 [H, W, 3]; the input is not changed."""
    picture = Image.fromarray(image_HW3).convert("RGB")
    pen = ImageDraw.Draw(picture)
    for marker in markers:
        if marker.apart:
            _draw_line(pen, marker)
    for marker in markers:
        tile = _tile(marker)
        picture.paste(tile, marker.box[:2], tile)
    return np.asarray(picture)


def _draw_line(pen: ImageDraw.ImageDraw, marker: Marker) -> None:
    x0, y0, x1, y1 = marker.box
    x, y = marker.pixel
    middle = ((x0 + x1) / 2, (y0 + y1) / 2)
    thick = max(2, marker.font_size // 6)
    color = color_of(marker.id)
    pen.line([(x, y), middle], fill=ink_on(color), width=thick + 2)
    pen.line([(x, y), middle], fill=color, width=thick)
    pen.ellipse([x - thick, y - thick, x + thick, y + thick], fill=color, outline=ink_on(color))


def _tile(marker: Marker) -> Image.Image:
    """The number on its rounded box, RGBA, of the marker's box size."""
    width, height = marker.box[2] - marker.box[0], marker.box[3] - marker.box[1]
    color, fine = color_of(marker.id), _FINE
    ink = ink_on(color)
    tile = Image.new("RGBA", (width * fine, height * fine), (*ink, 0))
    pen = ImageDraw.Draw(tile)
    edge = max(1, round(marker.font_size / 14)) * fine
    radius = height * fine * 0.28
    pen.rounded_rectangle(
        [0, 0, width * fine - 1, height * fine - 1], radius, fill=(*color, 255), outline=(*ink, 255), width=edge
    )
    font = ImageFont.load_default(marker.font_size * fine)
    left, top, right, bottom = pen.textbbox((0, 0), str(marker.id), font=font)
    place = (width * fine - (right - left)) / 2 - left, (height * fine - (bottom - top)) / 2 - top
    pen.text(place, str(marker.id), fill=(*ink, 255), font=font, stroke_width=fine // 3, stroke_fill=(*ink, 255))
    return tile.resize((width, height), Image.Resampling.LANCZOS)
