"""The answers of one request as they grow, and the forms in which the API gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gpt4scene.inference.tokens import Token
from gpt4scene.serve.stops import StopFinder
from gpt4scene.serve.thoughts import ThoughtFinder
from gpt4scene.serve.token_texts import TokenTexts


@dataclass
class Choice:
    """One answer. ``text`` and ``entries`` are what came since they were last taken, ``tokens`` counts all that came.

    ``texts`` is there where log-probabilities are asked for. ``pieces`` says that text comes with every token.
    ``thought`` is what came of a thought before the answer, ``opening`` the beginning of it that the prompt has.
    """

    index: int
    stops: StopFinder
    texts: TokenTexts | None
    pieces: bool
    opening: str = ""
    text: str = ""
    thought: str = ""
    tokens: int = 0
    finish_reason: str | None = None
    entries: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.thoughts = ThoughtFinder(bool(self.opening))

    def add(self, token: Token) -> None:
        """Take a token of this answer."""
        self.tokens = self.tokens + 1 if token.answer is None else token.answer.tokens
        if self.texts is not None:
            self.entries.append(self.texts.entry(token))
        piece = token.text if self.pieces or token.answer is None else token.answer.text[len(self.opening) :]
        certain = self.stops.feed(piece)
        if self.stops.stopped:
            self.finish_reason = "stop"
        elif token.answer is not None:
            certain += self.stops.rest()
            self.finish_reason = token.finish_reason
        thought, text = self.thoughts.feed(certain, last=self.finish_reason is not None)
        self.thought += thought
        self.text += text

    def taken(self) -> tuple[dict[str, str], list[dict[str, Any]]]:
        """Return the texts, by their names in a reply, and the entries of tokens that came since, and forget them."""
        texts = {"content": self.text, "reasoning_content": self.thought}
        entries, self.text, self.thought, self.entries = self.entries, "", "", []
        return {name: text for name, text in texts.items() if text}, entries


@dataclass(frozen=True)
class Head:
    """What stands in every piece of a reply."""

    id: str
    created: int
    model: str
    fingerprint: str | None

    def completion(self, choices: Sequence[Choice], usage: dict[str, Any]) -> dict[str, Any]:
        """Return the whole reply."""
        return self._of("chat.completion", [_whole(choice) for choice in choices]) | {"usage": usage}

    def first(self, index: int) -> dict[str, Any]:
        """Return the piece of a stream that opens an answer."""
        return self._chunk(index, {"role": "assistant", "content": ""}, None, None)

    def piece(self, choice: Choice) -> dict[str, Any] | None:
        """Return the piece of a stream with what came since the last one; None where nothing did."""
        texts, entries = choice.taken()
        if not texts and not entries and choice.finish_reason is None:
            return None
        logprobs = None if choice.texts is None else {"content": entries, "refusal": None}
        return self._chunk(choice.index, texts, choice.finish_reason, logprobs)

    def usage(self, usage: dict[str, Any]) -> dict[str, Any]:
        """Return the piece of a stream that only counts tokens."""
        return self._of("chat.completion.chunk", []) | {"usage": usage}

    def _chunk(self, index: int, delta: dict[str, Any], reason: str | None, logprobs: Any) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return self._of("chat.completion.chunk", [choice])

    def _of(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        named = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return {**named, "system_fingerprint": self.fingerprint, "choices": choices}


def _whole(choice: Choice) -> dict[str, Any]:
    texts, entries = choice.taken()
    return {
        "index": choice.index,
        "message": {"role": "assistant", "content": "", **texts, "refusal": None},
        "logprobs": None if choice.texts is None else {"content": entries, "refusal": None},
        "finish_reason": choice.finish_reason,
    }


def usage_of(prompt: int, cached: int, completion: int) -> dict[str, Any]:
    """Return how many tokens a request took: of the prompt, known of it already, and of all answers."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
