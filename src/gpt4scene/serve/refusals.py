"""Refusals: why a request gets no answer, in the form in which OpenAI's API says it."""

from __future__ import annotations

from typing import Any

INVALID = "invalid_request_error"
_KINDS = {401: "authentication_error", 429: "rate_limit_error"}


class Refusal(Exception):
    """A request is refused: ``status`` is HTTP's, ``message`` a sentence with the way out.

    ``param`` names the field that is wrong, ``code`` is a word of the API for programs, ``retry_after`` are seconds.
    ``outcome`` is what the request counts as in the metrics.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
        outcome: str = "refused",
    ) -> None:
        self.status, self.message, self.param, self.code = status, message, param, code
        self.retry_after, self.outcome = retry_after, outcome
        super().__init__(message)

    @property
    def body(self) -> dict[str, Any]:
        """The error as JSON."""
        kind = _KINDS.get(self.status, INVALID if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """``Retry-After``, and the end of a connection whose request was not read to its end."""
        found = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return found | ({"Connection": "close"} if self.status in (401, 408, 413, 415, 429) else {})


def busy(message: str, retry_after: int) -> Refusal:
    """Return the refusal of a request that there is no room for now."""
    return Refusal(429, message, code="rate_limit_exceeded", retry_after=retry_after, outcome="busy")


def failed(message: str) -> Refusal:
    """Return what ends requests when the engine can't answer any more."""
    return Refusal(503, message, code="engine_failed", outcome="failed")
