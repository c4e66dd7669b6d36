"""A chat request from its first byte to the engine: room, body, fields, images, length, and then its job.

What costs memory or time stands behind a bound, and what a stranger sends is checked before the engine sees it.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import Request as HttpRequest

from gpt4scene.data.encoding import Encoder
from gpt4scene.errors import DataError
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.tokens import Request, Token
from gpt4scene.serve.body import Bytes, Room, read_body
from gpt4scene.serve.choices import Choice, Head
from gpt4scene.serve.dialogue import Dialogue, read_dialogue
from gpt4scene.serve.engine_thread import Answering, EngineThread
from gpt4scene.serve.fields import ChatFields, read_fields
from gpt4scene.serve.images import ImageStore, Sent, sent
from gpt4scene.serve.inbox import Inbox
from gpt4scene.serve.job import Job
from gpt4scene.serve.metrics import Metrics
from gpt4scene.serve.places import Places
from gpt4scene.serve.refusals import Refusal, failed
from gpt4scene.serve.stops import StopFinder
from gpt4scene.serve.token_texts import TokenTexts
from gpt4scene.types import Question

T = TypeVar("T")
LETTERS_A_TOKEN = 16
"""A text of more letters than this for each token of the context is not even tokenised."""
MOST_LOGPROBS = 200_000
"""A reply with more log-probabilities would hold some 100 MB."""
FORGET_AFTER = 256
"""So many prompts are counted before what is remembered of their images is let go."""


@dataclass(frozen=True)
class Bounds:
    """What a server takes on. ``context`` is the model's longest row in tokens, ``timeout`` seconds a request."""

    max_new_tokens: int = 1024
    answers: int = 512
    body: int = 64 * 2**20
    bodies: int = 1024 * 2**20
    images: int = 64
    context: int = 32768
    timeout: float = 600.0
    buffered_tokens: int = 2048


@dataclass
class Chat:
    """Answers chat requests for ``model`` with ``scheduler``. All but the engine's steps runs in one event loop.

    ``encoder`` is the server's own: the engine's is used in other threads. ``pool`` reads bodies and decodes images.
    ``fingerprint`` tells this model from others of its name. ``on_failure`` is called once when the engine has failed.
    """

    model: str
    scheduler: Answering
    encoder: Encoder
    images: ImageStore
    pool: ThreadPoolExecutor
    bounds: Bounds = field(default_factory=Bounds)
    metrics: Metrics = field(default_factory=Metrics)
    fingerprint: str | None = None
    on_failure: Callable[[], None] = field(default=lambda: None)

    def __post_init__(self) -> None:
        self.places, self.bytes = Places(self.bounds.answers), Bytes(self.bounds.bodies)
        self.started = time.time()
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count()
        self._inboxes: dict[int, Inbox] = {}
        self._jobs: dict[int, Job] = {}
        self._words = ThreadPoolExecutor(1, thread_name_prefix="words")
        self._texts = TokenTexts(self.encoder.tokenizer)
        self._counted = 0
        self.engine = EngineThread(
            self.scheduler,
            lambda tokens: self._in_loop(self._deliver, tokens),
            lambda error: self._in_loop(self._fail, failed(f"the engine has failed ({type(error).__name__})")),
        )
        self.engine.start()

    async def take(self, http: HttpRequest) -> Job:
        """Return the job of a request, which the engine has. Raises ``Refusal`` for one that gets none."""
        started = time.monotonic()
        self._check_engine()
        self.places.check(1)
        taken, names = 0, []
        try:
            with self.bytes.room() as room:
                content = await read_body(http, self.bounds.body, room)
                fields, dialogue, images = await self._read(content, room)
                del content
                self.places.take(fields.n)  # not before: who sends slowly must not keep others out
                taken = fields.n
                names = await self.images.keep(images)
                del images
            question = dialogue.question(self.images.paths(names))
            prompt = await self._length(question)
            settings = self._settings(fields, prompt)
            self._check_engine()
            return self._submit(fields, question, settings, names, started, prompt)
        except BaseException:
            self.images.release(names)
            self.places.give_back(taken)
            raise

    def end_all(self, refusal: Refusal) -> int:
        """End all requests under way with ``refusal``; return how many there were."""
        jobs = list(self._jobs.values())
        for job in jobs:
            job.inbox.fail(refusal)
        return len(jobs)

    def close(self, wait_s: float) -> None:
        """Let the engine's thread end, and those that read and decode."""
        self.engine.stop(wait_s)
        for pool in (self.pool, self._words):
            pool.shutdown(wait=False, cancel_futures=True)

    def _check_engine(self) -> None:
        if not self.engine.alive:
            raise failed("the engine has failed; the server must be started again")

    async def _read(self, content: bytearray, room: Room) -> tuple[ChatFields, Dialogue, list[Sent]]:
        """Read the body in a thread; its texts take the room of the body once more."""
        room.take(2 * len(content))
        most_letters = LETTERS_A_TOKEN * self.bounds.context

        def read() -> tuple[ChatFields, Dialogue, list[Sent]]:
            fields = read_fields(content)
            if fields.model != self.model:
                raise _unknown(fields.model, self.model)
            dialogue = read_dialogue(fields, self.encoder.heard, self.bounds.images, most_letters)
            return (
                fields,
                dialogue,
                [sent(part, place, self.images.bounds) for place, part in enumerate(dialogue.images)],
            )

        return await self._loop.run_in_executor(self.pool, read)

    async def _length(self, question: Question) -> int:
        """Return the tokens of a prompt. Raises ``Refusal`` for one that can't be encoded."""

        def count() -> int:
            self._counted += 1
            if self._counted % FORGET_AFTER == 0:
                self.encoder.forget_images()
            return len(self.encoder.encode_question(question).ids_L)

        try:
            return await self._loop.run_in_executor(self._words, count)
        except DataError as error:
            raise self._failure(error) from None

    def _settings(self, fields: ChatFields, prompt: int) -> GenerationSettings:
        """Return how the request is to be answered. Raises ``Refusal`` for an answer that is too long."""
        asked = fields.max_completion_tokens or fields.max_tokens
        name = "max_completion_tokens" if fields.max_completion_tokens else "max_tokens"
        left = self.bounds.context - prompt
        if asked is not None and asked > self.bounds.max_new_tokens:
            raise Refusal(400, f"'{name}' may be {self.bounds.max_new_tokens} at most here, not {asked}", param=name)
        if left < (asked or 1):
            message = (
                f"the prompt of {prompt} tokens and {asked or 1} new ones pass the context of {self.bounds.context}"
            )
            raise Refusal(400, message, param="messages", code="context_length_exceeded")
        new_tokens = asked or min(self.bounds.max_new_tokens, left)
        if fields.logprobs and fields.n * new_tokens * (1 + fields.top_logprobs) > MOST_LOGPROBS:
            message = (
                f"n, {name} and top_logprobs together ask for over {MOST_LOGPROBS} log-probabilities; ask for fewer"
            )
            raise Refusal(400, message, param="top_logprobs")
        return GenerationSettings(
            max_new_tokens=new_tokens,
            temperature=fields.temperature,
            top_p=fields.top_p,
            seed=secrets.randbits(63) if fields.seed is None else fields.seed,
            repetition_penalty=fields.repetition_penalty,
            return_logprobs=fields.logprobs,
            top_logprobs=fields.top_logprobs,
        )

    def _submit(
        self,
        fields: ChatFields,
        question: Question,
        settings: GenerationSettings,
        names: Sequence[str],
        started: float,
        prompt: int,
    ) -> Job:
        pieces = fields.stream or bool(fields.stops)
        texts = self._texts if fields.logprobs else None
        opening = self.encoder.template.thought_opening
        numbers = [next(self._numbers) for _ in range(fields.n)]
        job = Job(
            stream=fields.stream,
            counts_at_end=fields.stream_options is not None and fields.stream_options.include_usage,
            head=Head(f"chatcmpl-{secrets.token_hex(12)}", int(time.time()), self.model, self.fingerprint),
            choices=[Choice(index, StopFinder(fields.stops), texts, pieces, opening) for index in range(fields.n)],
            numbers=numbers,
            inbox=Inbox(self.bounds.buffered_tokens * fields.n, lambda: job.dropped(), pieces or fields.logprobs),
            started=started,
            until=started + self.bounds.timeout,
            cancel=self._cancel,
            end=lambda ended, outcome: self._end(ended, outcome, names),
            first=self._first,
            failure=self._failure,
            prompt_tokens=prompt,
        )
        for number in numbers:
            self._inboxes[number] = job.inbox
        self._jobs[numbers[0]] = job
        self.engine.add([Request(number, question, settings, sample, pieces) for sample, number in enumerate(numbers)])
        return job

    def _end(self, job: Job, outcome: str, names: Sequence[str]) -> None:
        """Count how a job ended, and give back all that it holds."""
        del self._jobs[job.numbers[0]]
        self._cancel([number for number in job.numbers if number in self._inboxes])
        self.images.release(names)
        seconds = time.monotonic() - job.started
        self.metrics.ended(outcome)
        self.metrics.seconds.observe(seconds)
        self.places.give_back(len(job.numbers), seconds if outcome == "answered" else None)

    def _first(self, job: Job) -> None:
        self.metrics.first_token.observe(time.monotonic() - job.started)
        self.metrics.prompt_tokens.inc(job.prompt_tokens)
        self.metrics.cached_tokens.inc(job.cached_tokens)

    def _failure(self, error: Exception) -> Refusal:
        """Return what the client is told of an error that ended its request alone; no path of this machine is."""
        if str(self.images.folder) in str(error):  # removed by others between the request and its answer
            message = "an image of the request is no longer kept here; send the request again"
            return Refusal(503, message, retry_after=1, outcome="failed")
        if isinstance(error, ValueError):  # the program's own sentences about a request
            return Refusal(400, str(error), param="messages")
        return Refusal(500, f"the request failed inside the server ({type(error).__name__})", outcome="failed")

    def _cancel(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._inboxes.pop(number, None)
        self.engine.cancel(numbers)

    def _in_loop(self, function: Callable[[Any], None], argument: Any) -> None:
        """Call a function in the event loop, from another thread; nothing once the loop is closed."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, argument)

    def _deliver(self, tokens: Sequence[Token]) -> None:
        self.metrics.tokens.inc(sum(token.error is None for token in tokens))
        for token in tokens:
            inbox = self._inboxes.get(token.number)
            if inbox is None:
                continue  # its client has gone
            if token.last:
                del self._inboxes[token.number]
            inbox.put(token)

    def _fail(self, refusal: Refusal) -> None:
        self.end_all(refusal)
        self.on_failure()


def _unknown(name: str, served: str) -> Refusal:
    shown = "".join(letter if letter.isprintable() else "?" for letter in name[:60])
    return Refusal(
        404, f"the model '{shown}' is not served here; it is '{served}'", param="model", code="model_not_found"
    )
