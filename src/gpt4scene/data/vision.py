"""Qwen's images: Qwen2-VL, Qwen2.5-VL, Qwen3-VL and their kin.

The rule is the one of public GPT4Scene inference: an image whose longest side passes ``image_resolution`` is
shrunk to it on paper, Qwen's smart resize rounds that to whole merged patches, and one bicubic step takes the original
straight to the result.
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
from gpt4scene.data.positions import grid_positions
from gpt4scene.data.video_rule import Showing, VideoRule, area_bounds, showing
from gpt4scene.files.clips import Clip
from gpt4scene.types import Grid

MAX_ASPECT = 200
"""Qwen's smart resize refuses images more elongated than this."""


@dataclass(frozen=True)
class VisionRule(ImageRule):
    """How an image becomes patches for Qwen: the values of a checkpoint's image processor, and the user's limits.

    ``min_pixels`` and ``max_pixels`` bound the area after smart resize. A grid counts patches: frames, rows, columns.
    ``video`` is what becomes of videos, None where a caller did not ask for them.
    """

    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    patch_size: int = 14
    merge_size: int = 2
    temporal_patch_size: int = 2
    min_pixels: int = 56 * 56
    max_pixels: int = 28 * 28 * 1280
    video: VideoRule | None = None

    @property
    def factor(self) -> int:
        """Pixels that both sides must be a multiple of: one merged patch."""
        return self.patch_size * self.merge_size

    @property
    def patch_length(self) -> int:
        """Values of one flattened patch, 1176 for Qwen2-VL."""
        return 3 * self.temporal_patch_size * self.patch_size**2

    @property
    def position_rows(self) -> int:
        """Time, row and column."""
        return 3

    @property
    def blank(self) -> Grid:
        """One merged patch."""
        return 1, self.merge_size, self.merge_size

    @classmethod
    def read(
        cls, config: Mapping[str, Any], path: Path, limits: Mapping[str, Any], model: Mapping[str, Any]
    ) -> VisionRule:
        """Return the rule of a processor's config."""
        refuse_switches(config, path, "Qwen's")
        defaults = cls()
        least, most = area_bounds(config, defaults.min_pixels, defaults.max_pixels)
        return cls(
            patch_size=int(config.get("patch_size", defaults.patch_size)),
            merge_size=int(config.get("merge_size", defaults.merge_size)),
            temporal_patch_size=int(config.get("temporal_patch_size", defaults.temporal_patch_size)),
            mean=of_channels(config.get("image_mean") or defaults.mean),
            std=of_channels(config.get("image_std") or defaults.std),
            min_pixels=least,
            max_pixels=most,
            image_resolution=limits["image_resolution"],
            image_max_pixels=limits["image_max_pixels"],
            image_min_pixels=limits["image_min_pixels"],
        )

    def fit(self, size: Size) -> Size:
        """Return the width and height that an image of ``size`` is resized to, multiples of ``factor``.

        Raises ValueError for an image more than 200 times as long as wide. 1296x968 at 512 gives 504x392.
        """
        width, height = self.limited(size)
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise ValueError(f"an image of {size[0]}x{size[1]} is over {MAX_ASPECT} times as long as wide")
        factor = self.factor
        new_width, new_height = round(width / factor) * factor, round(height / factor) * factor
        if new_width * new_height > self.max_pixels:
            shrink = math.sqrt(height * width / self.max_pixels)
            new_height = max(factor, math.floor(height / shrink / factor) * factor)
            new_width = max(factor, math.floor(width / shrink / factor) * factor)
        elif new_width * new_height < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (height * width))
            new_height = math.ceil(height * grow / factor) * factor
            new_width = math.ceil(width * grow / factor) * factor
        return new_width, new_height

    def grid(self, size: Size, images: int = 1) -> Grid:
        """Return (frames, rows, columns) in patches of an image of ``size``: 1296x968 at 512 is (1, 28, 36).

        How many ``images`` its row has is all one. Raises ValueError as ``fit`` does.
        """
        width, height = self.fit(size)
        return 1, height // self.patch_size, width // self.patch_size

    def tokens(self, grid: Grid) -> int:
        """Return the number of image tokens of a grid, one for every merged patch: (1, 28, 36) costs 252."""
        return self.patches(grid) // self.merge_size**2

    def patches(self, grid: Grid) -> int:
        """Return the number of patches of a grid."""
        return math.prod(grid[:3])

    def cut(self, image: Image.Image, grid: Grid) -> np.ndarray:
        """Return the image, resized, as ``[P, 3 * T * p * p]`` patches."""
        return self.patchify(np.asarray(image.resize(self.fit(image.size), Image.Resampling.BICUBIC)))

    def patchify(self, pixels_HW3: np.ndarray) -> np.ndarray:
        """Return ``[P, 3 * T * p * p]`` patches of an array whose sides are multiples of ``factor``; same dtype.

        P follows 2x2 merge blocks row by row; inside a patch: channel, time (the still repeated), row, column.
        """
        return self.cut_video(np.broadcast_to(pixels_HW3, (self.temporal_patch_size, *pixels_HW3.shape)))

    def showing(self, clip: Clip) -> Showing:
        """Return what is shown of a video; a grid of it has its step as a fourth number."""
        if self.video is None:
            return super().showing(clip)
        return showing(clip, self.video, self.patch_size, self.merge_size, self.temporal_patch_size)

    def cut_video(self, frames_FHW3: np.ndarray) -> np.ndarray:
        """Return ``[P, 3 * T * p * p]`` patches of frames, T at a time: those of ``patchify``, one after the other."""
        frames, height, width, channels = frames_FHW3.shape
        patch, merge, time = self.patch_size, self.merge_size, self.temporal_patch_size
        rows, columns = height // self.factor, width // self.factor
        blocks = frames_FHW3.reshape(frames // time, time, rows, merge, patch, columns, merge, patch, channels)
        return blocks.transpose(0, 2, 5, 3, 6, 8, 1, 4, 7).reshape(-1, self.patch_length)

    def positions(self, ids_L: np.ndarray, grids: Sequence[Grid], image_token_id: int, start: int = 0) -> np.ndarray:
        """Return int64 positions ``[3, L]`` of one row of tokens: time, row, column."""
        return grid_positions(ids_L, grids, image_token_id, self.merge_size, start)

    def ways_out(self, grids: Sequence[Grid]) -> list[str]:
        """Return what a user can do for images of these grids to cost fewer tokens."""
        images, videos = ([grid for grid in grids if (len(grid) > 3) is video] for video in (False, True))
        areas = [rows * columns * self.patch_size**2 for _, rows, columns in (grid[:3] for grid in images)]
        least = self.image_min_pixels
        grown = least is not None and min(areas, default=least * 2) < 1.25 * least  # sides are rounded
        return [
            *(["lower video_max_pixels, video_fps or video_maxlen"] if videos else []),
            *(super().ways_out(grids) if images else []),
            *(["lower image_min_pixels"] if grown else []),
        ]
