"""Which way is up: chosen among the sides of the images that people may hold upwards, by the surfaces of the room.

A phone that is held upright and stores landscape images has the room on its side in every image. Up is then not the
mean of the cameras' own up, but of another side. The side that is up on all images alike, whichever way a person turns
around, and above which level surfaces look like a floor, is the right one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gpt4scene.scans.types import Camera
from gpt4scene.scenes.horizon import APART, BLUR, TURNED, horizon

SIDES = {"top": (0.0, -1.0), "right": (1.0, 0.0), "bottom": (0.0, 1.0), "left": (-1.0, 0.0)}
"""Side of the stored images -> its direction in image axes (x right, y down)."""
AXES = {f"{sign}{name}": axis for name, axis in zip("xyz", np.eye(3), strict=True) for sign in ("", "-")}
AXES = {name: -axis if name.startswith("-") else axis for name, axis in AXES.items()}
"""Axis of the recording's world -> its direction."""
UPS = ("auto", *SIDES, *AXES)
"""What ``--up`` takes."""

SLAB, NEAR = 0.15, 1.2
"""Metres: how thick a floor may seem, and how far above it furniture stands."""
EYES = (0.1, 2.6)
"""Metres above the floor between which people and robots hold cameras."""
HANDS = (0.8, 2.1)
"""The same of people who hold a camera upside down."""
CLEAR = 0.25
"""Lead of the best score at which up is certain."""
TOPS = 0.7
"""What it counts that things stand below the cameras."""
USUAL = {"top": 0.2, "right": 0.0, "bottom": -0.8, "left": 0.0}
"""What a side scores because of how people hold cameras: seldom upside down."""
DOWN = 0.4
"""How far cameras look down (0 to 1) from which a floor must be seen."""
SEEN_FLOOR, SEEN_TOPS = 0.45, 0.03
"""Score of a floor, and tops of things for each area of level surfaces, that tell up where the cameras do not."""


@dataclass(frozen=True)
class Up:
    """A direction, the choice that it is (see ``UPS``), how well it fits, and by how much better than the next one.

    ``doubt`` says what speaks against it, empty where nothing does.
    """

    direction: np.ndarray
    name: str
    score: float = 1.0
    lead: float = 1.0
    doubt: str = ""

    @property
    def certain(self) -> bool:
        """Whether no other choice comes near, and nothing speaks against this one."""
        return self.lead >= CLEAR and not self.doubt


def up_of_side(cameras: Sequence[Camera], side: str) -> np.ndarray:
    """The mean direction [3] of a side of the images, as long as the cameras agree in it (0 to 1)."""
    x, y = SIDES[side]
    return np.mean([x * camera.pose[:3, 0] + y * camera.pose[:3, 1] for camera in cameras], axis=0)


def refined(up: np.ndarray, normals: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """``up`` turned to what the level surfaces near it say: floor and tables."""
    up = up / max(float(np.linalg.norm(up)), 1e-9)
    for spread in (30, 15, 5, 3):
        along = normals @ up
        near = np.abs(along) > np.cos(np.radians(spread))
        if areas[near].sum() < 0.02 * areas.sum():
            break
        up = (normals[near] * (np.sign(along[near]) * areas[near])[:, None]).sum(axis=0)
        up /= np.linalg.norm(up)
    return up


def choose_up(
    cameras: Sequence[Camera], normals: np.ndarray, areas: np.ndarray, centers: np.ndarray, wanted: str = "auto"
) -> Up:
    """Up of a scene whose surface has unit ``normals`` [N, 3], ``areas`` [N] and ``centers`` [N, 3] (metres)."""
    if wanted in AXES:
        return Up(refined(AXES[wanted], normals, areas), wanted)
    if not cameras:
        return Up(refined(np.array([0.0, 0.0, 1.0]), normals, areas), "z")
    if wanted in SIDES:
        return Up(refined(up_of_side(cameras, wanted), normals, areas), wanted)
    scored = []
    for side in SIDES:
        mean = up_of_side(cameras, side)
        up = refined(mean, normals, areas)
        scored.append((_score(up, float(np.linalg.norm(mean)), side, cameras, normals, areas, centers), side, up))
    scored.sort(key=lambda one: -one[0])
    (best, side, up), (second, _, _) = scored[:2]
    found = Up(up, side, best, best - second)
    return replace(found, doubt=_doubt(found, cameras, normals, areas, centers))


def _doubt(found: Up, cameras: Sequence[Camera], normals: np.ndarray, areas: np.ndarray, centers: np.ndarray) -> str:
    """Why a side may be wrong although no other one comes near; empty where cameras and room agree in it."""
    up, side = found.direction, found.name
    seen = horizon(cameras, SIDES[side])
    places = np.array([camera.pose[:3, 3] for camera in cameras])
    like_floor = _floor_score(up, places, normals, areas, centers)
    if seen.turned < TURNED:
        known = up[2] > np.cos(np.radians(5)) or like_floor >= SEEN_FLOOR
        return "" if known else "the cameras all look the same way, and nothing is surely a floor"
    if seen.blur > BLUR:
        return "the camera was turned on the way"
    if seen.apart(up) > APART:
        return f"the level surfaces lean by {seen.apart(up):.0f} degrees against the cameras"
    down = -float(np.mean([camera.pose[:3, 2] @ up for camera in cameras]))
    if like_floor == 0 and (side != "top" or down > DOWN or found.lead < 2 * CLEAR):
        return "nothing looks like a floor"
    if side == "top":
        return ""
    floor = _floor(up, normals, areas, centers)
    eyes = float(np.median(places @ up)) - floor
    if side == "bottom" and not HANDS[0] < eyes < HANDS[1]:
        return "the images would be upside down"
    heights, level = centers @ up, _level(up, normals)
    tops = level & (heights > floor + SLAB) & (heights < floor + max(eyes, 0) - SLAB)
    few = float(areas[tops].sum()) < SEEN_TOPS * float(areas[level].sum())
    return "nothing stands on what looks like a floor, which may be the ceiling" if few else ""


def _score(
    up: np.ndarray,
    agreement: float,
    side: str,
    cameras: Sequence[Camera],
    normals: np.ndarray,
    areas: np.ndarray,
    centers: np.ndarray,
) -> float:
    """How well ``up`` fits: the cameras agree in it, stay level, look down a little, and stand above a floor."""
    places = np.array([camera.pose[:3, 3] for camera in cameras])
    spread = places.std(axis=0).max() + 1e-6
    level = 1 - min(float((places @ up).std() / spread), 1.0)
    views = np.array([camera.pose[:3, 2] for camera in cameras])
    down = float(np.clip(-(views @ up).mean() * 2, -0.5, 0.5))
    floor = _floor_score(up, places, normals, areas, centers)
    stands = TOPS * _stands(up, places, normals, areas, centers)
    return 2 * agreement + 0.5 * level + down + 1.5 * floor + stands + USUAL[side]


def _stands(up: np.ndarray, places: np.ndarray, normals: np.ndarray, areas: np.ndarray, centers: np.ndarray) -> float:
    """-1 to 1: whether level surfaces between floor and ceiling are below the cameras, as tops of things mostly are."""
    level = _level(up, normals)
    heights, area = (centers @ up)[level], areas[level]
    if not len(heights):
        return 0.0
    low, high = np.percentile(heights, [2, 98])
    between = (heights > low + 2 * SLAB) & (heights < high - 2 * SLAB)
    below = between & (heights < np.median(places @ up))
    both = float(area[between].sum())
    return (2 * float(area[below].sum()) - both) / (both + 0.05 * float(area.sum()) + 1e-9)


def _floor_score(
    up: np.ndarray, places: np.ndarray, normals: np.ndarray, areas: np.ndarray, centers: np.ndarray
) -> float:
    """0 to 1: a large level surface with nearly all others above it, the cameras at a person's height over it."""
    heights, level = centers @ up, _level(up, normals)
    if not level.any():
        return 0.0
    floor = _floor(up, normals, areas, centers)
    above = float(areas[heights > floor - 1.5 * SLAB].sum() / areas.sum())
    eyes = float(np.median(places @ up)) - floor
    if not EYES[0] < eyes < EYES[1]:
        return 0.0
    clutter = ~level & (heights > floor + SLAB)
    near = clutter & (heights < floor + NEAR)
    low = float(areas[near].sum() / max(areas[clutter].sum(), 1e-9))
    return max(0.0, above - 0.5) * (0.5 + low) * min(1.0, 4 * float(areas[level].sum() / areas.sum()))


def _level(up: np.ndarray, normals: np.ndarray) -> np.ndarray:
    return np.abs(normals @ up) > np.cos(np.radians(12))


def _floor(up: np.ndarray, normals: np.ndarray, areas: np.ndarray, centers: np.ndarray) -> float:
    """Height of the lowest large level surface along ``up``, 0 where nothing is level."""
    level = _level(up, normals)
    if not level.any():
        return 0.0
    bins = np.floor((centers @ up)[level] / SLAB).astype(np.int64)
    sums = np.bincount(bins - bins.min(), weights=areas[level])
    sums = sums + np.pad(sums, 1)[2:]
    return float((bins.min() + int(np.argmax(sums >= 0.3 * sums.max())) + 0.5) * SLAB)
