"""Where the tokens of one request wait for its reply: bounded, since its client may read slowly."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from gpt4scene.inference.tokens import Token
from gpt4scene.serve.refusals import Refusal


class Inbox:
    """Holds up to ``most`` tokens; one more, and ``full`` is called once. All of it runs in the event loop.

    Where a reply needs no ``pieces``, only the first and the last token of an answer are kept, which hold all that it
    says: a token costs the loop almost nothing then.
    """

    def __init__(self, most: int, full: Callable[[], None], pieces: bool = True) -> None:
        self.most, self.pieces, self._full, self._overflowed = most, pieces, full, False
        self._tokens: deque[Token] = deque()
        self._failure: Refusal | None = None
        self._news = asyncio.Event()

    def put(self, token: Token) -> None:
        """Take a token; after an overflow nothing is kept any more."""
        if self._overflowed or not (self.pieces or token.last or token.prompt_tokens):
            return
        if len(self._tokens) >= self.most:
            self._overflowed = True
            self._tokens.clear()
            self._full()
        else:
            self._tokens.append(token)
        self._news.set()

    def fail(self, refusal: Refusal) -> None:
        """Let ``take`` raise this once what came before is taken."""
        self._failure = self._failure or refusal
        self._news.set()

    async def take(self) -> list[Token]:
        """Return all tokens that wait, at least one. Raises what ``fail`` got."""
        while not self._tokens:
            if self._failure is not None:
                raise self._failure
            self._news.clear()
            await self._news.wait()
        found = list(self._tokens)
        self._tokens.clear()
        return found
