"""A line of people: so many are served at a time, the others wait in order and see their place."""

from __future__ import annotations

import threading
from collections import deque

from gpt4scene.errors import WorkError


class Line:
    """Serves ``limit`` people at a time, while ``most`` wait; any thread may join."""

    def __init__(self, limit: int, most: int) -> None:
        self.limit, self.most = limit, most
        self._served: set[Ticket] = set()
        self._waiting: deque[Ticket] = deque()
        self._changed = threading.Condition()

    def join(self) -> Ticket:
        """Return a place at the end of the line. Raises ``WorkError`` where too many wait."""
        with self._changed:
            if len(self._waiting) >= self.most:
                raise WorkError(f"{len(self._waiting)} people are waiting already; ask again in a minute")
            ticket = Ticket(self)
            self._waiting.append(ticket)
            self._serve()
            return ticket

    def place(self, ticket: Ticket) -> int:
        """Return how many are before a ticket in the line, itself counted: 0 when it is its turn."""
        with self._changed:
            return 0 if ticket in self._served else self._waiting.index(ticket) + 1

    def wait(self, ticket: Ticket, seconds: float) -> int:
        """Return the place as soon as it changes, or after ``seconds``."""
        before = self.place(ticket)
        with self._changed:
            self._changed.wait_for(lambda: ticket in self._served or self._index(ticket) + 1 < before, seconds)
        return self.place(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Let the next one come; leaving twice is nothing."""
        with self._changed:
            self._served.discard(ticket)
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            self._serve()

    def _index(self, ticket: Ticket) -> int:
        return self._waiting.index(ticket)

    def _serve(self) -> None:
        while self._waiting and len(self._served) < self.limit:
            self._served.add(self._waiting.popleft())
        self._changed.notify_all()


class Ticket:
    """A place in a line, given up at the end of a ``with`` block."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def wait(self, seconds: float) -> int:
        """Return the place once it changes, or after ``seconds``; 0 when it is one's turn."""
        return self._line.wait(self, seconds)

    @property
    def place(self) -> int:
        """The place in the line; 0 when it is one's turn."""
        return self._line.place(self)

    def __enter__(self) -> Ticket:
        return self

    def __exit__(self, *error: object) -> None:
        self._line.leave(self)
