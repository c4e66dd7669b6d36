"""LLaVA-OneVision's images: one that is alone in its row is cut into tiles, one of several is a single tile.

Tiles are those of the resolution that fits best ("anyres"), behind a thumbnail of the whole image. The features of the
tiles lie in rows, without what was padded, and an embedding of the model's ends each row. The user's limits shrink or
grow an image first; the checkpoint's processor sees the result. Grids hold how an image is shown, ``ALONE`` or
``AMONG`` others, and its height and width in pixels.
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
from gpt4scene.data.tiles import BICUBIC, patches_of, square, tiles_of
from gpt4scene.errors import DataError
from gpt4scene.types import Grid

ALONE, AMONG = 1, 2
_NEAR = 1.1
"""Rows and columns of features are made fewer where they are over this times as many as ``most_tiles`` allows."""


@dataclass(frozen=True)
class AnyresRule(ImageRule):
    """How an image becomes tiles: the values of a checkpoint's processor and of its model.

    ``resolutions`` are heights and widths, multiples of ``tile``. The features of at most about ``most_tiles`` tiles
    are kept.
    """

    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    tile: int = 384
    patch_size: int = 14
    resolutions: tuple[tuple[int, int], ...] = ()
    most_tiles: int = 9

    @property
    def side(self) -> int:
        """Patches that a tile is long."""
        return self.tile // self.patch_size

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
        """An image of one tile, alone in its row."""
        return ALONE, self.tile, self.tile

    @classmethod
    def read(
        cls, config: Mapping[str, Any], path: Path, limits: Mapping[str, Any], model: Mapping[str, Any]
    ) -> AnyresRule:
        """Return the rule of a processor's config, with patch size and resolutions from the model's."""
        refuse_switches(config, path, "LLaVA-OneVision's")
        described, vision = path.parent / "config.json", model.get("vision_config") or {}
        if not vision or not model.get("image_grid_pinpoints"):
            raise DataError(
                f"{described}: vision_config or image_grid_pinpoints is missing, which say how tiles are cut"
            )
        tile, taken = square(config.get("size", 384), path, "size"), square(vision.get("image_size", 384), path, "tile")
        known = {tuple(map(tuple, one.get("image_grid_pinpoints") or ())) for one in (config, model)} - {()}
        most = str(model.get("vision_aspect_ratio", "anyres_max_9")).removeprefix("anyres_max_")
        wrong = [
            ("tiles of different sizes", tile != taken),
            ("different image_grid_pinpoints", len(known) != 1),
            (f"vision_aspect_ratio {model.get('vision_aspect_ratio')!r}", not most.isdecimal()),
            (f"resample {config.get('resample')!r}", config.get("resample", BICUBIC) != BICUBIC),
            ("vision_feature_select_strategy default", model.get("vision_feature_select_strategy", "full") != "full"),
            (
                "resolutions that are no multiples of a tile",
                any(side % tile for one in known for pair in one for side in pair),
            ),
        ]
        if found := [words for words, is_so in wrong if is_so]:
            raise DataError(
                f"{path} and {described.name}: {', '.join(found)}, which is not computed here; copy both files from "
                "one checkpoint"
            )
        return cls(
            mean=of_channels(config.get("image_mean") or cls.mean),
            std=of_channels(config.get("image_std") or cls.std),
            tile=tile,
            patch_size=square(vision.get("patch_size", 14), path, "patch_size"),
            resolutions=known.pop(),
            most_tiles=int(most),
            **limits,
        )

    def fit(self, size: Size) -> Size:
        """Return what the user's limits leave of ``size``: tiles are cut of that."""
        return self.limited(size)

    def grid(self, size: Size, images: int = 1) -> Grid:
        """Return (how it is shown, height, width) of an image of ``size``, one of so many ``images`` of its row."""
        width, height = self.limited(size)
        return ALONE if images == 1 else AMONG, height, width

    def best(self, height: int, width: int) -> tuple[int, int]:
        """Return the resolution that keeps most of an image's pixels, and of those the one that wastes fewest."""
        best, kept, wasted = (self.tile, self.tile), 0, math.inf
        for rows, columns in self.resolutions:
            scale = min(columns / width, rows / height)
            here = min(int(width * scale) * int(height * scale), width * height)
            waste = rows * columns - here
            if here > kept or (here == kept and waste < wasted):
                best, kept, wasted = (rows, columns), here, waste
        return best

    def arranged(self, grid: Grid) -> tuple[int, int]:
        """Return the rows and columns of tiles of an image that is alone in its row."""
        rows, columns = self.best(grid[1], grid[2])
        return rows // self.tile, columns // self.tile

    def tokens(self, grid: Grid) -> int:
        """Return the number of image tokens: of one tile and a row's end, or of the thumbnail and rows with ends."""
        shown, height, width = grid[:3]
        if shown == AMONG:
            return self.side**2 + 1
        rows, columns = (tiles * self.side for tiles in self.arranged(grid))
        if width / height > columns / rows:
            rows -= (rows - int(round(height * (columns / width), 7))) // 2 * 2
        else:
            columns -= (columns - int(round(width * (rows / height), 7))) // 2 * 2
        ratio = math.sqrt(rows * columns / (self.most_tiles * self.side**2))
        if ratio > _NEAR:
            rows, columns = int(rows // ratio), int(columns // ratio)
        return self.side**2 + rows * (columns + 1)

    def patches(self, grid: Grid) -> int:
        """Return the number of patches of all tiles."""
        tiles = 1 if grid[0] == AMONG else 1 + math.prod(self.arranged(grid))
        return tiles * self.side**2

    def cut(self, image: Image.Image, grid: Grid) -> np.ndarray:
        """Return ``[P, 3 * p * p]`` patches: of the thumbnail, then of the tiles row by row."""
        fitted = self.limited(image.size)
        image = image if fitted == image.size else image.resize(fitted, Image.Resampling.BICUBIC)
        tile, (width, height) = (self.tile, self.tile), fitted
        if grid[0] == AMONG:
            color = tuple(int(value * 255) for value in self.mean)
            image = _padded(image, (max(fitted), max(fitted)), color)
            return patches_of(np.asarray(image.resize(tile, Image.Resampling.BICUBIC))[None], self.patch_size)
        rows, columns = self.best(height, width)
        if columns / width < rows / height:
            inner = columns, min(math.ceil(height * (columns / width)), rows)
        else:
            inner = min(math.ceil(width * (rows / height)), columns), rows
        whole = _padded(image.resize(inner, Image.Resampling.BICUBIC), (columns, rows), (0, 0, 0))
        thumbnail = np.asarray(image.resize(tile, Image.Resampling.BICUBIC))
        return patches_of(np.concatenate([thumbnail[None], tiles_of(np.asarray(whole), self.tile)]), self.patch_size)

    def positions(self, ids_L: np.ndarray, grids: Sequence[Grid], image_token_id: int, start: int = 0) -> np.ndarray:
        """Return int64 positions ``[1, L]`` that count up."""
        return plain_positions(ids_L, list(map(self.tokens, grids)), image_token_id, start)

    def ways_out(self, grids: Sequence[Grid]) -> list[str]:
        """Return what a user can do for images of these grids to cost fewer tokens."""
        return super().ways_out(grids) if len(grids) == 1 else []


def _padded(image: Image.Image, size: Size, color: tuple[int, ...]) -> Image.Image:
    """Return ``image`` in the middle of one of ``size``; the odd pixel is on the right and below."""
    whole = Image.new("RGB", size, color)
    whole.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return whole
