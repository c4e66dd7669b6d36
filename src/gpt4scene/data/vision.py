"""Images: how large they become, how many tokens that costs, and their pixels, for training and inference alike.

The rule is the one of public GPT4Scene inference: an image whose longest side passes ``image_resolution`` is
shrunk to it on paper, Qwen's smart resize rounds that to whole merged patches, and one bicubic step takes the original
straight to the result. Images are opened as stored: an EXIF orientation tag is not applied, because Qwen's own
loader (``Image.open(...).convert("RGB")``) and the released annotations do not apply it either.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from gpt4scene.errors import DataError
from gpt4scene.files.pixels import rgb, still
from gpt4scene.files.whole import read_json
from gpt4scene.types import Grid, Origin

Size = tuple[int, int]
"""Width and height in pixels."""

MAX_ASPECT = 200
"""Qwen's smart resize refuses images more elongated than this."""

LEAST_SIDE = 28
"""Shortest side in pixels that LLaMA-Factory's rule of the area leaves."""

READING_THREADS = 16
FILES_WORTH_THREADS = 64


@dataclass(frozen=True)
class VisionRule:
    """How an image becomes patches: the values of a checkpoint's image processor, and the user's ``image_resolution``.

    ``min_pixels`` and ``max_pixels`` bound the area after smart resize; ``mean`` and ``std`` are per channel, 0 to 1.
    Before that, ``image_resolution`` bounds the longest side, ``image_max_pixels`` and ``image_min_pixels`` the area;
    None is no bound.
    """

    patch_size: int = 14
    merge_size: int = 2
    temporal_patch_size: int = 2
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    min_pixels: int = 56 * 56
    max_pixels: int = 28 * 28 * 1280
    image_resolution: int | None = 512
    image_max_pixels: int | None = None
    image_min_pixels: int | None = None

    @property
    def factor(self) -> int:
        """Pixels that both sides must be a multiple of: one merged patch."""
        return self.patch_size * self.merge_size

    @property
    def patch_length(self) -> int:
        """Values of one flattened patch, 1176 for Qwen2-VL."""
        return 3 * self.temporal_patch_size * self.patch_size**2

    @classmethod
    def from_folder(
        cls,
        folder: str | os.PathLike,
        image_resolution: int | None = 512,
        image_max_pixels: int | None = None,
        image_min_pixels: int | None = None,
    ) -> VisionRule:
        """Read ``preprocessor_config.json`` (or ``processor_config.json``) of a checkpoint folder.

        Takes both spellings of the area bounds: ``min_pixels`` / ``max_pixels``, which win where both are given, and
        ``size: {shortest_edge, longest_edge}``. Raises DataError when neither file is there or readable, or a value
        is not one that this package computes.
        """
        config, path = _processor_config(Path(folder))
        for key, wanted in (("do_resize", True), ("do_rescale", True), ("do_normalize", True)):
            if config.get(key, wanted) is not wanted:
                raise DataError(f"{path}: '{key}: {config[key]}' is not supported; Qwen's processors say true")
        size = config.get("size") or {}
        defaults = cls()

        def bound(flat: str, nested: str, default: int) -> int:
            for value in (config.get(flat), size.get(nested), size.get(flat)):
                if value is not None:
                    return int(value)
            return default

        return cls(
            patch_size=int(config.get("patch_size", defaults.patch_size)),
            merge_size=int(config.get("merge_size", defaults.merge_size)),
            temporal_patch_size=int(config.get("temporal_patch_size", defaults.temporal_patch_size)),
            mean=_of_channels(config.get("image_mean") or defaults.mean),
            std=_of_channels(config.get("image_std") or defaults.std),
            min_pixels=bound("min_pixels", "shortest_edge", defaults.min_pixels),
            max_pixels=bound("max_pixels", "longest_edge", defaults.max_pixels),
            image_resolution=image_resolution,
            image_max_pixels=image_max_pixels,
            image_min_pixels=image_min_pixels,
        )


def _of_channels(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


def _processor_config(folder: Path) -> tuple[dict, Path]:
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        config = read_json(path, "description of the image processor")
        config = config.get("image_processor", config)
        if "patch_size" in config or name == "preprocessor_config.json":
            return config, path
    raise DataError(
        f"{folder}: no preprocessor_config.json in the model folder; "
        "copy the processor files of the base model into it (preprocessor_config.json, chat_template.json)"
    )


def _limited(size: Size, rule: VisionRule) -> Size:
    """Return the size that the user's limits leave of ``size``: the longest side first, then the area.

    The rule of the area is the one of LLaMA-Factory since 0.9.2 (``mm_plugin.py``, for Qwen2-VL): too large an area is
    shrunk, then too small a one grown, both by the root of the ratio, rounded down; no side is left below 28.
    """
    width, height = size
    if rule.image_resolution is not None and max(size) > rule.image_resolution:
        scale = rule.image_resolution / max(size)
        width, height = max(1, int(width * scale)), max(1, int(height * scale))
    if rule.image_max_pixels is not None and width * height > rule.image_max_pixels:
        scale = math.sqrt(rule.image_max_pixels / (width * height))
        width, height = max(1, int(width * scale)), max(1, int(height * scale))
    if rule.image_min_pixels is not None:
        if width * height < rule.image_min_pixels:
            scale = math.sqrt(rule.image_min_pixels / (width * height))
            width, height = int(width * scale), int(height * scale)
        width, height = max(width, LEAST_SIDE), max(height, LEAST_SIDE)
    return width, height


def fit(size: Size, rule: VisionRule) -> Size:
    """Return the width and height that an image of ``size`` is resized to, multiples of ``rule.factor``.

    Raises ValueError for an image more than 200 times as long as wide. 1296x968 at 512 gives 504x392.
    """
    width, height = _limited(size, rule)
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ValueError(f"an image of {size[0]}x{size[1]} is over {MAX_ASPECT} times as long as wide")
    factor = rule.factor
    new_width, new_height = round(width / factor) * factor, round(height / factor) * factor
    if new_width * new_height > rule.max_pixels:
        shrink = math.sqrt(height * width / rule.max_pixels)
        new_height = max(factor, math.floor(height / shrink / factor) * factor)
        new_width = max(factor, math.floor(width / shrink / factor) * factor)
    elif new_width * new_height < rule.min_pixels:
        grow = math.sqrt(rule.min_pixels / (height * width))
        new_height = math.ceil(height * grow / factor) * factor
        new_width = math.ceil(width * grow / factor) * factor
    return new_width, new_height


def grid(size: Size, rule: VisionRule) -> Grid:
    """Return (time, rows, columns) in patches of an image of ``size``: 1296x968 at 512 is (1, 28, 36).

    Raises ValueError as ``fit`` does.
    """
    width, height = fit(size, rule)
    return 1, height // rule.patch_size, width // rule.patch_size


def tokens(image: Grid, rule: VisionRule) -> int:
    """Return the number of image tokens of a grid, one for every merged patch: (1, 28, 36) costs 252."""
    time, rows, columns = image
    return time * rows * columns // rule.merge_size**2


class ImageSizes:
    """Remembers the size of every image asked for; files are opened for their header only, once each."""

    def __init__(self) -> None:
        self._sizes: dict[str, Size] = {}

    def __call__(self, path: str, origin: Origin | None = None) -> Size:
        """Return (width, height) as stored in the file. Raises DataError that names the file and ``origin``."""
        size = self._sizes.get(path)
        if size is None:
            with open_image(path, origin) as image:
                size = self._sizes[path] = _still(path, image, origin).size
        return size

    def read(self, paths: Iterable[str]) -> None:
        """Read many sizes at once: a disk far away takes long for each file, however short.

        What can't be read is left alone, for whoever asks for it to be told.
        """
        new = [path for path in dict.fromkeys(paths) if path not in self._sizes]
        if len(new) < FILES_WORTH_THREADS:
            return

        def read_some(start: int) -> None:
            for path in new[start : start + FILES_WORTH_THREADS]:
                with suppress(DataError):
                    self(path)

        with ThreadPoolExecutor(READING_THREADS) as pool:
            list(pool.map(read_some, range(0, len(new), FILES_WORTH_THREADS)))

    def grid(self, path: str, rule: VisionRule, origin: Origin | None = None) -> Grid:
        """Return the patch grid of the image at ``path`` without decoding it. Raises DataError."""
        try:
            return grid(self(path, origin), rule)
        except ValueError as error:
            raise error if isinstance(error, DataError) else _bad(path, origin, str(error)) from None


def open_image(path: str, origin: Origin | None = None) -> Image.Image:
    """Open an image lazily. Raises DataError for a missing or empty file and for one that is no image."""
    try:
        return Image.open(path)
    except FileNotFoundError:
        raise _bad(path, origin, "the file does not exist; check media_dir and dataset_dir") from None
    except UnidentifiedImageError:
        empty = os.path.getsize(path) == 0
        raise _bad(path, origin, "the file is empty" if empty else "the file is no image") from None
    except (OSError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise _bad(path, origin, f"the file can't be read ({error})") from None


def _still(path: str, image: Image.Image, origin: Origin | None) -> Image.Image:
    try:
        return still(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise _bad(path, origin, str(error)) from None


def _bad(path: str, origin: Origin | None, what: str) -> DataError:
    row = f" (needed by {origin})" if origin is not None else ""
    return DataError(f"image {path}{row}: {what}")


def patches(path: str, rule: VisionRule, origin: Origin | None = None) -> np.ndarray:
    """Return the image as uint8 patches ``[P, 3 * T * p * p]`` in the order that Qwen's vision tower reads.

    P follows 2x2 merge blocks row by row; inside a patch: channel, time (the still repeated), row, column. Raises
    DataError for a missing, truncated or unreadable file.
    """
    with open_image(path, origin) as image:
        try:
            resized = rgb(still(image)).resize(fit(image.size, rule), Image.Resampling.BICUBIC)
        except (OSError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
            raise _bad(path, origin, f"it can't be decoded ({error}); copy or render it again") from None
    return patchify(np.asarray(resized), rule)


def patchify(pixels_HW3: np.ndarray, rule: VisionRule) -> np.ndarray:
    """Return ``[P, 3 * T * p * p]`` patches of an array whose sides are multiples of ``rule.factor``; same dtype."""
    height, width, channels = pixels_HW3.shape
    patch, merge, time = rule.patch_size, rule.merge_size, rule.temporal_patch_size
    blocks = pixels_HW3.reshape(
        height // rule.factor, merge, patch, width // rule.factor, merge, patch, channels
    ).transpose(0, 3, 1, 4, 6, 2, 5)
    repeated = np.broadcast_to(blocks[:, :, :, :, :, None], (*blocks.shape[:5], time, patch, patch))
    return repeated.reshape(-1, rule.patch_length)


def image_pixels(
    paths: Sequence[str],
    grids: Sequence[Grid],
    rule: VisionRule,
    origins: Sequence[Origin | None] = (),
    threads: int = 1,
) -> np.ndarray:
    """Return the uint8 patches ``[P, 3*T*p*p]`` of several images; the last grids, without a path, are blank.

    ``threads`` images are decoded at a time: Pillow decodes and resizes outside of Python's lock. ``origins`` are the
    rows that the images are needed by. Raises DataError for a file that can't be decoded, or is no longer of the size
    that its grid says.
    """
    ends = np.cumsum([0, *map(math.prod, grids)])
    pixels = np.zeros((int(ends[-1]), rule.patch_length), dtype=np.uint8)

    def decode(index: int) -> None:
        origin = origins[index] if origins else None
        place, part = pixels[ends[index] : ends[index + 1]], patches(paths[index], rule, origin)
        if len(part) != len(place):
            needed = "" if origin is None else f" (needed by {origin})"
            raise DataError(
                f"image {paths[index]}{needed} has {len(part)} patches, but {len(place)} when its row was encoded: the "
                "file changed; start again so that rows and images agree"
            )
        place[:] = part

    if threads == 1:
        for index in range(len(paths)):
            decode(index)
    else:
        with ThreadPoolExecutor(threads, thread_name_prefix="images") as pool:
            list(pool.map(decode, range(len(paths))))
    return pixels
