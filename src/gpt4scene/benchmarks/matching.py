"""Common ground of all benchmarks when rows are made: rooms, matched proposals, wordings, and what was dropped."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from typing import Any

import numpy as np
import yaml

from gpt4scene.metrics.boxes import PUBLISHED_EPSILON, SceneBoxes, iou_matrix

NO_IMAGES = "scene without images"
NO_BOXES = "scene without proposals or ground truth"
NO_PROPOSAL = "no proposal over the IoU"
SHARED_PROPOSAL = "two targets share a proposal"


@dataclass(frozen=True)
class TrainingRow:
    """A question about a scene and the answer to learn."""

    scene_id: str
    question: str
    answer: str


@dataclass
class Made:
    """Rows that were made (question-file rows or ``TrainingRow``), and how many were dropped for which reason."""

    rows: list[Any] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Match:
    """A proposal and its IoU with the object that it was matched to."""

    proposal: int
    iou: float


@dataclass(frozen=True)
class Rooms:
    """What is known about the scenes: images in the order shown, proposals, ground-truth objects."""

    images: Mapping[str, Sequence[str]]
    proposals: SceneBoxes
    ground_truth: SceneBoxes
    min_iou: float = 0.5

    @cached_property
    def _overlaps(self) -> dict[str, np.ndarray]:
        return {}

    def lacks(self, scene: str) -> str | None:
        """Return why no row can be made about ``scene``, or ``None``."""
        if not self.images.get(scene):
            return NO_IMAGES
        return None if scene in self.proposals and scene in self.ground_truth else NO_BOXES

    def overlap(self, scene: str) -> np.ndarray:
        """Return the IoU of every proposal with every ground-truth object of ``scene``, float64[N, G]."""
        if scene not in self._overlaps:
            pair = (self.proposals[scene], self.ground_truth[scene])
            self._overlaps[scene] = iou_matrix(*pair, epsilon=PUBLISHED_EPSILON)
        return self._overlaps[scene]

    def match(self, scene: str, target: int, origin: str) -> Match | None:
        """Return the proposal with the highest IoU with object ``target``, or ``None`` where none touches it.

        Raises ``DataError`` naming ``origin`` when the scene has no such object.
        """
        self.ground_truth.row(scene, target, origin)
        overlap_N = self.overlap(scene)[:, target]
        if not len(overlap_N) or overlap_N.max() <= 0:
            return None
        best = int(np.argmax(overlap_N))
        return Match(best, float(overlap_N[best]))

    def good_match(self, scene: str, target: int, origin: str) -> Match | None:
        """Return ``match`` where it meets ``min_iou`` (the rule for training rows), else ``None``."""
        found = self.match(scene, target, origin)
        return found if found and found.iou >= self.min_iou else None


@dataclass(frozen=True)
class Wordings:
    """The prompts of one task. ``choose`` draws from a seeded generator; without one the first is taken."""

    texts: tuple[str, ...]

    def choose(self, generator: random.Random | None, **fields: str) -> str:
        """Return a prompt with ``fields`` filled in."""
        text = generator.choice(self.texts) if generator else self.texts[0]
        return text.format(**fields)


class Drawing(random.Random):
    """A seeded generator whose ``choice`` draws from the first ``most`` values only; 0 draws from all."""

    def __init__(self, seed: str, most: int = 0) -> None:
        super().__init__(seed)
        self._most = most

    def choice(self, seq: Any) -> Any:
        """Return one of the first values of ``seq``."""
        return super().choice(seq[: self._most] if self._most else seq)


def wordings(task: str) -> Wordings:
    """Return the prompts of ``task`` from ``wordings.yaml``."""
    content = resources.files("gpt4scene.benchmarks").joinpath("wordings.yaml").read_text(encoding="utf-8")
    return Wordings(tuple(yaml.safe_load(content)[task]))


def spoken(answer: str) -> str:
    """Return a short answer as the model is to say it: capital first letter, full stop at the end."""
    answer = answer.strip()
    return answer[:1].upper() + answer[1:] + ("" if answer.endswith((".", "!", "?")) else ".")


def unstopped(description: str) -> str:
    """Return ``description`` without the full stop or question mark at its end."""
    return description.strip().rstrip(".?").rstrip()
