"""Who is here: the talk of each visitor, and the scenes that visitors may ask about."""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gpt4scene.chat.asking import Said
from gpt4scene.errors import DataError
from gpt4scene.files.prepared import PreparedScene, read_prepared

MOST_VISITS = 500
"""Visitors that are remembered; the one that did nothing for the longest time is forgotten first."""
MOST_EXCHANGES = 50
"""Questions of a talk that are remembered."""


@dataclass
class Exchange:
    """A question and what came of it so far. ``state`` is a line for people while there is no answer yet."""

    question: str
    answer: str = ""
    thought: str = ""
    state: str = ""
    times: str = ""
    error: str = ""
    lit: list[int] = field(default_factory=list)


@dataclass(eq=False)
class Visit:
    """One visitor's page: the talk about the scene that is shown, and what was uploaded from there."""

    scene: str = ""
    talk: list[Exchange] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    stop_upload: threading.Event = field(default_factory=threading.Event)
    busy: bool = False
    uploads: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    def begin(self, question: str) -> Exchange:
        """Return a new exchange at the end of the talk."""
        self.stop.clear()
        exchange = Exchange(question)
        self.talk.append(exchange)
        del self.talk[:-MOST_EXCHANGES]
        return exchange

    def earlier(self) -> list[Said]:
        """Return the questions of the talk that have an answer."""
        return [Said(one.question, one.answer) for one in self.talk if one.answer and not one.error]


class Visits:
    """The visitors by the name of their session."""

    def __init__(self, scenes: Scenes) -> None:
        self._scenes, self._visits, self._lock = scenes, dict[str, Visit](), threading.Lock()

    def __len__(self) -> int:
        return len(self._visits)

    def of(self, session: str) -> Visit:
        """Return a visitor, who may be new."""
        with self._lock:
            visit = self._visits.pop(session, None) or Visit()
            self._visits[session] = visit  # behind all others
            idle = [name for name, one in self._visits.items() if not one.busy and one is not visit]
            forgotten = idle[: max(0, len(self._visits) - MOST_VISITS)]
        for name in forgotten:
            self.end(name)
        return visit

    def end(self, session: str) -> None:
        """Forget a visitor: what is answered for them stops, and their uploads are deleted."""
        with self._lock:
            visit = self._visits.pop(session, None)
        if visit is not None:
            visit.stop.set()
            visit.stop_upload.set()
            self._scenes.remove(visit.uploads)
            for folder in visit.folders:
                shutil.rmtree(folder, ignore_errors=True)


class Scenes:
    """The scenes by their keys: those that everybody may see, and uploads, whose keys only their visitor knows."""

    def __init__(self, records: Iterable[Path]) -> None:
        self._records = {str(number): record for number, record in enumerate(records)}
        self._read: dict[str, PreparedScene] = {}
        self._lock = threading.Lock()

    @property
    def public(self) -> list[tuple[str, str]]:
        """Names and keys of the scenes that everybody may see."""
        names = [record.parent.name for record in self._records.values()]
        twice = {name for name in names if names.count(name) > 1}
        return [
            (f"{name} ({record.parent.parent.parent.name})" if name in twice else name, key)
            for name, (key, record) in zip(names, self._records.items(), strict=True)
        ]

    def get(self, key: str) -> PreparedScene:
        """Return a scene, read when it is first wanted. Raises ``DataError`` for no scene and a damaged one."""
        with self._lock:
            scene = self._read.get(key)
            if scene is None:
                if key not in self._records:
                    raise DataError("this scene is not here any more; choose another one, or upload it again")
                scene = self._read[key] = read_prepared(self._records[key])
            return scene

    def add(self, scenes: Sequence[PreparedScene]) -> list[str]:
        """Take the scenes of an upload and return their keys, which nobody can guess."""
        keys = [secrets.token_urlsafe(16) for _ in scenes]
        with self._lock:
            self._read.update(zip(keys, scenes, strict=True))
        return keys

    def remove(self, keys: Iterable[str]) -> None:
        """Forget scenes of uploads."""
        with self._lock:
            for key in keys:
                self._read.pop(key, None)
