"""Requests to an OpenAI-compatible server: tried again where that helps, and failures in the server's own words."""

from __future__ import annotations

import json
import math
import os
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, TypeVar

from gpt4scene.errors import ConfigError, DataError, WorkError
from gpt4scene.inference.reply import NoAnswer, Reply, read_reply, text_of, words_of

Say = Callable[[str], None]
Item = TypeVar("Item")

TIMEOUT_S = 600.0
"""A request may take this long."""
RETRIES = 10
"""Further tries; their pauses (1, 2, 4, 8, 16, 30, 30, … seconds) outlast three minutes: a server starts in less."""
LONGEST_PAUSE_S, LONGEST_WISH_S = 30.0, 300.0
FEW_TRIES = 2
"""Further tries after a time-out, an error inside the server, or a reply without an answer: the next rarely differs."""
KEEP_S = 3.0
"""A connection without work is kept this long: servers end it after five seconds, which must not meet a request."""
TIMED_OUT = -1
"""In place of a status: no reply came in time."""
HINTS: Mapping[int, str] = MappingProxyType(
    {
        401: "OPENAI_API_KEY holds the key that is sent",
        403: "OPENAI_API_KEY holds the key that is sent",
        404: "check --base_url, which mostly ends in /v1, and --model",
        405: "check --base_url, which mostly ends in /v1",
        413: "lower --image_resolution, or let the server take larger requests",
    }
)
"""The way out of a refusal whose status tells it."""
_AWAY = (0, 502, 503, 504)
_ASKED_ANEW = (301, 302, 303)
"""Redirects after which clients ask without the body of the request."""
_RARELY_PASSING = frozenset({TIMED_OUT, 200, 500})
SHORT_REFUSED = frozenset({400, 404, 422, 500})
"""Statuses with which a server may refuse the short form of a request."""
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})


class ServerFailure(Exception):
    """A request failed: ``words`` are a sentence's end, ``status`` the HTTP status or 0. ``tries`` bounds repeats."""

    def __init__(self, words: str, tries: int, status: int = 0, pause: float | None = None) -> None:
        self.words, self.tries, self.status, self.pause = words, tries, status, pause
        super().__init__(words)


class Requests:
    """Sends requests to ``base_url``. ``close`` lets threads that wait between tries give up.

    Args:
        base_url: such as ``http://localhost:8000/v1``.
        timeout: seconds that a request may take.
        retries: further tries after failures that pass: 429, 502 to 504, a lost connection.
        say: takes a line on each failure that is tried again.

    ``lost`` counts connections that failed or led nowhere: another server may answer since. ``short_taken`` and
    ``short_refused`` count requests in their short form. The key, where the server wants one, is read from
    ``OPENAI_API_KEY``; ``ConfigError`` where no header can hold it.
    """

    def __init__(
        self, base_url: str, timeout: float = TIMEOUT_S, retries: int = RETRIES, say: Say | None = None
    ) -> None:
        import httpx

        self.base_url, self.timeout, self.retries = base_url, min(timeout, threading.TIMEOUT_MAX), retries
        self.say: Say = say or (lambda line: None)
        self.closed = threading.Event()
        self.lost = self.short_taken = self.short_refused = 0
        self._said: set[tuple[int, str]] = set()
        """Tries and failures that were said since the last reply, so that many requests say them once."""
        key = os.environ.get("OPENAI_API_KEY", "").strip() or "none"
        if not (key.isascii() and key.isprintable()):
            raise ConfigError("OPENAI_API_KEY holds letters that no key has; set it to the key alone")
        self._address = base_url.rstrip("/")
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            timeout=self.timeout,
            follow_redirects=True,
            limits=httpx.Limits(keepalive_expiry=KEEP_S),
        )

    def close(self) -> None:
        """Send nothing any more; requests under way are left to themselves."""
        self.closed.set()

    def ask(
        self, body: dict[str, Any] | Sequence[bytes], where: str, few: int = FEW_TRIES, short: Sequence[bytes] = ()
    ) -> Reply:
        """Return the answer to a chat request, whose keys are those of the API, or whose JSON comes in pieces.

        ``DataError`` with ``where`` and the server's words where the reply holds none or the request is refused. A
        lost connection or a server that stays too busy is a ``WorkError``. ``few`` bounds further tries after a
        time-out, an error inside the server or an odd reply. ``short`` is a smaller form of the same request that is
        sent first; the server may refuse it, and gets ``body`` then.
        """
        pieces = [json.dumps(body).encode()] if isinstance(body, dict) else body

        def send() -> Reply:
            if short:
                try:
                    reply = read_reply(self._posted(short))
                except ServerFailure as failure:
                    if failure.status not in SHORT_REFUSED:
                        raise
                    self.short_refused += 1
                else:
                    self.short_taken += 1
                    return reply
            return read_reply(self._posted(pieces))

        return self._repeated(send, where, few)

    def _posted(self, pieces: Sequence[bytes]) -> str:
        """Return the body of the reply to a chat request. The pieces are sent as they are, without a copy of all."""
        size = {"Content-Length": str(sum(map(len, pieces)))}
        address = f"{self._address}/chat/completions"
        return self._sent(lambda: self._client.post(address, content=list(pieces), headers=size))

    @contextmanager
    def streamed(self, pieces: Sequence[bytes], where: str) -> Iterator[Iterator[str]]:
        """Give the lines of the reply to a chat request as they come; the end of the block closes the connection.

        Nothing is tried again: a person reads along. Raises what ``ask`` raises.
        """
        import httpx

        size, address = {"Content-Length": str(sum(map(len, pieces)))}, f"{self._address}/chat/completions"
        try:
            with self._client.stream("POST", address, content=list(pieces), headers=size) as response:
                _check_moved(response)
                if not response.is_success:
                    response.read()
                    raise _refused(response)
                yield response.iter_lines()
        except ServerFailure as failure:
            raise _error(failure, f"{where}: {failure.words}") from None
        except httpx.TimeoutException:
            raise WorkError(f"{where}: the server said nothing for {self.timeout:g} s (--timeout)") from None
        except httpx.RequestError as error:
            raise WorkError(f"{where}: {_unreached(error)}") from None

    def models(self) -> str | None:
        """Return the body of ``/models``, None where the server has no such list; ``WorkError`` as ``ask`` does."""
        where = self.base_url
        try:
            return self._repeated(
                lambda: self._sent(lambda: self._client.get(f"{self._address}/models")),
                where,
                FEW_TRIES,
                refused=0,
            )
        except ServerRefusal as refusal:
            if refusal.status in (404, 405, 501):
                return None
            raise

    def _repeated(self, send: Callable[[], Any], where: str, few: int, refused: int | None = None) -> Any:
        """Call ``send`` until it succeeds or has failed too often. ``refused`` bounds tries without a connection."""
        rare = 0
        for number in range(self.retries + 1):
            try:
                found = send()
                self._said.clear()
                return found
            except NoAnswer as odd:
                failure = ServerFailure(str(odd), self.retries if odd.again else 0, 0 if odd.stopped else 200)
            except ServerFailure as error:
                failure = error
            self.lost += failure.status in _AWAY
            limit = min(self.retries, failure.tries)
            if failure.status in _RARELY_PASSING:
                rare += 1
                limit = min(limit, number + 1 + few - rare)
            if failure.status == 0 and refused is not None:
                limit = min(limit, refused)
            if number >= limit or self.closed.is_set():
                tried = f" (tried {number + 1} times)" if number else ""
                raise _error(failure, f"{where}: {failure.words}{tried}")
            pause = _pause(number, failure.pause)
            if (number, failure.words) not in self._said:
                self._said.add((number, failure.words))
                self.say(f"{where}: {failure.words}; trying again in {pause:.0f} s ({number + 1} of {limit})")
            if self.closed.wait(pause):
                raise WorkError(f"{where}: {failure.words}")
        raise AssertionError("the last try returns or raises")

    def _sent(self, send: Callable[[], Any]) -> str:
        """Return the body of a reply with a good status; raise ``ServerFailure`` for everything else."""
        import httpx

        try:
            response = _within(self.timeout, send)
        except (httpx.TimeoutException, NotInTime):
            words = f"the server gave no answer within {self.timeout:g} s (--timeout)"
            raise ServerFailure(words, self.retries, TIMED_OUT) from None
        except httpx.RequestError as error:
            raise ServerFailure(_unreached(error), self.retries) from None
        _check_moved(response)
        if response.is_success:
            return text_of(response.content, response.charset_encoding)
        raise _refused(response, self.retries)


class ServerRefusal(DataError):
    """The server refused a request for good; ``status`` is its HTTP status."""

    def __init__(self, sentence: str, status: int) -> None:
        self.status = status
        super().__init__(sentence)


def _refused(response: Any, retries: int = 0) -> ServerFailure:
    """Return the failure that a reply with a bad status is."""
    status, said = response.status_code, words_of(response.text)
    passing = status in _PASSING and "insufficient_quota" not in response.text
    return ServerFailure(
        f"the server refused the request: {said} (status {status}){_hint(status)}",
        retries if passing else 0,
        status,
        _seconds(response.headers.get("retry-after")),
    )


def _unreached(error: Exception) -> str:
    cause = str(error) or type(error).__name__
    hint = "; is its address http:// and not https://?" if "[SSL" in cause and "CERT" not in cause else ""
    return f"the server can't be reached ({cause}){hint}"


def _hint(status: int) -> str:
    return f"; {HINTS[status]}" if status in HINTS else ""


def _check_moved(response: Any) -> None:
    """Raise ``ServerFailure`` for a reply from behind a redirect that turned the question into a plain look-up."""
    for earlier in response.history:
        if earlier.request.method == "POST" and earlier.status_code in _ASKED_ANEW:
            address = str(response.url).removesuffix("/chat/completions")
            words = f"the server sends the request on to {address} (status {earlier.status_code})"
            raise ServerFailure(f"{words}; give the address that answers as --base_url", 0, earlier.status_code)


def taken(waiting: deque[Item]) -> Item | None:
    """Take the first of what threads take from; return None where others have taken the last."""
    try:
        return waiting.popleft()
    except IndexError:
        return None


def _within(seconds: float, send: Callable[[], Any]) -> Any:
    """Return what ``send`` returns; ``NotInTime`` when it takes longer, however it spends the time.

    The client's own time-outs hold for each read, so that a server which sends a letter a second would never end.
    """
    future: Future[Any] = Future()

    def work() -> None:
        try:
            future.set_result(send())
        except BaseException as error:  # of any kind: it belongs to the one who waits
            future.set_exception(error)

    threading.Thread(target=work, name="reply", daemon=True).start()
    return future.result(seconds)


def _error(failure: ServerFailure, sentence: str) -> Exception:
    if failure.status <= 0 or failure.status in _PASSING:
        return WorkError(sentence)
    return ServerRefusal(sentence, failure.status)


def _pause(number: int, wish: float | None) -> float:
    """Return the seconds before try ``number + 2``: what the server wished or a little more, else doubling.

    Chance keeps requests apart that failed together; a wish is never cut short by it.
    """
    chance = random.Random()
    if wish is not None:
        return min(max(wish, 0.1), LONGEST_WISH_S) * chance.uniform(1.0, 1.1)
    return min(2.0**number, LONGEST_PAUSE_S) * chance.uniform(0.75, 1.25)


def _seconds(header: str | None) -> float | None:
    """Return the seconds of a ``Retry-After`` header, which is a number or a date; None where it is neither."""
    if header is None:
        return None
    try:
        seconds = float(header)
        return None if math.isnan(seconds) else seconds
    except ValueError:
        pass
    from datetime import datetime, timezone
    from email.utils import parsedate_to_datetime

    try:
        return (parsedate_to_datetime(header) - datetime.now(timezone.utc)).total_seconds()
    except (ValueError, TypeError):
        return None
