"""The one thread that drives the engine: requests go in from the event loop, tokens come back to it."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from gpt4scene.inference.tokens import Request, Statistics, Token

Deliver = Callable[[list[Token]], None]
Failed = Callable[[Exception], None]


class Answering(Protocol):
    """What the thread drives: :class:`~gpt4scene.inference.scheduler.Scheduler`, or a test's stand-in."""

    def add(self, request: Request) -> None:
        """Take a request."""
        ...

    def cancel(self, number: int) -> None:
        """Let go of a request."""
        ...

    def step(self) -> list[Token]:
        """Do a piece of work; ``[]`` only where nothing is left to do."""
        ...

    def statistics(self) -> Statistics:
        """Return counts of prefixes."""
        ...

    def close(self) -> None:
        """End."""
        ...

    @property
    def waiting(self) -> int:
        """Requests without a token."""
        ...

    @property
    def running(self) -> int:
        """Requests with one."""
        ...


class EngineThread:
    """Runs ``scheduler``. ``deliver`` and ``failed`` are called in this thread, with tokens and with its last error."""

    def __init__(self, scheduler: Answering, deliver: Deliver, failed: Failed) -> None:
        self.scheduler = scheduler
        self._deliver, self._failed = deliver, failed
        self._work: queue.SimpleQueue[Request | int | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.failure: Exception | None = None

    @property
    def alive(self) -> bool:
        """Whether the engine can answer."""
        return self.failure is None and self._thread.is_alive()

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def add(self, requests: Sequence[Request]) -> None:
        """Let the engine answer these requests."""
        for request in requests:
            self._work.put(request)

    def cancel(self, numbers: Sequence[int]) -> None:
        """Let the engine forget these requests; tokens that are on their way may still come."""
        for number in numbers:
            self._work.put(number)

    def stop(self, wait_s: float) -> None:
        """End after the step that runs now, or be left to the end of the process after ``wait_s`` seconds."""
        self._work.put(None)
        self._thread.join(wait_s)

    def _run(self) -> None:
        try:
            idle = True
            while self._take(idle):
                tokens = self.scheduler.step()
                if tokens:
                    self._deliver(tokens)
                idle = not self.scheduler.waiting + self.scheduler.running
        except Exception as error:  # whatever it was, nobody must wait for an answer that can't come
            self.failure = error
            logging.getLogger(__name__).error("the engine has failed", exc_info=error)
            self._failed(error)
        finally:
            self.scheduler.close()

    def _take(self, wait: bool) -> bool:
        """Hand over what was asked for meanwhile, or ``wait`` for it; return False at the end."""
        while True:
            try:
                item = self._work.get(wait)
            except queue.Empty:
                return True
            wait = False
            if item is None:
                return False
            if isinstance(item, Request):
                self.scheduler.add(item)
            else:
                self.scheduler.cancel(item)
