"""Room for requests: how many answers wait or run at a time, and when one that is refused should come again."""

from __future__ import annotations

import math
from collections import deque

from gpt4scene.serve.refusals import Refusal, busy

REMEMBERED = 64
LONGEST_WISH_S = 60


class Places:
    """Counts answers under way, ``most`` at a time. ``closed`` refuses all that come."""

    def __init__(self, most: int) -> None:
        self.most, self.taken, self.closed = most, 0, False
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)

    def take(self, number: int) -> None:
        """Take places for so many answers. Raises ``Refusal`` as ``check`` does."""
        self.check(number)
        self.taken += number

    def check(self, number: int) -> None:
        """Raise ``Refusal`` where there are not so many places: 429, or 503 when all is closed."""
        if self.closed:
            raise Refusal(503, "the server is stopping", code="stopping", retry_after=5, outcome="busy")
        if self.taken + number > self.most:
            message = f"{self.taken} answers wait or are being given, and {self.most} may; try again later"
            raise busy(message, self.wish)

    def give_back(self, number: int, seconds: float | None = None) -> None:
        """Give places back; ``seconds`` that an answered request took tell others when to come again."""
        self.taken -= number
        if seconds is not None:
            self._seconds.append(seconds)

    @property
    def wish(self) -> int:
        """Seconds after which a place may be free: what a request took of late."""
        mean = sum(self._seconds) / len(self._seconds) if self._seconds else 1.0
        return max(1, min(math.ceil(mean), LONGEST_WISH_S))
