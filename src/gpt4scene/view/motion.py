"""Whether a person's browser draws slowly, told by how its camera's places arrive: one for each frame that it draws."""

from __future__ import annotations

from dataclasses import dataclass

SLOW = 0.25
"""Seconds between two frames from which on moving the camera is a trial."""
PAUSE = 3.0
"""Seconds after which the camera rested, rather than that a frame took so long."""
IN_A_ROW = 3
"""Slow frames, and no other between them, that make a browser slow. A fast one sends many places for each move."""


@dataclass(frozen=True)
class Pace:
    """How fast places of a camera arrive: when the last one did, in seconds, and how many slow frames led to it."""

    last: float | None = None
    gap: float = 0.0
    slow_frames: int = 0

    def after(self, now: float) -> Pace:
        """Return the pace when one more place has arrived at ``now``, in seconds of any clock."""
        gap = PAUSE + 1 if self.last is None else now - self.last
        if gap > PAUSE:
            return Pace(now)
        return Pace(now, gap, self.slow_frames + 1 if gap >= SLOW else 0)

    @property
    def slow(self) -> bool:
        """Whether the browser draws slowly."""
        return self.slow_frames >= IN_A_ROW

    @property
    def rest(self) -> float:
        """Seconds without a further place after which the camera rests."""
        return min(max(0.8, 2 * self.gap), PAUSE)
