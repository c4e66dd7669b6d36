"""One request to stop is one, although a launcher repeats it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

PASSED_ON = 10.0  # seconds in which a launcher passes a signal on, on a busy machine too


class Requests:
    """Tells a request to stop from the same one, passed on by a launcher.

    Slurm's SIGTERM reaches the launcher (torchrun, accelerate, deepspeed) and each of its processes, and so may a
    terminal's Ctrl-C; the launcher sends its own to them once more. Outside a launcher each signal is a request.
    """

    def __init__(self) -> None:
        self._latest: float | None = None

    def passed_on(self) -> bool:
        """Return whether a signal that came now is the request of before."""
        now = time.monotonic()
        if _launched() and self._latest is not None and now - self._latest < PASSED_ON:
            return True
        self._latest = now
        return False

    def before(self, handler: Callable) -> Callable:
        """Return a handler that hands new requests to ``handler``; outside a launcher, ``handler`` itself."""
        if not _launched():
            return handler

        def take(number: int, frame: object) -> None:
            if not self.passed_on():
                handler(number, frame)

        return take


def _launched() -> bool:
    return "LOCAL_RANK" in os.environ
