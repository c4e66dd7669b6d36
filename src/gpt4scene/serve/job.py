"""One request on its way: what it holds, its answers as they grow, and how all of it is given back."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from gpt4scene.inference.tokens import Token
from gpt4scene.serve.choices import Choice, Head, usage_of
from gpt4scene.serve.inbox import Inbox
from gpt4scene.serve.refusals import Refusal


@dataclass
class Job:
    """A request whose answers the engine gives. ``numbers`` are those of its answers there, ``until`` its time limit.

    ``cancel`` takes numbers that the engine is to forget, ``end`` is called once with how the request ended, and
    ``failure`` says what the client is told of an error that ended its request alone. Nothing
    of the body is held, whose images may be tens of megabytes.
    """

    stream: bool
    counts_at_end: bool
    head: Head
    choices: Sequence[Choice]
    numbers: Sequence[int]
    inbox: Inbox
    started: float
    until: float
    cancel: Callable[[Sequence[int]], None]
    end: Callable[[Job, str], None]
    first: Callable[[Job], None]
    failure: Callable[[Exception], Refusal]
    prompt_tokens: int = 0
    cached_tokens: int = 0
    dropped: Callable[[], None] = field(default=lambda: None)

    @property
    def seconds_left(self) -> float:
        """Seconds until the time limit, 0 past it."""
        return max(0.0, self.until - time.monotonic())

    @property
    def usage(self) -> dict[str, object]:
        """How many tokens it took so far."""
        return usage_of(self.prompt_tokens, self.cached_tokens, sum(choice.tokens for choice in self.choices))

    async def progress(self) -> AsyncIterator[None]:
        """Yield whenever the answers have grown, until all are complete. Raises ``Refusal`` where one fails."""
        by_number = dict(zip(self.numbers, self.choices, strict=True))
        nothing_yet = True
        while any(choice.finish_reason is None for choice in self.choices):
            for token in await self.inbox.take():
                if token.error is not None:
                    raise self.failure(token.error)
                if nothing_yet:
                    nothing_yet = False
                    self.cached_tokens = token.cached_tokens
                    self.first(self)
                self._add(by_number[token.number], token)
            yield

    def _add(self, choice: Choice, token: Token) -> None:
        if choice.finish_reason is not None:
            return  # tokens that were on their way when the answer was stopped
        choice.add(token)
        if choice.finish_reason is not None and token.answer is None:
            self.cancel([token.number])
