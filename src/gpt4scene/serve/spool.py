"""The folder in which a server keeps images: only this user may read it, and it goes when the server does."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gpt4scene.errors import DataError

PREFIX = "gpt4scene-serve-"
"""How these folders begin, one a server, in the folder for temporary files."""


@contextmanager
def spool() -> Iterator[Path]:
    """Give an empty folder, removed at the end of the block. Those of servers that were killed are removed, too.

    A server holds a lock on its folder; the system lets go of it when the process ends, however it does. While it is
    held, systemd-tmpfiles removes no old files there. Raises ``DataError`` where no folder can be made.
    """
    folder, lock = _made()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _made() -> tuple[Path, int]:
    """Return a new folder, and the open file that holds its lock."""
    try:
        for old in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            _remove_left(old)
        while True:
            folder = Path(tempfile.mkdtemp(prefix=PREFIX))
            with suppress(FileNotFoundError):  # a server that began just now took it for one that was left
                lock = _opened(folder)
                fcntl.flock(lock, fcntl.LOCK_SH)
                if folder.exists():
                    return folder, lock
                os.close(lock)
    except OSError as error:
        raise DataError(
            f"no folder for images can be made ({error}); let TMPDIR name one that can be written"
        ) from None


def _remove_left(folder: Path) -> None:
    """Remove a folder whose server is gone. One that is not ours is left alone."""
    with suppress(OSError):
        lock = _opened(folder)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
