"""What an image becomes, as an object: its size, its tokens, its patches, and the positions of its tokens.

A rule is read from a checkpoint's image processor (``image_rules``). Encoder, packs, positions, vision tower and
inference ask it, and know nothing else of a family's images. Nothing here imports torch.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gpt4scene.data.video_rule import Showing
from gpt4scene.errors import DataError
from gpt4scene.files.clips import Clip
from gpt4scene.types import Grid

Size = tuple[int, int]
"""Width and height in pixels."""

LEAST_SIDE = 28
"""Shortest side in pixels that LLaMA-Factory's rule of the area leaves."""


@dataclass(frozen=True)
class ImageRule(ABC):
    """How images become patches and tokens.

    ``mean`` and ``std`` are per channel, 0 to 1. ``image_resolution`` bounds the longest side of an image before
    anything else, ``image_max_pixels`` and ``image_min_pixels`` its area; None is no bound.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    image_resolution: int | None = 512
    image_max_pixels: int | None = None
    image_min_pixels: int | None = None

    @classmethod
    @abstractmethod
    def read(
        cls, config: Mapping[str, Any], path: Path, limits: Mapping[str, Any], model: Mapping[str, Any]
    ) -> ImageRule:
        """Return the rule of an image processor's ``config``, which stands in the file ``path``.

        ``limits`` are the user's, ``model`` is the checkpoint's ``config.json``. Raises DataError for a value that is
        not computed here.
        """

    @property
    @abstractmethod
    def patch_length(self) -> int:
        """Values of one flattened patch."""

    @property
    @abstractmethod
    def position_rows(self) -> int:
        """Numbers that are the position of one token."""

    @property
    @abstractmethod
    def blank(self) -> Grid:
        """The grid of the smallest image."""

    @abstractmethod
    def fit(self, size: Size) -> Size:
        """Return the width and height that an image of ``size`` is sent to a server in.

        What the rule makes of that image is what it makes of the one of ``size``. Raises ValueError for an image that
        it can't take.
        """

    @abstractmethod
    def grid(self, size: Size, images: int = 1) -> Grid:
        """Return the grid of an image of ``size``, one of so many of its row. Raises ValueError as ``fit`` does."""

    @abstractmethod
    def tokens(self, grid: Grid) -> int:
        """Return the number of image tokens of a grid."""

    @abstractmethod
    def patches(self, grid: Grid) -> int:
        """Return the number of patches of a grid, which are rows of pixels."""

    @abstractmethod
    def cut(self, image: Image.Image, grid: Grid) -> np.ndarray:
        """Return an RGB image as uint8 patches ``[P, patch_length]`` in the order that the vision tower reads.

        P need not be that of ``grid`` where the image is not of the size that the grid was made for.
        """

    @abstractmethod
    def positions(self, ids_L: np.ndarray, grids: Sequence[Grid], image_token_id: int, start: int = 0) -> np.ndarray:
        """Return int64 positions ``[R, L]`` of one row of tokens that begins at ``start``, R for each token.

        Raises ValueError when image tokens and grids disagree.
        """

    def showing(self, clip: Clip) -> Showing:
        """Return what is shown of a video. Raises ValueError where the family takes none, or not this one."""
        raise ValueError("videos are not read for models of this family; list frames as images")

    def cut_video(self, frames_FHW3: np.ndarray) -> np.ndarray:
        """Return the frames of ``showing``, resized, as uint8 patches ``[P, patch_length]``."""
        raise NotImplementedError("of rules whose showing is of use")

    def ways_out(self, grids: Sequence[Grid]) -> list[str]:
        """Return what a user can do for images of these grids to cost fewer tokens."""
        lower = [key for key in ("image_resolution", "image_max_pixels") if getattr(self, key) is not None]
        return [f"lower {' or '.join(lower)}" if lower else "set image_max_pixels"]

    def limited(self, size: Size) -> Size:
        """Return the size that the user's limits leave of ``size``: the longest side first, then the area.

        The rule of the area is the one of LLaMA-Factory since 0.9.2 (``mm_plugin.py``, for Qwen2-VL): too large an
        area is shrunk, then too small a one grown, both by the root of the ratio, rounded down; no side is left below
        28.
        """
        width, height = size
        if self.image_resolution is not None and max(size) > self.image_resolution:
            scale = self.image_resolution / max(size)
            width, height = max(1, int(width * scale)), max(1, int(height * scale))
        if self.image_max_pixels is not None and width * height > self.image_max_pixels:
            scale = math.sqrt(self.image_max_pixels / (width * height))
            width, height = max(1, int(width * scale)), max(1, int(height * scale))
        if self.image_min_pixels is not None:
            if width * height < self.image_min_pixels:
                scale = math.sqrt(self.image_min_pixels / (width * height))
                width, height = int(width * scale), int(height * scale)
            width, height = max(width, LEAST_SIDE), max(height, LEAST_SIDE)
        return width, height


def of_channels(values: Sequence[float]) -> tuple[float, float, float]:
    """Return three numbers, one a colour."""
    red, green, blue = values
    return red, green, blue


def refuse_switches(config: Mapping[str, Any], path: Path, whose: str) -> None:
    """Raise DataError where a processor leaves out a step that all rules take; ``whose`` processors take it."""
    for key in ("do_resize", "do_rescale", "do_normalize"):
        if config.get(key, True) is not True:
            raise DataError(f"{path}: '{key}: {config[key]}' is not supported; {whose} processors say true")
