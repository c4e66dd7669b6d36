"""What is known about the scenes that rows are made of, and the proposals that their objects are matched to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from gpt4scene.metrics.boxes import PUBLISHED_EPSILON, SceneBoxes, iou_matrix

NO_IMAGES = "scene without images"
NO_OWN_IMAGES = "images that were not found"
NO_BOXES = "scene without proposals or ground truth"
NO_PROPOSAL = "no proposal over the IoU"


@dataclass(frozen=True)
class Match:
    """A proposal and its IoU with the object that it was matched to."""

    proposal: int
    iou: float


@dataclass(frozen=True)
class Scenes:
    """Images in the order shown, proposals and ground-truth objects of all scenes.

    ``min_iou`` is the least IoU of a proposal that stands for an object in a training row. ``texts`` stand before the
    images of the scenes that have one.
    """

    images: Mapping[str, Sequence[str]]
    proposals: SceneBoxes
    ground_truth: SceneBoxes
    min_iou: float = 0.5
    texts: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _overlaps(self) -> dict[str, np.ndarray]:
        return {}

    def lacks(self, scene: str, *, boxes: bool) -> str | None:
        """Return why no row can be made about ``scene``, or ``None``. Without ``boxes`` images are enough."""
        if not self.images.get(scene):
            return NO_IMAGES
        if boxes and not (scene in self.proposals and scene in self.ground_truth):
            return NO_BOXES
        return None

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
