"""Which way an object lies for somebody who stands at one object and faces, or turns the back to, another.

All triples of a room are decided at once. Angles are seen from above, counter-clockwise from where one looks, in
degrees: 0 is ahead, 90 to the left, 270 to the right. N objects that may be asked about, K limits of sectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpt4scene.geometry.boxes import Boxes

THIRDS = (("left", 0.0, 135.0), ("back", 135.0, 225.0), ("right", 225.0, 360.0))
QUARTERS = (
    ("front-left", 0.0, 90.0),
    ("back-left", 90.0, 180.0),
    ("back-right", 180.0, 270.0),
    ("front-right", 270.0, 360.0),
)
Sectors = tuple[tuple[str, float, float], ...]

KEEP = "keep"
STRADDLES = "the object reaches into another sector"
NEAR_LIMIT = "too near the limit of two sectors"
BEHIND = "behind one's back, which has no option"


@dataclass(frozen=True)
class DirectionRule:
    """How one level of the question decides.

    ``corners``: how many of the object's eight corners may lie in another sector than its centre. ``margin``: how many
    degrees the centre must be away from every limit. ``below_only``: the margin counts below a limit only, not above.
    ``backward``: one turns the back to the second object. ``without``: an answer that has no option.
    """

    sectors: Sectors
    margin: float
    corners: int = 2
    below_only: bool = False
    backward: bool = False
    without: str | None = None

    @property
    def options(self) -> tuple[str, ...]:
        """The answers that can be given."""
        return tuple(name for name, _, _ in self.sectors if name != self.without)


@dataclass(frozen=True, eq=False)
class Directions:
    """What is decided for every triple (stand at, face, ask for) of N objects.

    ``answers_NNN`` is the place of the answer in ``names``; ``reasons_NNN`` that of the reason in ``reasons``, whose
    first one is ``keep``. A triple that names an object twice has the reason -1.
    """

    names: tuple[str, ...]
    reasons: tuple[str, ...]
    answers_NNN: np.ndarray
    reasons_NNN: np.ndarray


def decide_directions(
    boxes: Boxes, rule: DirectionRule, pair_reasons: Sequence[str], pair_reasons_NN: np.ndarray
) -> Directions:
    """Return answer and reason for every triple of ``boxes``.

    ``pair_reasons_NN`` is 0 where two objects may stand in one question, else 1 + the place in ``pair_reasons``. The
    first reason found counts: pairs first, then the sectors of the corners, the margin, and an answer without option.
    """
    reasons = (KEEP, *pair_reasons, STRADDLES, NEAR_LIMIT, BEHIND)
    straddles, near, behind = (reasons.index(reason) for reason in (STRADDLES, NEAR_LIMIT, BEHIND))
    names = tuple(name for name, _, _ in rule.sectors)
    number = len(boxes)
    points_N92 = np.concatenate([boxes.centers_N3[:, None], boxes.corners_N83], axis=1)[:, :, :2]
    answers_NNN = np.zeros((number,) * 3, np.int8)
    reasons_NNN = np.full((number,) * 3, -1, np.int8)
    starts_K = np.array([start for _, start, _ in rule.sectors])
    for stand in range(number):
        way_N92 = points_N92 - boxes.centers_N3[stand, :2]
        bearing_N9 = np.degrees(np.arctan2(way_N92[..., 1], way_N92[..., 0]))
        ahead_N = bearing_N9[:, 0] + (180.0 if rule.backward else 0.0)
        angle_NN9 = (bearing_N9[None] - ahead_N[:, None, None]) % 360.0
        angle_NN9[angle_NN9 >= 360.0] = 0.0
        sector_NN9 = np.searchsorted(starts_K, angle_NN9, side="right") - 1
        center_NN = sector_NN9[..., 0]
        found_NN = np.where(names.index(rule.without) == center_NN, behind, 0) if rule.without else center_NN * 0
        found_NN = np.where(_margins(angle_NN9[..., 0], rule) < rule.margin, near, found_NN)
        strays_NN = (sector_NN9[..., 1:] != center_NN[..., None]).sum(axis=2) > rule.corners
        found_NN = np.where(strays_NN, straddles, found_NN)
        for pair_NN in (pair_reasons_NN, pair_reasons_NN[stand][None, :], pair_reasons_NN[stand][:, None]):
            found_NN = np.where(pair_NN > 0, pair_NN, found_NN)
        found_NN[np.arange(number), np.arange(number)] = -1
        found_NN[stand] = found_NN[:, stand] = -1
        answers_NNN[stand], reasons_NNN[stand] = center_NN, found_NN
    return Directions(names, reasons, answers_NNN, reasons_NNN)


def _margins(angle_NN: np.ndarray, rule: DirectionRule) -> np.ndarray:
    """Degrees from each angle to the nearest limit of a sector, or to the next one above."""
    limits_K = np.array([0.0, *(end for _, _, end in rule.sectors)])
    gaps_NNK = limits_K - angle_NN[..., None]
    if rule.below_only:
        return np.where(gaps_NNK > 0, gaps_NNK, np.inf).min(axis=2)
    return np.abs(gaps_NNK).min(axis=2)
