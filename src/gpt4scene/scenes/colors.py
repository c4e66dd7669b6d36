"""The colour of an object number, and the ink that reads well on it: the same in images, sheets and reports."""

from __future__ import annotations

import colorsys


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
