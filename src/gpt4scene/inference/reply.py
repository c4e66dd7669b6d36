"""What a chat server's reply says: an answer, or a sentence on why it is none. Nothing odd becomes an answer."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from typing import Any

ENDED = frozenset({"stop", "length", "eos", "eos_token", "end_turn", "stop_sequence"})
"""Words of servers for an answer that ended by itself, or at the longest length (``length``)."""
_SHOWN = 300


@dataclass(frozen=True)
class Reply:
    """An answer as a server gave it; ``model`` and ``fingerprint`` are what the reply says about who answered."""

    text: str
    finish_reason: str | None
    tokens: int
    model: str | None
    fingerprint: str | None


class NoAnswer(ValueError):
    """A reply without an answer. ``again`` says whether the same request may bring one: a proxy's page, a glitch."""

    def __init__(self, sentence: str, again: bool) -> None:
        self.again = again
        super().__init__(sentence)


def words_of(text: str) -> str:
    """Return a server's own words from the body of an error: its message, or its text without HTML, in one line."""
    try:
        found = _message(json.loads(text))
    except ValueError:
        found = None
    if found is None:
        found = html.unescape(re.sub(r"(?is)<(script|style|head)\b.*?</\1>|<[^>]*>", " ", text))
    line = " ".join(found.split())
    return (line[:_SHOWN] + " …" if len(line) > _SHOWN else line) or "it said nothing"


def _message(body: object) -> str | None:
    """Return the message in ``{"error": {"message": …}}`` and the other forms in use; None where there is none."""
    if isinstance(body, str):
        return body
    if not isinstance(body, dict):
        return None
    for name in ("error", "message", "detail", "errors"):
        value = body.get(name)
        if value:
            return _message(value) or (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return None


def read_reply(text: str) -> Reply:
    """Return the answer in the body of a reply with status 200. Raises ``NoAnswer`` for everything that holds none.

    An empty text is an answer here, if the model ended it: what becomes of it is the run's to say.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise NoAnswer(f"the reply is no JSON: {words_of(text)}", True) from None
    if not isinstance(body, dict):
        raise NoAnswer(f"the reply is no object: {_short(body)}", True)
    if body.get("error"):
        raise NoAnswer(f"the server replied with an error: {words_of(text)}", _may_pass(body["error"]))
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        raise NoAnswer(f"the reply holds no 'choices': {_short(body)}", True)
    if len(choices) > 1:
        raise NoAnswer(f"the reply holds {len(choices)} choices where one was asked for", False)
    choice = choices[0]
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise NoAnswer(f"the reply holds no 'message': {_short(choice)}", True)
    reason = choice.get("finish_reason")
    answer = _answer(message, reason)
    usage = body.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return Reply(
        answer,
        reason,
        tokens if isinstance(tokens, int) else 0,
        _text_or_none(body.get("model")),
        _text_or_none(body.get("system_fingerprint")),
    )


def _answer(message: dict[str, Any], reason: object) -> str:
    """Return the text of a message; raise ``NoAnswer`` that names what stands in its place."""
    for name in ("tool_calls", "function_call"):
        if message.get(name):
            raise NoAnswer(f"the model called a tool instead of answering: {_short(message[name])}", False)
    content = message.get("content")
    text = _joined(content) if isinstance(content, list) else content
    if not text and message.get("refusal"):
        raise NoAnswer(f"the model refused: {_short(message['refusal'])}", False)
    if not text:
        thought = message.get("reasoning_content") or message.get("reasoning")
        if thought:
            raise NoAnswer(
                f"the reply holds reasoning but no answer (finish_reason {reason}); raise --max_new_tokens, or serve "
                f"the model without reasoning: {_short(thought)}",
                False,
            )
    if not isinstance(text, str):
        raise NoAnswer(f"'content' is no text but {_short(text)} (finish_reason {reason})", text is None)
    if reason is not None and reason not in ENDED:
        raise NoAnswer(f"the answer did not end by itself: finish_reason is {_short(reason)}", True)
    return text


def _joined(parts: list[Any]) -> str:
    """Return the text of a content that comes in parts, all of them texts."""
    texts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise NoAnswer(f"'content' is a list with other things than texts: {_short(parts)}", False)
    return "".join(str(text) for text in texts)


def _may_pass(error: object) -> bool:
    """Whether an error object's code is one of those that pass: too many requests, or the server's own trouble."""
    code = error.get("code", error.get("status")) if isinstance(error, dict) else None
    number = int(code) if isinstance(code, int | str) and str(code).isdigit() else 0
    return number == 429 or number >= 500


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text[:_SHOWN] + " …" if len(text) > _SHOWN else text
