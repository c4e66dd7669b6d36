"""Videos of rows: their facts, read once each without decoding them, and their pixels, as vision towers read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import numpy as np
from PIL import Image

from gpt4scene.data.image_rule import ImageRule
from gpt4scene.data.video_rule import Showing
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.clips import Clip, clip, clip_frames
from gpt4scene.files.media import called, paths_of
from gpt4scene.types import Origin

READING_THREADS = 8

Found = TypeVar("Found")


class Clips:
    """Remembers the facts of every video asked for; its file is opened once."""

    def __init__(self) -> None:
        self._clips: dict[str, Clip] = {}

    def showing(self, name: str, rule: ImageRule, origin: Origin | None = None) -> Showing:
        """Return what ``rule`` shows of a video. Raises DataError that names it and ``origin``."""
        if name not in self._clips:
            self._clips[name] = _named(name, origin, lambda: clip(name))
        return _named(name, origin, lambda: rule.showing(self._clips[name]))

    def read(self, names: Iterable[str]) -> None:
        """Read the facts of many videos at once; what can't be read is left for whoever asks for it to be told."""
        new = [name for name in dict.fromkeys(names) if name not in self._clips]

        def read_one(name: str) -> None:
            with suppress(ValueError):
                self._clips[name] = clip(name)

        if len(new) > 1:
            with ThreadPoolExecutor(READING_THREADS, thread_name_prefix="videos") as pool:
                list(pool.map(read_one, new))


def video_patches(name: str, rule: ImageRule, origin: Origin | None = None) -> np.ndarray:
    """Return the frames that are shown of a video as uint8 patches ``[P, rule.patch_length]``; it is decoded here.

    Its facts are read anew. Raises DataError, that names it and ``origin``, for one that can't be decoded.
    """

    def read() -> np.ndarray:
        facts = clip(name)
        shown = rule.showing(facts)
        frames = [
            np.asarray(frame.resize(shown.size, Image.Resampling.BICUBIC))
            for frame in clip_frames(name, facts, shown.chosen)
        ]
        return rule.cut_video(np.stack(frames))

    return _named(name, origin, read)


def _named(name: str, origin: Origin | None, work: Callable[[], Found]) -> Found:
    """Return what ``work`` does; what is wrong with a video is said with its name and row."""
    try:
        return work()
    except ConfigError:
        raise
    except ValueError as error:
        row = f" (needed by {origin})" if origin is not None else ""
        reason = str(error).removeprefix(f"{paths_of(name)[0]}: ")
        raise DataError(f"{called(name)}{row}: {reason}") from None
