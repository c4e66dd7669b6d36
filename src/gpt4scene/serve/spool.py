"""The folder in which a server keeps images: only this user may read it, and it goes when the server does."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "gpt4scene-serve-"
"""How these folders begin, one a server, in the folder for temporary files."""
LOCK = "lock"


@contextmanager
def spool() -> Iterator[Path]:
    """Give an empty folder, removed at the end of the block. Those of servers that were killed are removed, too.

    A server holds a lock in its folder; the system lets go of it when the process ends, however it does.
    """
    place = Path(tempfile.gettempdir())
    for old in place.glob(f"{PREFIX}*"):
        _remove_left(old)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        with open(folder / LOCK, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / LOCK).exists():  # a server that began just now took it for one that was left
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


def _remove_left(folder: Path) -> None:
    """Remove a folder whose server is gone. One that is not ours, or just being made, is left alone."""
    try:
        with open(folder / LOCK) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return
