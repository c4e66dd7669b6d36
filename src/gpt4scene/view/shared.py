"""The boxes of one scene as all people who look at it share them: edited one step at a time, and saved at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from gpt4scene.errors import DataError
from gpt4scene.files.prepared import PreparedScene
from gpt4scene.view.editing import Boxes, History
from gpt4scene.view.saving import open_boxes, save_boxes


class SharedBoxes:
    """The present boxes of ``scene`` with their history. Every step is written to ``path`` before it is shown.

    Edits of an earlier time that ``path`` holds are gone on with. Raises ``DataError`` where it holds something else.
    """

    def __init__(self, scene: PreparedScene, path: Path) -> None:
        self._scene = scene
        self._file, before = open_boxes(path, scene)
        self._history = History.of(scene.objects)
        if before is not None:
            self._history = self._history.after(f"edits of before, from {path.name}", before)
        self._lock = threading.RLock()
        self._listeners: dict[int, Callable[[], None]] = {}
        self._next = 0
        self._unsaved: str | None = None
        self._written = False

    @property
    def history(self) -> History:
        """The present state; it is a value, so it stays what it is."""
        return self._history

    @property
    def boxes(self) -> Boxes:
        """The present boxes."""
        return self._history.boxes

    @property
    def file(self) -> Path:
        """The file that holds the edits, or will."""
        return self._file.path

    @property
    def written(self) -> bool:
        """Whether edits were saved since the start."""
        return self._written

    @property
    def unsaved(self) -> str | None:
        """Why the present boxes are not in ``file``, ``None`` where they are or nothing was edited."""
        return self._unsaved

    def state(self) -> str:
        """Return one sentence that says whether there are edits and where they are."""
        if self._unsaved is not None:
            return f"NOT SAVED: {self._unsaved}. Your edits are kept while the program runs; press Save to try again."
        if self._written:
            return f"All edits are saved in {_short(self.file)}."
        if self._file.known is not None:
            return f"Shown with the edits of before, from {_short(self.file)}."
        return f"Nothing is edited. Each edit is saved at once in {_short(self.file)}."

    def edit(self, done: str, change: Callable[[Boxes], Boxes]) -> Boxes:
        """Do one step, save it, tell all who look at it, and return the boxes. ``DataError`` where it can't be done."""
        with self._lock:
            return self._become(self._history.after(done, change(self.boxes)))

    def undo(self) -> str | None:
        """Take the last step back and return what it was, ``None`` where there is none."""
        with self._lock:
            done = self._history.undo
            self._become(self._history.undone())
        return done

    def redo(self) -> str | None:
        """Do the step again that was taken back last and return what it is, ``None`` where there is none."""
        with self._lock:
            done = self._history.redo
            self._become(self._history.redone())
        return done

    def save(self) -> bool:
        """Write the present boxes, whether they changed or not; return whether that worked."""
        with self._lock:
            self._save()
        self._tell()
        return self._unsaved is None

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after each step; the function that is returned ends that."""
        with self._lock:
            number, self._next = self._next, self._next + 1
            self._listeners[number] = listener
        return lambda: self._listeners.pop(number, None) and None

    def _become(self, history: History) -> Boxes:
        if history is not self._history and history != self._history:
            self._history = history
            self._save()
            self._tell()
        return history.boxes

    def _save(self) -> None:
        try:
            self._file = save_boxes(self._file, self.boxes, self._scene)
            self._unsaved, self._written = None, True
        except (OSError, DataError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._unsaved = f"{self.file}: {why}"

    def _tell(self) -> None:
        for listener in list(self._listeners.values()):
            listener()


def _short(path: Path) -> Path:
    """Return the path from the working directory where it lies in there, else the whole one."""
    whole, here = path.absolute(), Path.cwd()
    return whole.relative_to(here) if whole.is_relative_to(here) else whole


def save_path(scene: PreparedScene, save: str | None, several: bool, default: Path) -> Path:
    """Return the file for the edits of ``scene``: ``save``, or ``<scene>.json`` in that folder for several scenes."""
    if save is None:
        return default
    path = Path(save)
    if several or path.is_dir() or save.endswith(os.sep):
        return path / f"{scene.scene_id.replace('/', '_')}.json"
    return path
