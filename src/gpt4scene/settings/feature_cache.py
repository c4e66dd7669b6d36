"""What ``feature_cache`` says: how much of the vision tower's work is kept, and where."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gpt4scene.settings.coercion import BadValueError
from gpt4scene.settings.sizes import bytes_in, is_meant_as_size, is_size

FOLDER_LIMIT = 100 * 10**9
HELP = (
    "Where to keep what a frozen vision tower makes of images: auto (in an eighth of the free memory), off, a size of "
    "memory such as 8GB, a folder (which later runs use as well; at most 100GB), or FOLDER:SIZE."
)


@dataclass(frozen=True)
class FeatureCacheChoice:
    """Bytes of memory (None: chosen at the start of a run), and a folder with its limit in bytes."""

    memory: int | None = None
    folder: Path | None = None
    folder_limit: int = FOLDER_LIMIT

    @property
    def off(self) -> bool:
        """Whether nothing is kept."""
        return self.memory == 0 and self.folder is None


def feature_cache(text: str | bool) -> FeatureCacheChoice:
    """Return what ``text`` says: ``auto``, ``off``, a size, a folder, or ``FOLDER:SIZE``.

    Raises ``BadValueError`` for a word that is none of them; a folder is told by its slash, or by being there.
    """
    word = str(text).strip()
    if word.lower() in ("auto", "true", "yes", "on"):
        return FeatureCacheChoice()
    if word.lower() in ("off", "false", "no", "none", "0"):
        return FeatureCacheChoice(0)
    if is_size(word):
        return FeatureCacheChoice(bytes_in(word))
    place, colon, size = word.rpartition(":")
    limit = FOLDER_LIMIT
    if colon and is_size(size):
        word, limit = place, bytes_in(size)
    elif colon and is_meant_as_size(size):
        raise BadValueError(f"must end in a size such as 200GB, not '{size}', in '{text}'")
    folder = Path(word).expanduser()  # looked at by os.path, which takes a folder that may not be entered as none
    if not word or not ("/" in word or "\\" in word or os.path.isdir(folder)):
        raise BadValueError(f"must be auto, off, a size such as 8GB, or a folder (with a slash), not '{text}'")
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise BadValueError(f"names a file, {folder}; name a folder")
    return FeatureCacheChoice(None, folder, limit)


def feature_cache_problems(text: str | bool) -> list[str]:
    """Return what is wrong with the value of the key, as the words that follow its name."""
    try:
        feature_cache(text)
    except BadValueError as error:
        return [str(error)]
    return []
