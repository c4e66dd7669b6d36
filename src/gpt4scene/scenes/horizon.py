"""What the cameras alone tell about up: people keep one axis of the images level, whichever way they turn around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpt4scene.scans.types import Camera

BLUR, TURNED = 0.05, 0.05
"""Share of the level axes' length along up from which the camera was rolled, and across below which it never turned."""
APART = 10.0
"""Degrees between the cameras' up and that of the level surfaces from which one of both is wrong."""


@dataclass(frozen=True)
class Horizon:
    """``axis`` is up or down, unit [3], as far as the level axes of all images are across it.

    ``blur`` is the share of their length along it, 0 where no camera was rolled; ``turned`` is the smaller share across
    it, 0 where the cameras never turned around, so that the axis means nothing.
    """

    axis: np.ndarray
    blur: float
    turned: float

    def apart(self, up: np.ndarray) -> float:
        """Degrees between the axis and ``up``, a unit vector, whichever sign the axis has."""
        return float(np.degrees(np.arccos(min(1.0, abs(float(self.axis @ up))))))


def horizon(cameras: Sequence[Camera], side: tuple[float, float]) -> Horizon:
    """The horizon of cameras whose images have up at ``side``, in image axes (x right, y down), or opposite of it."""
    x, y = side
    level = np.array([y * camera.pose[:3, 0] - x * camera.pose[:3, 1] for camera in cameras])
    shares, axes = np.linalg.eigh(level.T @ level / len(level))
    return Horizon(axes[:, 0], max(float(shares[0]), 0.0), float(shares[1]))
