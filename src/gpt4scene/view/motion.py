"""Whether a person's browser draws slowly, told by how its camera's places arrive: one for each frame that it draws."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

RECENT = 6
"""Places that are looked at. Two frames often come at once and then none for long, so a few are needed."""
SLOW = 1.0
"""Seconds for these from which on moving the camera is a trial; the longest gap is left out, as a hand may rest."""
PAUSE = 10.0
"""Seconds after which the camera rested, rather than that a frame took so long."""
LEAST_REST, MOST_REST = 0.8, 3.0
"""Seconds without a further place after which all points are shown again."""


@dataclass(frozen=True)
class Pace:
    """When the last places of a camera arrived, in seconds of any clock."""

    times: tuple[float, ...] = ()

    def after(self, now: float) -> Pace:
        """Return the pace when one more place has arrived at ``now``."""
        paused = not self.times or now - self.times[-1] > PAUSE
        return Pace((now,)) if paused else Pace((*self.times, now)[-RECENT:])

    @property
    def slow(self) -> bool:
        """Whether the browser draws slowly."""
        gaps = self._gaps()
        return len(gaps) == RECENT - 1 and sum(gaps) - max(gaps) >= SLOW

    @property
    def rest(self) -> float:
        """Seconds without a further place after which the camera rests."""
        return min(max(LEAST_REST, 1.5 * max(self._gaps(), default=0.0)), MOST_REST)

    def _gaps(self) -> list[float]:
        return [later - sooner for sooner, later in pairwise(self.times)]
