"""Object numbers in images: what a marker is, how large its label is, and how it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gpt4scene.scenes.colors import color_of, ink_on

_FINE = 4
"""Labels are drawn this much larger and shrunk, for smooth edges."""


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


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font: no file is needed, and it is the same everywhere."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow is built with FreeType"
    return font


@lru_cache(maxsize=4096)
def label_size(number: int, font_size: int) -> tuple[int, int]:
    """Width and height in pixels of a number's box."""
    pad = max(2, round(font_size * 0.28))
    left, _, right, _ = _font(font_size).getbbox(str(number))
    _, top, _, bottom = _font(font_size).getbbox("0")
    tall = round(bottom - top) + 2 * pad
    return max(round(right - left) + 2 * pad, tall), tall


def draw_markers(image_HW3: np.ndarray, markers: Sequence[Marker]) -> np.ndarray:
    """The image with its markers, uint8 [H, W, 3]; the input is not changed."""
    image = Image.fromarray(image_HW3).convert("RGB")
    pen = ImageDraw.Draw(image)
    for marker in markers:
        if marker.apart:
            _draw_line(pen, marker)
    for marker in markers:
        x0, y0, x1, y1 = marker.box
        label = _label(marker.id, marker.font_size, (x1 - x0, y1 - y0))
        image.paste(label, marker.box[:2], label)
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
def _label(number: int, font_size: int, size: tuple[int, int]) -> Image.Image:
    """The number on its rounded box, RGBA, ``size`` wide and high."""
    width, height = size
    color, fine = color_of(number), _FINE
    ink = ink_on(color)
    label = Image.new("RGBA", (width * fine, height * fine), (*ink, 0))
    pen = ImageDraw.Draw(label)
    edge = max(1, round(font_size / 14)) * fine
    box = [0, 0, width * fine - 1, height * fine - 1]
    pen.rounded_rectangle(box, height * fine * 0.28, fill=(*color, 255), outline=(*ink, 255), width=edge)
    font = _font(font_size * fine)
    left, top, right, bottom = pen.textbbox((0, 0), str(number), font=font)
    start = (width * fine - (right - left)) / 2 - left, (height * fine - (bottom - top)) / 2 - top
    pen.text(start, str(number), fill=(*ink, 255), font=font, stroke_width=fine // 3, stroke_fill=(*ink, 255))
    return label.resize(size, Image.Resampling.LANCZOS)
