"""Boolean images, [H, W]: their connected parts, closed gaps, and distances in pixels."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_closing, distance_transform_edt, label


def connected_parts(mask: np.ndarray) -> np.ndarray:
    """The number of the part that each pixel belongs to, from 1, int32 [H, W]; 0 where ``mask`` is False.

    Pixels that touch at a corner belong to one part.
    """
    parts = np.zeros(mask.shape, np.int32)
    label(mask, np.ones((3, 3)), output=parts)
    return parts


def part_sizes(parts: np.ndarray) -> np.ndarray:
    """Pixels of each part by its number, int [K + 1]; 0 for number 0, which is no part."""
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return sizes


def share(mask: np.ndarray) -> float:
    """The share of an image's pixels that the mask holds, as ``mask.mean()`` has it, in a tenth of the time."""
    return np.count_nonzero(mask) / mask.size


def closed(mask: np.ndarray, radius: int, *, disc: bool = False, goes_on: bool = False) -> np.ndarray:
    """The mask with its gaps of up to twice ``radius`` pixels filled (morphological closing).

    The structuring element is a diamond, or a ``disc``. ``goes_on``: beyond the image the mask continues as at the
    image's edge; else nothing is there.
    """
    pad = radius + 1
    wide = np.pad(mask, pad, mode="edge") if goes_on else framed(mask, pad)
    if disc:
        steps = np.arange(-radius, radius + 1)
        wide = binary_closing(wide, steps[:, None] ** 2 + steps[None] ** 2 <= radius**2)
    else:
        wide = ~_diamonds(~_diamonds(wide, radius), radius, edge=True)
    return np.asarray(wide)[pad:-pad, pad:-pad]


def framed(mask: np.ndarray, width: int, value: bool = False) -> np.ndarray:
    """The mask with ``width`` pixels of ``value`` on every side."""
    wide = np.full((mask.shape[0] + 2 * width, mask.shape[1] + 2 * width), value)
    wide[width:-width, width:-width] = mask
    return wide


def _diamonds(mask: np.ndarray, radius: int, *, edge: bool = False) -> np.ndarray:
    """The mask with a diamond of ``radius`` around each of its pixels; ``edge``: around those beyond the image, too.

    SciPy's dilation says the same, but takes longer for images of the size of an object than all else about a marker.
    """
    wide = framed(mask, 1, edge)
    inner = wide[1:-1, 1:-1]
    for _ in range(radius):
        around = wide[:-2, 1:-1] | wide[2:, 1:-1]
        around |= wide[1:-1, :-2]
        around |= wide[1:-1, 2:]
        inner |= around
    return inner


def depth_inside(mask: np.ndarray) -> np.ndarray:
    """The distance of each pixel from the nearest one where ``mask`` is False, float64 [H, W]; 0 there."""
    distance = np.empty(mask.shape)
    distance_transform_edt(mask, distances=distance)
    return distance


def nearest_pixel(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distance (float64), row and column (int32) of the nearest pixel where ``mask`` is True, each [H, W]."""
    distance, place = np.empty(mask.shape), np.empty((2, *mask.shape), np.int32)
    distance_transform_edt(~mask, return_indices=True, distances=distance, indices=place)
    return distance, place[0], place[1]
