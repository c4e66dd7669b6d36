"""Requests in, tokens out: many questions of several scenes answered side by side.

A request waits until its images are decoded and there is room; requests with the same images share one prefix, which
is computed once. Every decoding step adds one token to each running branch, whatever scene it belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass

from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.types import Answer, Question


@dataclass(frozen=True)
class Request:
    """One question to answer once. ``number`` names it, and is the caller's to choose; no two may run at a time.

    ``question.images`` are paths that must stay as they are until the request's first token. ``sample`` numbers the
    answers to one question: each draws by itself. ``stream`` asks for a piece of text with every token.
    """

    number: int
    question: Question
    settings: GenerationSettings
    sample: int = 0
    stream: bool = False


@dataclass(frozen=True)
class Token:
    """One generated token of request ``number``, or the error that ended it.

    ``text`` is the piece of the answer that is certain by now, empty where the request does not stream. ``logprob`` and
    ``top`` (pairs of id and log-probability, likeliest first) are there where the settings ask for them. The last token
    carries ``finish_reason`` and ``answer``. ``error`` is set where the request can't be answered: no token follows,
    ``id`` is -1 and ``finish_reason`` says ``error``. ``prompt_tokens`` counts the prompt, images included, and
    ``cached_tokens`` those of its prefix where that was known already; both on the request's first token.
    """

    number: int
    id: int
    text: str = ""
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    finish_reason: str | None = None
    answer: Answer | None = None
    error: Exception | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0

    @property
    def last(self) -> bool:
        """Whether nothing more comes of this request."""
        return self.answer is not None or self.error is not None


@dataclass(frozen=True)
class Statistics:
    """What the prefixes of scenes did so far: found again, computed, and what is held now."""

    prefix_hits: int
    prefix_misses: int
    prefix_bytes: int
    prefixes: int


class Scheduler:
    """Answers requests with a model on this machine. ONE thread calls all methods; nothing here is thread-safe."""

    def add(self, request: Request) -> None:
        """Take a request; it waits until there is room. Encoding and decoding images begin in other threads."""
        raise NotImplementedError

    def cancel(self, number: int) -> None:
        """Let go of a request, waiting or running; none of its tokens comes any more. Unknown numbers are ignored."""
        raise NotImplementedError

    def step(self) -> list[Token]:
        """Do one piece of work and return the tokens that it made; ``[]`` only where nothing waits or runs.

        A piece is the prefill of one waiting scene, or one decoding step of all running branches.
        """
        raise NotImplementedError

    def statistics(self) -> Statistics:
        """Return counts of prefixes; whole numbers only, so any thread may ask."""
        raise NotImplementedError

    def close(self) -> None:
        """End the threads that decode images."""
        raise NotImplementedError

    @property
    def waiting(self) -> int:
        """Requests that have no token yet."""
        raise NotImplementedError

    @property
    def running(self) -> int:
        """Requests that are being answered."""
        raise NotImplementedError
