"""What a file holds, told apart by a hash that is taken again only when the file may have changed."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from gpt4scene.errors import DataError
from gpt4scene.files.clips import files_of, is_listed
from gpt4scene.files.media import called, is_video
from gpt4scene.types import Content

_DOUBT_NS = 2 * 10**9
"""A file this young, by its own clock, may be written again without a change of its times: the coarsest clock of a
file system (FAT) ticks every two seconds."""
_THREADS = 8
_BLOCK = 1 << 22


@dataclass
class Contents:
    """The identity of files by content: equal hashes are equal bytes, wherever the files lie and whatever their names.

    A path may be the name of a video (``media``), whose files are taken together; its hash begins with ``v``. A file is
    read once; after that a look at its size and times is enough. It is read again when one of them differs,
    and, as git does with its index, when it was so young at the last reading that a later change may not show.
    """

    _known: dict[str, Content] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, path: str) -> str:
        """Return the hash of what ``path`` holds now, 32 hex digits. ``DataError`` where it can't be read."""
        return self.content(path).digest

    def content(self, path: str) -> Content:
        """Return what ``path`` holds now, in a form that ``learn`` takes. ``DataError`` where it can't be read."""
        try:
            state, young = _look(path)
            with self._lock:
                known = self._known.get(path)
            if known is not None and known.state == state and not known.young:
                return known
            digest = _video_digest(path) if is_video(path) else _digest(path)
        except FileNotFoundError:
            raise DataError(f"{called(path)}: the file does not exist; check media_dir and dataset_dir") from None
        except OSError as error:
            raise DataError(f"{called(path)}: the file can't be read ({error.strerror})") from None
        content = Content(digest, state, young)
        self.learn(path, content)
        return content

    def learn(self, path: str, content: Content) -> None:
        """Take over what another process found in ``path``."""
        with self._lock:
            self._known[path] = content

    def known(self, path: str) -> str | None:
        """Return the hash of what ``path`` holds now, or None where only reading it would tell."""
        with self._lock:
            known = self._known.get(path)
        if known is None or known.young:
            return None
        try:
            return known.digest if _look(path)[0] == known.state else None
        except (OSError, DataError):  # a folder of frames may have become empty
            return None

    def __getstate__(self) -> dict[str, object]:
        return {"_known": dict(self._known)}

    def __setstate__(self, state: dict[str, dict[str, Content]]) -> None:
        self._known, self._lock = state["_known"], threading.Lock()

    def together(self, paths: Iterable[str]) -> str:
        """Return one hash, 16 hex digits, of several files in their order."""
        return hashlib.sha256("\n".join(map(self, paths)).encode()).hexdigest()[:16]

    def read_ahead(self, paths: Iterable[str]) -> None:
        """Take the hashes of many files side by side. Files that can't be read are left for ``__call__`` to name."""
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="hashes") as pool:
            for done in [pool.submit(self, path) for path in dict.fromkeys(paths)]:
                if (error := done.exception()) is not None and not isinstance(error, DataError):
                    raise error


def _digest(path: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _video_digest(name: str) -> str:
    """Return the hash of a video's files in their order, which is that of no image.

    A list of frames, which is shown whole, has another one than their folder, of which a choice is shown.
    """
    digests = "\n".join([*map(_digest, files_of(name)), *(["listed"] if is_listed(name) else [])])
    return "v" + hashlib.blake2b(digests.encode(), digest_size=16).hexdigest()[1:]


def _look(path: str) -> tuple[tuple[int, ...], bool]:
    """Return what the file system says about a file, and whether it is too young for that to be enough."""
    state, young = [], False
    for file in files_of(path) if is_video(path) else [path]:
        found = os.stat(file)
        young |= max(found.st_mtime_ns, found.st_ctime_ns) > time.time_ns() - _DOUBT_NS
        state += [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
    return tuple(state), young
