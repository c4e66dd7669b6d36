"""The HTTP server: connections that can't be held for nothing, and an end that lets requests under way finish."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from gpt4scene.errors import ConfigError
from gpt4scene.serve.replies import ABORT

HEAD_S = 30.0
"""A connection that has not sent the head of a request after this is cut."""
STALL_S = 30.0
"""So is one whose client has taken nothing of what waits for it for so long."""
CLOSING_S = 30.0
"""And one that is closed, and not yet gone."""
CONNECTIONS = 1000
"""More connections than this are answered with 503."""
LONGEST_HEAD = 32 * 1024


class Connection(H11Protocol):
    """One connection, which ``look`` cuts when its client does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waits_since = self._moved_at = time.monotonic()
        self._unsent = 0
        self._closing_since: float | None = None
        app = self.app

        async def with_abort(scope: Scope, receive: Receive, send: Send) -> None:
            scope[ABORT] = self.transport.abort
            await app(scope, receive, send)  # pyright: ignore  (uvicorn's own names of the same types)

        self.app: ASGIApp = with_abort  # pyright: ignore

    def look(self, now: float) -> None:
        """Cut the connection where nothing comes, nothing is taken, or its end does not come."""
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy:
            self._waits_since = now
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent or not unsent:
            self._unsent, self._moved_at = unsent, now
        if self.transport.is_closing() and self._closing_since is None:
            self._closing_since = now
        late = now - self._waits_since > HEAD_S or now - self._moved_at > STALL_S
        if late or (self._closing_since is not None and now - self._closing_since > CLOSING_S):
            self.transport.abort()


class Server(uvicorn.Server):
    """Serves ``app`` until SIGTERM or Ctrl-C; a second signal ends at once.

    ``stopping`` is called in the event loop when the end begins, ``forced`` at the second signal; ``stopped_by`` is the
    signal that began it. ``ready`` is called once requests are taken.
    """

    def __init__(
        self, app: ASGIApp, stopping: Callable[[], None], grace: float, forced: Callable[[], None] = lambda: None
    ) -> None:
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_level="error",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=max(1, round(grace + 10)),
            h11_max_incomplete_event_size=LONGEST_HEAD,
        )
        super().__init__(config)
        self._stopping, self._forced = stopping, forced
        self.stopped_by: int | None = None
        self.ready: Callable[[], None] = lambda: None

    def end(self) -> None:
        """End as at a signal, without one."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so. Raises ``ConfigError`` where another server began to while this one loaded its model."""
        for bound in sockets or ():
            try:
                bound.listen(self.config.backlog)
            except OSError as error:
                raise _taken(bound.getsockname()[:2], error) from None
        await super().startup(sockets)
        self.ready()

    async def on_tick(self, counter: int) -> bool:
        """Look at the connections every second."""
        if counter % 10 == 0:
            now = time.monotonic()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.look(now)
        ends = await super().on_tick(counter)
        if ends:
            self._stopping()
        return ends

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals for the block, and give them back to whom they belonged."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop: at the first signal when all is answered, at the second now."""
        if self.stopped_by is None:
            self.stopped_by = sig
            self.should_exit = True
            return
        if not self.force_exit:
            self._forced()
        self.force_exit = True
        for connection in list(self.server_state.connections):
            connection.transport.abort()  # pyright: ignore  (all are transports of this server)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound, before anything takes time. Raises ``ConfigError`` where it can't be."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"--host {host} is no address here ({error}); 127.0.0.1 and 0.0.0.0 are") from None
    found = socket.socket(family, kind, protocol)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        found.close()
        raise _taken((host, port), error) from None
    return found


def _taken(place: tuple[str, int], error: OSError) -> ConfigError:
    words = os.strerror(error.errno) if error.errno else str(error)
    return ConfigError(f"--port {place[1]} at {place[0]} can't be used ({words}); choose another --port")


def address_of(bound: socket.socket) -> str:
    """Return where clients find the server."""
    name, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, str(name))
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"
