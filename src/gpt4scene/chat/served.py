"""Answers from an OpenAI-compatible server, as its stream brings them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from gpt4scene.chat.asking import Outcome, Piece, Pieces
from gpt4scene.files.thoughts import THINKING, THOUGHT
from gpt4scene.serve.thoughts import ThoughtFinder
from gpt4scene.types import Question

if TYPE_CHECKING:
    from gpt4scene.inference.decoding import GenerationSettings
    from gpt4scene.inference.streaming import StreamingEngine


class ServerAsker:
    """Asks the server behind ``engine``; the server decides what it keeps of a scene."""

    def __init__(self, engine: StreamingEngine, about: str) -> None:
        self.about, self._engine = about, engine
        self._knows: set[tuple[str, ...]] = set()
        self._lock = threading.Lock()

    def ask(self, question: Question, settings: GenerationSettings) -> Pieces:
        """Yield the answer piece by piece; closing the iterator ends the connection, and so the answer.

        Raises ``DataError`` with the server's words where it refuses, ``WorkError`` where it can't be reached.
        """
        start, first = time.monotonic(), 0.0
        thoughts, whole, thought = ThoughtFinder(), "", ""
        tokens = prompt = known = 0
        reason: str | None = None
        with self._lock:
            named = question.images in self._knows
        for delta in self._engine.stream(question, settings, named):
            first = first or (time.monotonic() - start if delta.text or delta.thought else 0.0)
            whole, thought = whole + delta.text, thought + delta.thought
            reason, tokens = delta.finish_reason or reason, delta.tokens or tokens
            prompt, known = delta.prompt_tokens or prompt, delta.known_tokens or known
            inside, text = thoughts.feed(delta.text)
            if inside or text or delta.thought:
                yield Piece(text, delta.thought + inside)
        with self._lock:
            self._knows.add(question.images)
        inside, text = thoughts.feed("", last=True)
        seconds = time.monotonic() - start
        said = f"{THINKING}{thought}{THOUGHT}{whole}" if thought else whole
        yield Piece(text, inside, Outcome(said, first or seconds, seconds, tokens, prompt, known, reason))

    def close(self) -> None:
        """Send nothing any more."""
        self._engine.requests.close()
