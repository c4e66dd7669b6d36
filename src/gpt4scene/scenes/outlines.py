"""Contours of objects: thin lines in the object's colour around what an image shows of it.

Visibility is known on a coarse grid. The line follows a smooth distance field through the grid's cells, so that it has
no steps at the image's own resolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from gpt4scene.scenes.colors import color_of, ink_on
from gpt4scene.scenes.masks import closed, connected_parts, depth_inside, part_sizes
from gpt4scene.scenes.pixels import ObjectMask

LINE_SHARE = 1.1 / 512
"""Width of the line as a share of the image's longer side: it still shows when that shrinks to 512 pixels."""
LEAST_CELLS = 4
"""Parts and holes of fewer cells get no line, unless the object has nothing else."""
_MARGIN = 3


def draw_outlines(image_HW3: np.ndarray, masks: Sequence[ObjectMask], noisy: bool = False) -> np.ndarray:
    """The image with the outline of every object, uint8 [H, W, 3]; the input is not changed.

    A mask is what is visible of its object, on a grid whose cells divide the image evenly. Where an object
    goes on beyond the image there is no line. ``noisy`` masks come from depth readings and lack some within the
    object. The smallest object is drawn last. Equal input gives equal output.
    """
    image = image_HW3.astype(np.float32)
    for item in sorted(masks, key=lambda one: (-int(one.mask.sum()), one.id)):
        _draw(image, item.id, _cleaned(item.mask, noisy))
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _draw(image: np.ndarray, number: int, mask: np.ndarray) -> None:
    height, width = image.shape[:2]
    (left, top), distance = _distance(mask, width, height)
    half = max(0.75, max(width, height) * LINE_SHARE / 2)
    casing = half + max(0.5, half / 2)
    rows, columns = np.nonzero(np.abs(distance) < casing + 0.5)
    away = np.abs(distance[rows, columns])
    rows, columns = rows + top, columns + left
    color = color_of(number)
    for ink, reach, strength in ((ink_on(color), casing, 0.5), (color, half, 1.0)):
        cover = (strength * np.clip(reach + 0.5 - away, 0, 1))[:, None]
        image[rows, columns] += cover * (np.array(ink, np.float32) - image[rows, columns])


def _cleaned(mask: np.ndarray, noisy: bool) -> np.ndarray:
    """The mask without specks and pinholes; the largest part stays in any case."""
    if noisy:
        mask = closed(mask, 2, goes_on=True)
    least = max(LEAST_CELLS, (0.02 if noisy else 0.0) * mask.sum())
    for value in (False, True):  # pinholes are filled first, then specks removed
        parts = connected_parts(mask == value)
        sizes = part_sizes(parts)
        mask = mask ^ ((sizes < min(least, sizes.max()))[parts] & (mask == value))
    return mask


def _distance(mask: np.ndarray, width: int, height: int) -> tuple[tuple[int, int], np.ndarray]:
    """Left and top of a part of the image, and the distance in pixels of each of its pixels from the edge.

    Positive inside of the object; exact near the edge, and no more than about three cells anywhere.
    """
    rows, columns = mask.shape
    inside_rows, inside_columns = np.nonzero(mask)
    r0, c0 = max(0, inside_rows.min() - _MARGIN), max(0, inside_columns.min() - _MARGIN)
    r1, c1 = min(rows, inside_rows.max() + 1 + _MARGIN), min(columns, inside_columns.max() + 1 + _MARGIN)
    padded = np.pad(mask[r0:r1, c0:c1], _MARGIN, mode="edge")
    field = np.where(padded, depth_inside(padded), -depth_inside(~padded))
    field -= np.sign(field) * 0.5  # from the middle of the next cell to the edge between the two
    smooth = gaussian_filter(np.clip(field, -_MARGIN, _MARGIN), 1.0)
    # Every cell stays on its side of the line: legs and cables of one cell's width do not get lost.
    field = np.where(padded, np.maximum(smooth, 0.1), np.minimum(smooth, -0.1)).astype(np.float32)
    box = (
        round(c0 * width / columns),
        round(r0 * height / rows),
        round(c1 * width / columns),
        round(r1 * height / rows),
    )
    left, top, right, bottom = box
    source = (
        left * columns / width - c0 + _MARGIN,
        top * rows / height - r0 + _MARGIN,
        right * columns / width - c0 + _MARGIN,
        bottom * rows / height - r0 + _MARGIN,
    )
    size = (right - left, bottom - top)
    fine = np.asarray(Image.fromarray(field).resize(size, Image.Resampling.BICUBIC, box=source))
    return (left, top), fine * np.float32(max(width / columns, height / rows))
