"""One run at a time in an output folder: a second one would mix its checkpoints and logs with those of the first."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO

from gpt4scene.errors import DataError

NAME = ".occupied"
"""File in ``output_dir`` that a run keeps locked as long as it lives; it says nothing when nobody does."""


def occupy(output_dir: str | Path) -> IO[str] | None:
    """Return the locked file, to be closed when the run ends; None where the file system has no locks.

    Raises DataError where another run holds the folder. A lock ends with its process, however that ends.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        file = (folder / NAME).open("a", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise DataError(
                f"{folder}: another run is writing here at this moment; wait for its end, or choose another output_dir"
            ) from None
        except OSError:  # some network file systems
            file.close()
            return None
        if Path(file.name).exists() and os.path.samestat(os.fstat(file.fileno()), os.stat(file.name)):
            return file
        file.close()  # a run that ended meanwhile has taken its file away


def leave(place: IO[str] | None) -> None:
    """Give up what ``occupy`` returned; a folder that nothing was written into goes, too."""
    if place is None:
        return
    path = Path(place.name)
    with suppress(OSError):
        path.unlink()
        path.parent.rmdir()
    place.close()
