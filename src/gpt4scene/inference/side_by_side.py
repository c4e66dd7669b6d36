"""Requests side by side: replies as they come, without a thread that keeps the process from ending."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gpt4scene.inference.reply import Reply
from gpt4scene.inference.requests import Requests, ServerRefusal, taken

Request = tuple[str, dict[str, Any]]
"""The name of a question and the body of its request."""

SILENCE_S = 30.0
"""So often a run says that it waits for the server."""


class SideBySide:
    """Sends requests, ``limit`` at a time. ``task`` stands in the errors, ``say`` takes lines about waiting."""

    def __init__(self, requests: Requests, task: str, limit: int, say: Callable[[str], None]) -> None:
        self.requests, self.task, self.limit, self.say = requests, task, limit, say
        self._results: queue.SimpleQueue[tuple[int, Reply | Exception] | None] = queue.SimpleQueue()

    def replies(self, asked: Sequence[Request]) -> Iterator[tuple[int, Reply | ServerRefusal]]:
        """Yield the place of a request in ``asked`` with its reply, as they come.

        A reply without words, such as a refusal, comes as its error. The first failure of the server is raised.
        """
        waiting = deque(enumerate(asked))
        working = min(self.limit, len(asked))
        for number in range(working):
            threading.Thread(target=self._work, args=(waiting,), name=f"request {number}", daemon=True).start()
        while working:
            try:
                item = self._results.get(timeout=SILENCE_S)
            except queue.Empty:
                ends = f"--timeout {self.requests.timeout:g} ends a request"
                self.say(f"{self.requests.base_url}: no reply for {SILENCE_S:.0f} s; {ends}")
                continue
            if item is None:
                working -= 1
                continue
            place, reply = item
            if isinstance(reply, Reply | ServerRefusal) and _is_word(reply):
                yield place, reply
            elif isinstance(reply, Exception):
                raise reply

    def received(self) -> Iterator[tuple[int, Reply]]:
        """Yield the replies that came and were not taken, for a caller who stops in between."""
        while True:
            try:
                item = self._results.get_nowait()
            except queue.Empty:
                return
            if item is not None and isinstance(item[1], Reply):
                yield item[0], item[1]

    def _work(self, waiting: deque[tuple[int, Request]]) -> None:
        """Send one request after another until none is left or the server has failed; then put None."""
        try:
            while not self.requests.closed.is_set() and (item := taken(waiting)) is not None:
                place, (name, body) = item
                reply = self._ask(name, body)
                self._results.put((place, reply))
                if not _is_word(reply):
                    return
        finally:
            self._results.put(None)

    def _ask(self, name: str, body: dict[str, Any]) -> Reply | Exception:
        try:
            return self.requests.ask(body, f"{self.requests.base_url}, {self.task}, question {name}")
        except Exception as error:  # of any kind: it belongs to the one who waits
            return error


def _is_word(reply: Reply | Exception) -> bool:
    """Return whether the server replied, be it without words of the model: a refusal, or reasoning alone."""
    return isinstance(reply, Reply) or (isinstance(reply, ServerRefusal) and reply.status == 200)
