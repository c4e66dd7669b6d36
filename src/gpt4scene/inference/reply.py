"""What a chat server's reply says: an answer, or a sentence on why it is none. Nothing odd becomes an answer."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from typing import Any

from gpt4scene.files.thoughts import split_thought

ENDED = frozenset({"stop", "length", "eos", "eos_token", "end_turn", "stop_sequence"})
"""Words of servers for an answer that ended by itself, or at the longest length (``length``)."""
STOPPED = frozenset({"abort", "aborted", "cancelled"})
"""Words of servers for an answer that they broke off, as one that is shut down does."""
_SHOWN, _PAGE = 300, 20_000


@dataclass(frozen=True)
class Reply:
    """An answer as a server gave it; ``model`` and ``fingerprint`` are what the reply says about who answered."""

    text: str
    finish_reason: str | None
    tokens: int
    model: str | None
    fingerprint: str | None


def is_empty(text: str) -> bool:
    """Whether a text shows nothing: no letters or signs, only spaces and characters that are not printed."""
    return not any(letter.isprintable() and not letter.isspace() for letter in text)


class NoAnswer(ValueError):
    """A reply without an answer. ``again`` says whether the same request may bring one: a proxy's page, a glitch.

    ``stopped`` says that the server broke the answer off, as one that is shut down does.
    """

    def __init__(self, sentence: str, again: bool, stopped: bool = False) -> None:
        self.again, self.stopped = again, stopped
        super().__init__(sentence)


def words_of(text: str) -> str:
    """Return a server's own words from the body of an error: its message, or its text without HTML, in one line.

    Letters that are not printed are left out, so that no reply reaches the terminal as a command.
    """
    try:
        found = _message(json.loads(text))
    except (ValueError, RecursionError):
        found = None
    if found is None:
        page = text[:_PAGE]
        found = html.unescape(re.sub(r"(?is)<(script|style|head)\b.*?</\1>|<[^<>]*>", " ", page))
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in found[:_PAGE]).split())
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


def text_of(content: bytes, charset: str | None) -> str:
    """Return a reply's text, whose bytes are UTF-8 (or UTF-16, as its first bytes tell) unless ``charset`` says else.

    ``NoAnswer`` where they are not: replaced letters would be taken for the model's.
    """
    if charset is None or charset.lower().replace("_", "-") in ("utf-8", "utf8", "us-ascii", "ascii"):
        charset = json.detect_encoding(content)
    try:
        return content.decode(charset)
    except (UnicodeDecodeError, LookupError):
        said = content.decode(errors="replace")
        raise NoAnswer(f"the reply's bytes are no text in {charset}: {words_of(said)}", True) from None


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
    if message.get("refusal"):
        raise NoAnswer(f"the model refused: {_short(message['refusal'])}", False)
    content = message.get("content")
    text = _joined(content) if isinstance(content, list) else content
    thought = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(text, str):
        inside, text = split_thought(text)  # what a server without a parser for thoughts leaves there
        thought = thought or inside
    if thought and (text is None or is_empty(text)):
        raise NoAnswer(
            f"the reply holds reasoning but no answer (finish_reason {_short(reason)}); raise --max_new_tokens, or "
            f"serve the model without reasoning: {_short(thought)}",
            False,
        )
    if not isinstance(text, str):
        raise NoAnswer(f"'content' is no text but {_short(text)} (finish_reason {_short(reason)})", text is None)
    if reason is not None and reason not in tuple(ENDED):
        words = f"the answer did not end by itself: finish_reason is {_short(reason)}"
        raise NoAnswer(words, True, stopped=reason in tuple(STOPPED))
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
