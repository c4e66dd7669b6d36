"""Image files: their sizes, read from headers alone, and their pixels, for training and inference alike.

Where an image is named, a video may be (``files.media``); ``video`` has what is of videos alone.

Images are opened as stored: an EXIF orientation tag is not applied, because Qwen's own loader
(``Image.open(...).convert("RGB")``) and the released annotations do not apply it either.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from PIL import Image, UnidentifiedImageError

from gpt4scene.data.image_rule import ImageRule, Size
from gpt4scene.data.video import CHANGED, Clips, video_patches
from gpt4scene.errors import DataError
from gpt4scene.files.media import is_video
from gpt4scene.files.pixels import rgb, still
from gpt4scene.types import Grid, Origin

READING_THREADS = 16
FILES_WORTH_THREADS = 64


class ImageSizes:
    """Remembers the size of every image asked for; files are opened for their header only, once each."""

    def __init__(self) -> None:
        self._sizes: dict[str, Size] = {}
        self.clips = Clips()

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
        paths = list(dict.fromkeys(paths))
        self.clips.read(path for path in paths if is_video(path))
        new = [path for path in paths if path not in self._sizes and not is_video(path)]
        if len(new) < FILES_WORTH_THREADS:
            return

        def read_some(start: int) -> None:
            for path in new[start : start + FILES_WORTH_THREADS]:
                with suppress(DataError):
                    self(path)

        with ThreadPoolExecutor(READING_THREADS) as pool:
            list(pool.map(read_some, range(0, len(new), FILES_WORTH_THREADS)))

    def grid(self, path: str, rule: ImageRule, origin: Origin | None = None, images: int = 1) -> Grid:
        """Return the grid of the image at ``path``, one of so many of its row; its header is read. Raises DataError."""
        if is_video(path):
            return self.clips.showing(path, rule, origin).grid
        try:
            return rule.grid(self(path, origin), images)
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


def patches(path: str, rule: ImageRule, origin: Origin | None = None, grid: Grid | None = None) -> np.ndarray:
    """Return the image as uint8 patches ``[P, rule.patch_length]`` in the order that the vision tower reads.

    Without ``grid`` it is taken for the only image of its row. Raises DataError for a missing, truncated or unreadable
    file, and for one that is no longer of the size, or of the frames, that ``grid`` says.
    """
    if is_video(path):
        return video_patches(path, rule, origin, grid)
    with open_image(path, origin) as image:
        try:
            now = rule.grid(image.size)
            if grid is None or now[1:3] == grid[1:3]:  # the first number is not of the image alone
                return rule.cut(rgb(still(image)), grid or now)
        except (OSError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
            raise _bad(path, origin, f"it can't be decoded ({error}); copy or render it again") from None
    raise _bad(path, origin, CHANGED)


def image_pixels(
    paths: Sequence[str],
    grids: Sequence[Grid],
    rule: ImageRule,
    origins: Sequence[Origin | None] = (),
    threads: int = 1,
) -> np.ndarray:
    """Return the uint8 patches ``[P, rule.patch_length]`` of several images; the last grids, without a path, are blank.

    ``threads`` images are decoded at a time: Pillow decodes and resizes outside of Python's lock. ``origins`` are the
    rows that the images are needed by. Raises DataError for a file that can't be decoded, or is no longer of the size
    that its grid says.
    """
    ends = np.cumsum([0, *map(rule.patches, grids)])
    pixels = np.zeros((int(ends[-1]), rule.patch_length), dtype=np.uint8)

    def decode(index: int) -> None:
        origin = origins[index] if origins else None
        place, part = pixels[ends[index] : ends[index + 1]], patches(paths[index], rule, origin, grids[index])
        if len(part) != len(place):
            raise _bad(paths[index], origin, CHANGED)
        place[:] = part

    if threads == 1:
        for index in range(len(paths)):
            decode(index)
    else:
        with ThreadPoolExecutor(threads, thread_name_prefix="images") as pool:
            list(pool.map(decode, range(len(paths))))
    return pixels
