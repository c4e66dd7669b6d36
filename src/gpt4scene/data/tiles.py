"""InternVL's images: one tile, or as many tiles as the shape of the image asks for, and a thumbnail of all of it.

The user's limits shrink or grow an image first, as LLaMA-Factory does; the checkpoint's processor sees the result.
Grids count tiles, and patches of a tile: (tiles, rows, columns).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gpt4scene.data.image_rule import ImageRule, Size, of_channels, refuse_switches
from gpt4scene.data.positions import plain_positions
from gpt4scene.errors import DataError
from gpt4scene.types import Grid

BICUBIC = 3
"""Pillow's number of the resampling that these rules do."""


@dataclass(frozen=True)
class TileRule(ImageRule):
    """How an image becomes tiles: the values of a checkpoint's processor and of its model.

    A tile is a square of ``tile`` pixels, cut into patches of ``patch_size``, of which ``merge_size`` squared become
    one token. With ``crop_to_patches`` an image becomes ``min_tiles`` to ``max_tiles`` tiles, and a thumbnail where
    there is more than one; without, it is one tile.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    tile: int = 448
    patch_size: int = 14
    merge_size: int = 2
    min_tiles: int = 1
    max_tiles: int = 12
    crop_to_patches: bool = False

    @property
    def patch_length(self) -> int:
        """Values of one flattened patch: channels, rows, columns."""
        return 3 * self.patch_size**2

    @property
    def position_rows(self) -> int:
        """One running number."""
        return 1

    @property
    def blank(self) -> Grid:
        """One tile."""
        side = self.tile // self.patch_size
        return 1, side, side

    @classmethod
    def read(
        cls, config: Mapping[str, Any], path: Path, limits: Mapping[str, Any], model: Mapping[str, Any]
    ) -> TileRule:
        """Return the rule of a processor's config, with patch size and tokens of a tile from the model's."""
        refuse_switches(config, path, "InternVL's")
        vision = model.get("vision_config") or {}
        if not vision:
            raise DataError(f"{path.parent / 'config.json'}: vision_config is missing, which says how tiles are cut")
        tile, taken = square(config.get("size", 448), path, "size"), square(vision.get("image_size", 448), path, "tile")
        patch, merge = (
            square(vision.get("patch_size", 14), path, "patch"),
            round(1 / model.get("downsample_ratio", 0.5)),
        )
        if tile != taken or tile % (patch * merge) or config.get("resample", BICUBIC) != BICUBIC:
            raise DataError(
                f"{path}: tiles of {tile} pixels (config.json: {taken}) in patches of {patch}, {merge}x{merge} a "
                f"token, resampled by {config.get('resample')}, are not computed here; copy the processor files and "
                "config.json from one checkpoint"
            )
        return cls(
            mean=of_channels(config.get("image_mean") or cls.mean),
            std=of_channels(config.get("image_std") or cls.std),
            tile=tile,
            patch_size=patch,
            merge_size=merge,
            min_tiles=int(config.get("min_patches", 1)),
            max_tiles=int(config.get("max_patches", 12)),
            **limits,
        )

    def fit(self, size: Size) -> Size:
        """Return what the user's limits leave of ``size``: tiles are cut of that."""
        return self.limited(size)

    def arranged(self, size: Size) -> tuple[int, int]:
        """Return the columns and rows of tiles of an image of ``size``, whose limits were obeyed before.

        It is the arrangement whose shape is nearest to the image's. Of those equally near, a larger one is taken only
        where the image has over half its pixels (``get_optimal_tiled_canvas`` of Hugging Face's GOT-OCR2).
        """
        if not self.crop_to_patches or self.max_tiles == 1:
            return 1, 1
        width, height = size
        sides = range(1, self.max_tiles + 1)
        known = [(x, y) for x in sides for y in sides if self.min_tiles <= x * y <= self.max_tiles]
        best, least = (1, 1), math.inf
        for columns, rows in sorted(known, key=lambda one: one[0] * one[1]):
            off = abs(width / height - columns / rows)
            if off < least or (off == least and width * height > 0.5 * self.tile**2 * columns * rows):
                best, least = (columns, rows), off
        return best

    def grid(self, size: Size, images: int = 1) -> Grid:
        """Return (tiles, rows, columns); how many ``images`` its row has is all one."""
        columns, rows = self.arranged(self.limited(size))
        tiles = columns * rows
        return tiles + (tiles > 1), self.blank[1], self.blank[2]

    def tokens(self, grid: Grid) -> int:
        """Return the number of image tokens, 256 for each tile of 448 pixels."""
        return math.prod(grid[:3]) // self.merge_size**2

    def patches(self, grid: Grid) -> int:
        """Return the number of patches of all tiles."""
        return math.prod(grid[:3])

    def cut(self, image: Image.Image, grid: Grid) -> np.ndarray:
        """Return ``[P, 3 * p * p]`` patches: of the tiles row by row, then of the thumbnail."""
        fitted = self.limited(image.size)
        image = image if fitted == image.size else image.resize(fitted, Image.Resampling.BICUBIC)
        columns, rows = self.arranged(fitted)
        whole = image.resize((columns * self.tile, rows * self.tile), Image.Resampling.BICUBIC)
        tiles = tiles_of(np.asarray(whole), self.tile)
        if len(tiles) > 1:
            thumbnail = np.asarray(image.resize((self.tile, self.tile), Image.Resampling.BICUBIC))
            tiles = np.concatenate([tiles, thumbnail[None]])
        return patches_of(tiles, self.patch_size)

    def positions(self, ids_L: np.ndarray, grids: Sequence[Grid], image_token_id: int, start: int = 0) -> np.ndarray:
        """Return int64 positions ``[1, L]`` that count up."""
        return plain_positions(ids_L, list(map(self.tokens, grids)), image_token_id, start)

    def ways_out(self, grids: Sequence[Grid]) -> list[str]:
        """Return what a user can do for images of these grids to cost fewer tokens."""
        return ["set crop_to_patches to false"] if self.crop_to_patches else []


def square(value: Any, path: Path, name: str) -> int:
    """Return the side of a square that a config gives as a number, a pair, or height and width."""
    listed = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else [value]
    if not listed or any(type(side) is not int or side != listed[0] or side < 1 for side in listed):
        raise DataError(f"{path}: {name} is {value!r}, and only squares of whole pixels are computed here")
    return listed[0]


def tiles_of(pixels_HW3: np.ndarray, tile: int) -> np.ndarray:
    """Return the square tiles ``[T, tile, tile, 3]`` of an image whose sides are multiples of ``tile``, row by row."""
    height, width, channels = pixels_HW3.shape
    parts = pixels_HW3.reshape(height // tile, tile, width // tile, tile, channels)
    return parts.transpose(0, 2, 1, 3, 4).reshape(-1, tile, tile, channels)


def patches_of(tiles: np.ndarray, patch: int) -> np.ndarray:
    """Return the patches ``[P, 3 * p * p]`` of tiles ``[T, H, W, 3]``, row by row; what is short of a patch is cut off.

    A tower whose first layer is a convolution without padding does not see those pixels either.
    """
    number, height, width, channels = tiles.shape
    rows, columns = height // patch, width // patch
    parts = tiles[:, : rows * patch, : columns * patch].reshape(number, rows, patch, columns, patch, channels)
    return parts.transpose(0, 1, 3, 5, 2, 4).reshape(-1, channels * patch**2)
