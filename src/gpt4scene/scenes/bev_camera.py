"""The camera of the bird's-eye view: straight down, with an exact map from pixels to metres, and what its rays meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpt4scene.scans.types import SceneObject
from gpt4scene.scenes.normals import area_normals
from gpt4scene.scenes.pixels import all_pixels
from gpt4scene.scenes.render import Hits, Raycaster


@dataclass(frozen=True)
class BevCamera:
    """An orthographic camera that looks down. The middle of pixel (u, v) is the point
    ``x = x_left + (u + 0.5) * metres_per_pixel``, ``y = y_top - (v + 0.5) * metres_per_pixel`` of the aligned frame.

    Surfaces above ``cut_height`` are not seen; ``floor_height`` is where the floor was found.
    """

    x_left: float
    y_top: float
    metres_per_pixel: float
    width: int
    height: int
    cut_height: float
    floor_height: float

    def to_metres(self, pixels_N2: np.ndarray) -> np.ndarray:
        """Metres x and y, [N, 2], of pixels."""
        steps = (np.asarray(pixels_N2, dtype=np.float64) + 0.5) * self.metres_per_pixel
        return np.stack([self.x_left + steps[:, 0], self.y_top - steps[:, 1]], axis=1)

    def to_pixels(self, points_N2: np.ndarray) -> np.ndarray:
        """Pixels (float [N, 2]) of points x and y; the inverse of ``to_metres``."""
        points = np.asarray(points_N2, dtype=np.float64)
        steps = np.stack([points[:, 0] - self.x_left, self.y_top - points[:, 1]], axis=1)
        return steps / self.metres_per_pixel - 0.5

    def covers(self, item: SceneObject, pixels_N2: np.ndarray) -> np.ndarray:
        """Which pixels lie in the footprint of an object's box, bool [N]; at least its middle always does."""
        middle = np.rint(self.to_pixels(item.center[None, :2])[0])
        half = np.maximum(item.size[:2] / 2, self.metres_per_pixel)
        inside = (np.abs(self.to_metres(pixels_N2) - item.center[:2]) <= half).all(axis=1)
        return inside | (np.abs(pixels_N2 - middle) <= 1).all(axis=1)


def bev_hits(caster: Raycaster, bev: BevCamera, pixels_N2: np.ndarray | None = None) -> Hits:
    """First hits of rays that start at the cut height over pixels (fractions allowed; by default all, row by row).

    The undersides of surfaces more than 1.5 m above the floor are passed: these are ceilings seen from outside.
    """
    if pixels_N2 is None:
        pixels_N2 = all_pixels(bev.width, bev.height)
    places = bev.to_metres(pixels_N2)
    origins = np.concatenate([places, np.full((len(places), 1), bev.cut_height)], axis=1)
    down = np.array([0.0, 0.0, -1.0])
    hits = caster.cast(origins, np.broadcast_to(down, origins.shape))
    for _ in range(4):
        height = bev.cut_height - hits.depth
        high = np.nonzero(hits.found & (height > bev.floor_height + 1.5))[0]
        normals = area_normals(*caster.mesh.corners(hits.face[high]))
        turned = high[normals[:, 2] < -0.5 * np.linalg.norm(normals, axis=1)]
        if not len(turned):
            break
        again = origins[turned]
        again[:, 2] = height[turned] - 1e-3
        deeper = caster.cast(again, np.broadcast_to(down, again.shape))
        depth, face, weights = hits.depth.copy(), hits.face.copy(), hits.weights.copy()
        depth[turned] = deeper.depth + (bev.cut_height - again[:, 2])
        face[turned], weights[turned] = deeper.face, deeper.weights
        hits = Hits(depth.astype(np.float32), face, weights)
    return hits


def bev_points(bev: BevCamera, pixels_N2: np.ndarray, hits: Hits) -> np.ndarray:
    """Points [N, 3] of the aligned frame that the pixels show; NaN where nothing was met."""
    height = np.where(hits.found, bev.cut_height - hits.depth.astype(np.float64), np.nan)
    places = np.where(hits.found[:, None], bev.to_metres(pixels_N2), np.nan)
    return np.concatenate([places, height[:, None]], axis=1)
