"""What is asked for and what comes of it: requests, their tokens, and the answers that the tokens make up."""

from __future__ import annotations

from dataclasses import dataclass, field

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gpt4scene.data.encoding import Encoder
from gpt4scene.errors import WorkError
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.prefixes import Prefix
from gpt4scene.inference.preparing import Prepared
from gpt4scene.inference.sampling import BROKEN, Chosen
from gpt4scene.types import Answer, Question

_HALF = "\ufffd"
"""What the bytes of half a character are decoded to."""


@dataclass(frozen=True)
class Request:
    """One question to answer once. ``number`` names it, and is the caller's to choose; no two may run at a time.

    ``question.images`` are paths that must stay as they are until the request's first token. ``sample`` numbers the
    answers to one question: each draws by itself. ``stream`` asks for a piece of text with every token.
    """

    number: int
    question: Question
    settings: GenerationSettings
    sample: int = 0
    stream: bool = False


@dataclass(frozen=True)
class Token:
    """One generated token of request ``number``, or the error that ended it.

    ``text`` is the piece of the answer that is certain by now, empty where the request does not stream. ``logprob`` and
    ``top`` (pairs of id and log-probability, likeliest first) are there where the settings ask for them. The last token
    carries ``finish_reason`` and ``answer``. ``error`` is set where the request can't be answered: no token follows,
    ``id`` is -1 and ``finish_reason`` says ``error``. ``prompt_tokens`` counts the prompt, images included, and
    ``cached_tokens`` those of its prefix where that was known already; both on the request's first token.
    """

    number: int
    id: int
    text: str = ""
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    finish_reason: str | None = None
    answer: Answer | None = None
    error: Exception | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0

    @property
    def last(self) -> bool:
        """Whether nothing more comes of this request."""
        return self.answer is not None or self.error is not None


@dataclass(frozen=True)
class Statistics:
    """What the prefixes of scenes did so far: found again, computed, and what is held now."""

    prefix_hits: int
    prefix_misses: int
    prefix_bytes: int
    prefixes: int


@dataclass(eq=False)
class Running:
    """A request while it is answered. ``prefix`` is what its branch reads, ``room`` the most own keys it may have.

    ``opening`` is a thought's beginning that stands in the prompt, and in front of the answer's text as well.
    """

    request: Request
    prepared: Prepared
    prefix: Prefix
    room: int
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    opening: str = ""

    def take(
        self,
        chosen: Chosen,
        stops: frozenset[int],
        tokenizer: PreTrainedTokenizerBase,
        prompt_tokens: int = 0,
        cached_tokens: int = 0,
    ) -> Token:
        """Take the token that was chosen and return what it says to the caller."""
        request, settings = self.request, self.request.settings
        if chosen.id == BROKEN:
            return Token(request.number, BROKEN, finish_reason="error", error=self._broken())
        self.ids.append(chosen.id)
        if chosen.logprob is not None:
            self.logprobs.append(chosen.logprob)
        stopped = chosen.id in stops
        last = stopped or len(self.ids) >= settings.max_new_tokens
        piece = self._piece(chosen.id, last, tokenizer) if request.stream else ""
        reason = ("stop" if stopped else "length") if last else None
        answer = self._answer(reason, tokenizer) if last else None
        return Token(
            request.number,
            chosen.id,
            piece,
            chosen.logprob,
            chosen.top,
            reason,
            answer,
            prompt_tokens=prompt_tokens,
            cached_tokens=cached_tokens,
        )

    def _broken(self) -> WorkError:
        question = self.request.question
        return WorkError(
            f"{question.task}, row {question.index}: the model's scores after {len(self.ids)} tokens are no finite "
            "numbers; --dtype bfloat16 or float32 has room for larger ones than float16, else its weights are damaged"
        )

    def _piece(self, id: int, last: bool, tokenizer: PreTrainedTokenizerBase) -> str:
        """Return the text up to the last whole character; the bytes of half a one wait for its others."""
        self.pending.append(id)
        text = _decode(tokenizer, self.pending)
        if text.endswith(_HALF) and not last:
            return ""
        self.pending.clear()
        return text

    def _answer(self, reason: str | None, tokenizer: PreTrainedTokenizerBase) -> Answer:
        return Answer(
            self.request.question,
            self.opening + _decode(tokenizer, self.ids),
            len(self.ids),
            reason,
            sample=self.request.sample,
            token_ids=tuple(self.ids),
            logprobs=tuple(self.logprobs) if self.request.settings.return_logprobs else None,
        )


def _decode(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)  # one row of tokens, one text
    return text


def stops_of(model: PreTrainedModel, encoder: Encoder) -> frozenset[int]:
    """Return the tokens that end an answer: the checkpoint's own, or else the tokenizer's end."""
    stops = model.generation_config.eos_token_id
    stops = encoder.tokenizer.eos_token_id if stops is None else stops
    return frozenset(stop for stop in (stops if isinstance(stops, list) else [stops]) if isinstance(stop, int))
