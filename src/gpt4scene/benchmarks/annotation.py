"""An annotation folder as scorers and judges need it: boxes and companion files, each read once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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

    ``folder`` is ``None`` where none is given; then whatever needs a file says so.
    """

    folder: Path | None

    @cached_property
    def proposals(self) -> SceneBoxes:
        """Boxes and labels of the marked objects, which answers name by number."""
        return read_attributes(self.file(PROPOSALS.format(split="val")))

    @cached_property
    def ground_truth(self) -> SceneBoxes:
        """Boxes and labels of the annotated objects."""
        return read_attributes(self.file(GROUND_TRUTH.format(split="val")))

    def file(self, name: str) -> Path:
        """Return the place of the file ``name``."""
        if self.folder is None:
            raise DataError(f"{name} is needed here; give the folder that holds it with --annotation_dir")
        return self.folder / name

    def has(self, name: str) -> bool:
        """Return whether the folder holds the file ``name``."""
        return self.folder is not None and (self.folder / name).is_file()

    @cached_property
    def _contents(self) -> dict[str, Any]:
        return {}

    def companion(self, name: str, read: Callable[[Path], Content]) -> Content:
        """Return what ``read`` makes of the file ``name``."""
        if name not in self._contents:
            self._contents[name] = read(self.file(name))
        return self._contents[name]

    def overlap(self, row: AnswerRow, proposal: int) -> float:
        """Return the IoU of a proposal with the object that ``row`` is about."""
        first = self.proposals.row(row.scene_id, proposal, row.origin)
        second = self.ground_truth.row(row.scene_id, row.target, row.origin)
        return float(iou(first, second, PUBLISHED_EPSILON))

    def labels(self, scene: str) -> dict[int, str]:
        """Return the labels of a scene's proposals by number."""
        return dict(enumerate(self.proposals.labels.get(scene, ())))
