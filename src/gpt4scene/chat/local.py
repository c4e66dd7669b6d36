"""Answers from a model on this machine: one thread runs it, and any number of threads ask."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gpt4scene.chat.asking import TASK, Outcome, Piece, Pieces
from gpt4scene.errors import ConfigError, DataError, WorkError
from gpt4scene.inference.tokens import Request, Token
from gpt4scene.serve.engine_thread import EngineThread
from gpt4scene.serve.thoughts import ThoughtFinder
from gpt4scene.types import Question

if TYPE_CHECKING:
    from gpt4scene.inference.decoding import GenerationSettings
    from gpt4scene.serve.run import Loaded

LAST_STEP_S = 10.0
"""So long the end waits for the step that runs."""

Inbox = queue.SimpleQueue["Token | Exception"]


class LocalAsker:
    """Answers with ``loaded``, whose scheduler keeps the images of a scene, so that its next question costs little."""

    def __init__(self, loaded: Loaded, about: str) -> None:
        self.about = about
        self._opened = bool(loaded.encoder.template.thought_opening)
        self._numbers, self._lock = itertools.count(1), threading.Lock()
        self._inboxes: dict[int, Inbox] = {}
        self._engine = EngineThread(loaded.scheduler, self._deliver, self._failed)
        self._engine.start()

    def ask(self, question: Question, settings: GenerationSettings) -> Pieces:
        """Yield the answer piece by piece; closing the iterator stops it.

        Raises ``DataError`` for a question that can't be asked, ``WorkError`` where the engine fails.
        """
        inbox: Inbox = queue.SimpleQueue()
        start = time.monotonic()
        with self._lock:
            number = next(self._numbers)
            self._inboxes[number] = inbox
        if self._engine.failure is not None:
            self._failed(self._engine.failure)
        ended = False
        try:
            self._engine.add([Request(number, question, settings, stream=True)])
            for piece in _pieces(inbox, start, ThoughtFinder(self._opened)):
                ended = piece.outcome is not None
                yield piece
        finally:
            with self._lock:
                del self._inboxes[number]
            if not ended:
                self._engine.cancel([number])

    def close(self) -> None:
        """End after the step that runs now; whoever waits for an answer gets an error."""
        self._engine.stop(LAST_STEP_S)
        self._failed(WorkError("the program is stopping"))

    def _deliver(self, tokens: list[Token]) -> None:
        with self._lock:
            for token in tokens:
                if inbox := self._inboxes.get(token.number):
                    inbox.put(token)

    def _failed(self, error: Exception) -> None:
        with self._lock:
            for inbox in self._inboxes.values():
                inbox.put(error)


def _pieces(inbox: Inbox, start: float, thoughts: ThoughtFinder) -> Iterator[Piece]:
    """Yield the pieces of one answer, whose tokens come into ``inbox``."""
    first = prompt = known = 0
    while True:
        token = inbox.get()
        if isinstance(token, Exception):
            raise _for_people(token)
        if token.error is not None:
            raise _for_people(token.error)
        seconds = time.monotonic() - start
        first = first or seconds
        prompt, known = prompt or token.prompt_tokens, known or token.cached_tokens
        thought, text = thoughts.feed(token.text, token.last)
        if token.answer is None:
            if thought or text:
                yield Piece(text, thought)
            continue
        answer = token.answer
        outcome = Outcome(answer.text, first, seconds, answer.tokens, prompt, known, token.finish_reason)
        yield Piece(text, thought, outcome)
        return


def _for_people(error: Exception) -> Exception:
    """Return the error as one that names a way out."""
    said = str(error).removeprefix(f"{TASK}, row 0: ")
    if isinstance(error, (DataError, ConfigError)):
        return DataError(said)
    if isinstance(error, WorkError):
        return WorkError(said)
    if type(error).__name__ == "OutOfMemoryError":
        return WorkError("the memory ran out; start again with a lower --image_resolution or --branch_limit")
    return WorkError(f"the engine has failed ({type(error).__name__}: {said}); start the program again")
