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
from gpt4scene.files.clips import Clip, clip, clip_frames, refuse_other_sizes
from gpt4scene.files.media import called, paths_of
from gpt4scene.types import Grid, Origin

READING_THREADS = 8
CHANGED = "the file changed after its row was encoded; start again so that rows and images agree"
"""What is said of an image or a video that is another one."""

Found = TypeVar("Found")


class Clips:
    """Remembers the facts of every video asked for, and what a rule shows of it; its file is opened once."""

    def __init__(self) -> None:
        self._clips: dict[str, Clip] = {}
        self._shown: dict[tuple[str, ImageRule], Showing] = {}

    def showing(self, name: str, rule: ImageRule, origin: Origin | None = None) -> Showing:
        """Return what ``rule`` shows of a video. Raises DataError that names it and ``origin``."""
        if name not in self._clips:
            self._clips[name] = _named(name, origin, lambda: clip(name))
        if (name, rule) not in self._shown:
            self._shown[name, rule] = _named(name, origin, lambda: self._first_shown(name, rule))
        return self._shown[name, rule]

    def _first_shown(self, name: str, rule: ImageRule) -> Showing:
        facts = self._clips[name]
        shown = rule.showing(facts)
        refuse_other_sizes(name, facts, shown.chosen)
        return shown

    def read(self, names: Iterable[str]) -> None:
        """Read the facts of many videos at once; what can't be read is left for whoever asks for it to be told."""
        new = [name for name in dict.fromkeys(names) if name not in self._clips]

        def read_one(name: str) -> None:
            with suppress(ValueError):
                self._clips[name] = clip(name)

        if len(new) > 1:
            with ThreadPoolExecutor(READING_THREADS, thread_name_prefix="videos") as pool:
                list(pool.map(read_one, new))


def video_patches(name: str, rule: ImageRule, origin: Origin | None = None, grid: Grid | None = None) -> np.ndarray:
    """Return the frames that are shown of a video as uint8 patches ``[P, rule.patch_length]``; it is decoded here.

    Its facts are read anew. Raises DataError, that names it and ``origin``, for one that can't be decoded, and for one
    of which something else is shown than ``grid`` says.
    """

    def read() -> np.ndarray:
        facts = clip(name)
        shown = rule.showing(facts)
        if grid is not None and not np.allclose(shown.grid, grid, rtol=1e-6):
            raise DataError(CHANGED)
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
