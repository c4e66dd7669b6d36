"""Replies to chat requests: whole, or as a stream of events; given up when the client goes away or time is over."""

from __future__ import annotations

import json
from typing import Any

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gpt4scene.serve.job import Job
from gpt4scene.serve.refusals import Refusal

FAREWELL_S = 5.0
"""So long an error may take to reach a client that reads slowly."""
ABORT = "gpt4scene.abort"
"""Where a connection's scope holds the function that cuts it."""


def to_json(content: object) -> bytes:
    """Return ``content`` as JSON without line breaks."""
    return json.dumps(content, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


class Reply(Response):
    """The reply to one job. Whatever happens, the job ends once, and the engine forgets what nobody waits for."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job, self._begun, self._outcome = job, False, ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answers as they come."""
        try:
            async with anyio.create_task_group() as group:
                self.job.dropped = lambda: self._give_up("dropped", group.cancel_scope)
                group.start_soon(self._watch, receive, group.cancel_scope)
                self._outcome = await self._in_time(send)
                group.cancel_scope.cancel()
            if self._outcome == "dropped" and not self._begun:
                await self._refuse(send, Refusal(503, "the reply could not be sent as fast as it came"))
            elif self._outcome in ("dropped", "timeout") and ABORT in scope:
                scope[ABORT]()
        finally:
            self.job.end(self.job, self._outcome or "stopped")

    def _give_up(self, outcome: str, cancelled: anyio.CancelScope) -> None:
        self._outcome = self._outcome or outcome
        cancelled.cancel()

    async def _watch(self, receive: Receive, cancelled: anyio.CancelScope) -> None:
        """Give the job up when the client goes away."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._give_up("disconnected", cancelled)

    async def _in_time(self, send: Send) -> str:
        refusal = Refusal(504, "the request took longer than this server allows", code="timeout", outcome="timeout")
        try:
            with anyio.move_on_after(self.job.seconds_left):
                await (self._stream(send) if self.job.stream else self._whole(send))
                return "answered"
        except Refusal as found:
            refusal = found
        with anyio.move_on_after(FAREWELL_S):
            await self._refuse(send, refusal)
        return refusal.outcome

    async def _whole(self, send: Send) -> None:
        async for _ in self.job.progress():
            pass
        content = to_json(self.job.head.completion(self.job.choices, self.job.usage))
        await self._begin(send, 200, "application/json", {"content-length": str(len(content))})
        await send({"type": "http.response.body", "body": content})

    async def _stream(self, send: Send) -> None:
        job, opened = self.job, False
        async for _ in job.progress():
            events = [] if opened else [job.head.first(choice.index) for choice in job.choices]
            events += [piece for choice in job.choices if (piece := job.head.piece(choice)) is not None]
            if not opened:
                await self._begin(send, 200, "text/event-stream; charset=utf-8", {"cache-control": "no-cache"})
                opened = True
            if events:
                await self._events(send, events)
        if job.counts_at_end:
            await self._events(send, [job.head.usage(dict(job.usage))])
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _begin(self, send: Send, status: int, form: str, headers: dict[str, str]) -> None:
        self._begun = True
        listed = [(b"content-type", form.encode())]
        listed += [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": listed})

    async def _events(self, send: Send, events: list[dict[str, Any]]) -> None:
        body = b"".join(b"data: " + to_json(event) + b"\n\n" for event in events)
        await send({"type": "http.response.body", "body": body, "more_body": True})

    async def _refuse(self, send: Send, refusal: Refusal) -> None:
        """Say why there is no answer: as a reply of its own, or as the last event of a stream that has begun."""
        if self._begun and self.job.stream:
            await self._events(send, [refusal.body])
            await send({"type": "http.response.body", "body": b""})
        elif not self._begun:
            content = to_json(refusal.body)
            headers = refusal.headers | {"content-length": str(len(content))}
            await self._begin(send, refusal.status, "application/json", headers)
            await send({"type": "http.response.body", "body": content})
