"""All scenes that can be shown: each is read when someone first looks at it, and its edits are shared by all."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gpt4scene.errors import DataError
from gpt4scene.files.prepared import PreparedScene, read_prepared
from gpt4scene.view.answers import SceneAnswer
from gpt4scene.view.geometry import Geometry, geometry_of
from gpt4scene.view.saving import default_file
from gpt4scene.view.shared import SharedBoxes, save_path

KEPT = 4
"""Scenes whose geometry stays in the memory."""


@dataclass(frozen=True)
class Room:
    """A scene with what is shown of it. ``name`` is that of its folder, which links and the list of scenes use."""

    name: str
    scene: PreparedScene
    geometry: Geometry
    boxes: SharedBoxes
    answers: tuple[SceneAnswer, ...]


@dataclass
class Rooms:
    """The scenes by name. ``scans`` are those of ``--scans``, ``save`` is ``--save``."""

    records: Mapping[str, Path]
    scans: Mapping[str, Path] = field(default_factory=dict)
    format_name: str = "posed"
    save: str | None = None
    answers: Mapping[str, Sequence[SceneAnswer]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _geometry: dict[str, Geometry] = field(default_factory=dict)
    _boxes: dict[str, SharedBoxes] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the scenes in the order in which they were named."""
        return tuple(self.records)

    def open(self, name: str) -> Room:
        """Return the room of scene ``name``; ``DataError`` where its files are broken."""
        with self._lock:
            scene = read_prepared(self.records[name])
            geometry = self._geometry.pop(name, None) or geometry_of(scene, self.scans, self.format_name)
            self._geometry[name] = geometry
            while len(self._geometry) > KEPT:
                del self._geometry[next(iter(self._geometry))]
            if name not in self._boxes:
                self._boxes[name] = SharedBoxes(scene, self._file(scene))
            return Room(name, scene, geometry, self._boxes[name], tuple(self.answers.get(name, ())))

    def edited(self) -> list[SharedBoxes]:
        """Return the boxes that were edited since the start."""
        return [boxes for boxes in self._boxes.values() if boxes.written or boxes.unsaved is not None]

    def _file(self, scene: PreparedScene) -> Path:
        return save_path(scene, self.save, len(self.records) > 1, default_file(scene))


def named(records: Sequence[Path]) -> dict[str, Path]:
    """Return the scenes by name; ``DataError`` where two have one name, which links could not tell apart."""
    found: dict[str, Path] = {}
    for record in records:
        name = record.parent.name
        if name in found:
            raise DataError(
                f"two scenes are called '{name}': {found[name].parent} and {record.parent}; name one of them"
            )
        found[name] = record
    return found
