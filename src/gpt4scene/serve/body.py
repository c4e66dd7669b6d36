"""Bodies of requests: read in a stream, within bounds of size, time and of all bytes that are held at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from starlette.requests import ClientDisconnect, Request

from gpt4scene.serve.refusals import Refusal, busy

BODY_TIME_S = 120.0
"""A body that takes longer than this to arrive is given up."""


class Bytes:
    """Counts the bytes of bodies that are held; ``most`` of them at a time."""

    def __init__(self, most: int) -> None:
        self.most, self.held = most, 0

    @contextmanager
    def room(self) -> Iterator[Room]:
        """Give room that is given back at the end of the block."""
        room = Room(self)
        try:
            yield room
        finally:
            room.give_back()


class Room:
    """What one request holds of all bytes."""

    def __init__(self, bytes: Bytes) -> None:
        self._bytes, self._mine = bytes, 0

    def take(self, size: int) -> None:
        """Hold at least ``size`` bytes. Raises ``Refusal`` where others hold too many."""
        more = size - self._mine
        if more > 0:
            if self._bytes.held + more > self._bytes.most:
                raise busy("requests under way hold all the memory for bodies; try again when they are read", 2)
            self._bytes.held += more
            self._mine = size

    def give_back(self) -> None:
        """Hold nothing any more."""
        self._bytes.held -= self._mine
        self._mine = 0


async def read_body(request: Request, most: int, room: Room) -> bytearray:
    """Return the body of a JSON request. Raises ``Refusal`` past ``most`` bytes, and for another form of content.

    A client that goes away raises ``ClientDisconnect``.
    """
    form = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if form != "application/json":  # other forms a browser sends for any page, without asking
        raise Refusal(415, "the header Content-Type must be application/json")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Refusal(415, "a compressed body is not taken; send it without Content-Encoding")
    said = request.headers.get("content-length", "")
    if said.isdecimal():  # h11 refuses others
        _check_size(int(said), most)  # and nothing is held for what was only said
    body = bytearray()
    with anyio.move_on_after(BODY_TIME_S):
        async for part in request.stream():
            _check_size(len(body) + len(part), most)
            room.take(len(body) + len(part))
            body += part
        return body
    raise Refusal(408, f"the body did not arrive within {BODY_TIME_S:g} seconds", outcome="timeout")


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise Refusal(413, f"the body is over {most} bytes; send smaller or fewer images", code="request_too_large")


__all__ = ["Bytes", "ClientDisconnect", "Room", "read_body"]
