"""An annotation folder as scorers and judges need it: boxes and companion files, each read once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from gpt4scene.errors import DataError
from gpt4scene.files.annotation import GROUND_TRUTH, PROPOSALS, read_attributes
from gpt4scene.files.answers import AnswerRow
from gpt4scene.metrics.boxes import PUBLISHED_EPSILON, SceneBoxes, iou

Content = TypeVar("Content")


@dataclass(frozen=True)
class Annotation:
    """The files of ``folder``, read when they are first asked for. ``DataError`` for missing and broken ones.

    ``folder`` is ``None`` where none is given; then whatever needs a file says so. What the caller has already takes
    the place of files: ``truth`` that of the true boxes, ``marked`` that of the boxes that answers name. ``beside`` are
    files of other folders that stand in by their name, ``made`` contents of files that are nowhere.
    """

    folder: Path | None
    truth: SceneBoxes | None = None
    marked: SceneBoxes | None = None
    beside: tuple[Path, ...] = ()
    made: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def proposals(self) -> SceneBoxes:
        """Boxes and labels of the marked objects, which answers name by number: the true ones where no file says."""
        if self.marked is not None:
            return self.marked
        if self.folder is None and self.truth is not None:
            return SceneBoxes(self.truth.scenes, self.truth.source, self.truth.labels)
        return read_attributes(self.file(PROPOSALS.format(split="val")))

    @cached_property
    def ground_truth(self) -> SceneBoxes:
        """Boxes and labels of the annotated objects."""
        if self.truth is not None:
            return self.truth
        return read_attributes(self.file(GROUND_TRUTH.format(split="val")))

    def file(self, name: str) -> Path:
        """Return the place of the file ``name``."""
        known = next((path for path in self.beside if path.name == name), None)
        if known is not None and not (self.folder is not None and (self.folder / name).is_file()):
            return known
        if self.folder is None:
            raise DataError(
                f"{name} is needed here; give the folder that holds it with --annotation_dir{self._or_boxes(name)}"
            )
        return self.folder / name

    def has(self, name: str) -> bool:
        """Return whether the file ``name`` is there, or its content made."""
        return name in self.made or self._on_disk(name)

    def _on_disk(self, name: str) -> bool:
        in_folder = self.folder is not None and (self.folder / name).is_file()
        return in_folder or any(path.name == name for path in self.beside)

    @staticmethod
    def _or_boxes(name: str) -> str:
        return ", or the true boxes with --boxes" if name == GROUND_TRUTH.format(split="val") else ""

    @cached_property
    def _contents(self) -> dict[str, Any]:
        return {}

    def companion(self, name: str, read: Callable[[Path], Content]) -> Content:
        """Return what ``read`` makes of the file ``name``, or what was made where there is no such file."""
        if name not in self._contents:
            made = name in self.made and not self._on_disk(name)
            self._contents[name] = self.made[name] if made else read(self.file(name))
        return self._contents[name]

    def overlap(self, row: AnswerRow, proposal: int) -> float:
        """Return the IoU of a proposal with the object that ``row`` is about."""
        first = self.proposals.row(row.scene_id, proposal, row.origin)
        second = self.ground_truth.row(row.scene_id, row.target, row.origin)
        return float(iou(first, second, PUBLISHED_EPSILON))

    def labels(self, scene: str) -> dict[int, str]:
        """Return the labels of a scene's proposals by number."""
        return dict(enumerate(self.proposals.labels.get(scene, ())))
