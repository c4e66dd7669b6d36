"""Answers of an OpenAI-compatible server while they grow: the events of its stream, one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from gpt4scene.errors import DataError, WorkError
from gpt4scene.inference.client import KNOW_NAMES, ServerEngine
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.pictures import Picture, chat_request, short_request
from gpt4scene.inference.reply import ENDED, words_of
from gpt4scene.inference.requests import SHORT_REFUSED, ServerRefusal
from gpt4scene.types import Question

DATA, DONE = "data:", "[DONE]"
LONGEST_EVENT = 2**20
"""Letters; an event with a few tokens of an answer has a few hundred."""


@dataclass(frozen=True)
class Delta:
    """What one event adds: text of the answer or of a thought, or what the server says of the whole."""

    text: str = ""
    thought: str = ""
    finish_reason: str | None = None
    tokens: int = 0
    prompt_tokens: int = 0
    known_tokens: int = 0


class StreamingEngine(ServerEngine):
    """A :class:`ServerEngine` that gives an answer while it grows; any number of threads may ask."""

    def stream(self, question: Question, settings: GenerationSettings, named: bool = False) -> Iterator[Delta]:
        """Yield the answer to a question as it comes; closing the iterator closes the connection.

        ``named``: the server was sent these images before, and may know them by their names. Raises ``DataError`` with
        the server's words for a refusal or a stream that is none, ``WorkError`` for a server out of reach.
        """
        content, later = self._dialogue(question)
        words = {**self._words(settings), "stream": True, "stream_options": {"include_usage": True}}
        where, knows = self.base_url, self._owner in KNOW_NAMES
        if named and knows and question.images:
            try:
                with self.requests.streamed(short_request(words, content, later), where) as lines:
                    yield from read_events(lines, where)
                return
            except ServerRefusal as refusal:
                if refusal.status not in SHORT_REFUSED:
                    raise
        with self.requests.streamed(chat_request(words, content, knows, later), where) as lines:
            yield from read_events(lines, where)

    def _dialogue(self, question: Question) -> tuple[list[str | Picture], list[dict[str, str]]]:
        """Return the content of the first message, with its images, and the messages behind it as they are sent."""
        turns = [*((turn.role, turn.text) for turn in question.earlier), ("user", question.prompt)]
        (_, text), *later = turns
        return self._parts(text, question.images, where="the question"), [
            {"role": role, "content": "".join(map(str, self._parts(text, (), where="an earlier message")))}
            for role, text in later
        ]


def read_events(lines: Iterable[str], where: str) -> Iterator[Delta]:
    """Yield what the lines of an event stream say until ``[DONE]``.

    Raises ``DataError`` for other lines and for an error inside the stream, ``WorkError`` for one that breaks off.
    """
    ended = False
    for line in lines:
        if not line.strip() or line.startswith((":", "event:", "id:", "retry:")):
            continue
        data = line.removeprefix(DATA).strip()
        if data == DONE:
            return
        if not line.startswith(DATA) or len(line) > LONGEST_EVENT:
            raise DataError(f"{where}: the reply is no stream of an answer: {words_of(line)}")
        delta = _delta(data, where)
        ended = ended or delta.finish_reason is not None
        yield delta
    if not ended:
        raise WorkError(f"{where}: the server broke the answer off; ask again")


def _delta(data: str, where: str) -> Delta:
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        raise DataError(f"{where}: an event of the stream is no JSON: {words_of(data)}") from None
    if not isinstance(event, dict):
        raise DataError(f"{where}: an event of the stream is no object: {words_of(data)}")
    if event.get("error"):
        raise WorkError(f"{where}: the server ended the answer: {words_of(data)}")
    choices, usage = event.get("choices"), event.get("usage")
    choice = _object(choices[0]) if isinstance(choices, list) and choices else {}
    delta, usage = _object(choice.get("delta")), _object(usage)
    details = _object(usage.get("prompt_tokens_details"))
    reason = choice.get("finish_reason")
    if reason is not None and reason not in tuple(ENDED):
        raise WorkError(f"{where}: the answer did not end by itself: finish_reason is {words_of(str(reason))}")
    return Delta(
        _text(delta.get("content")),
        _text(delta.get("reasoning_content") or delta.get("reasoning")),
        reason,
        _count(usage.get("completion_tokens")),
        _count(usage.get("prompt_tokens")),
        _count(details.get("cached_tokens")),
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
