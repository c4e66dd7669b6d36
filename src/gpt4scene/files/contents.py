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

_DOUBT_NS = 2 * 10**9
"""A file this young, by its own clock, may be written again without a change of its times: the coarsest clock of a
file system (FAT) ticks every two seconds."""
_THREADS = 8

_State = tuple[int, int, int, int, int]


@dataclass
class Contents:
    """The identity of files by content: equal hashes are equal bytes, wherever the files lie and whatever their names.

    A file is read once; after that a look at its size and times is enough. It is read again when one of them differs,
    and, as git does with its index, when it was so young at the last reading that a later change may not show.
    """

    _known: dict[str, tuple[_State, bool, str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, path: str) -> str:
        """Return the hash of what ``path`` holds now, 32 hex digits. ``DataError`` where it can't be read."""
        try:
            state, young = _look(path)
            with self._lock:
                known = self._known.get(path)
            if known is not None and known[0] == state and not known[1]:
                return known[2]
            with open(path, "rb") as file:
                digest = hashlib.blake2b(file.read(), digest_size=16).hexdigest()
        except FileNotFoundError:
            raise DataError(f"image {path}: the file does not exist; check media_dir and dataset_dir") from None
        except OSError as error:
            raise DataError(f"image {path}: the file can't be read ({error.strerror})") from None
        with self._lock:
            self._known[path] = (state, young, digest)
        return digest

    def together(self, paths: Iterable[str]) -> str:
        """Return one hash, 16 hex digits, of several files in their order."""
        return hashlib.sha256("\n".join(map(self, paths)).encode()).hexdigest()[:16]

    def read_ahead(self, paths: Iterable[str]) -> None:
        """Take the hashes of many files side by side. Files that can't be read are left for ``__call__`` to name."""
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="hashes") as pool:
            for done in [pool.submit(self, path) for path in dict.fromkeys(paths)]:
                if (error := done.exception()) is not None and not isinstance(error, DataError):
                    raise error


def _look(path: str) -> tuple[_State, bool]:
    """Return what the file system says about a file, and whether it is too young for that to be enough."""
    found = os.stat(path)
    young = max(found.st_mtime_ns, found.st_ctime_ns) > time.time_ns() - _DOUBT_NS
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns), young
