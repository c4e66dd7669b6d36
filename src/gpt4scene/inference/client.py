"""Answers from an OpenAI-compatible server (vLLM, SGLang, ...), asked so that its prefix cache hits.

Scenes come one after another and the questions of a scene together: the first alone, so that the server has computed
the images before the others arrive. Images are shrunk by our own rule and sent as PNG, so that the server's
processor finds nothing left to resize. vLLM and ``gpt4scene serve`` remember images by a name that the client gives
them: there, only the first request of a scene carries the images. Requests wait in threads that do not keep the
process: Ctrl-C ends it.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gpt4scene import talk
from gpt4scene.data.image_rule import ImageRule
from gpt4scene.data.templates import ALL_MARKS
from gpt4scene.errors import ConfigError, DataError, WorkError
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.pictures import Picture, Pictures, chat_request, short_request
from gpt4scene.inference.requests import RETRIES, TIMEOUT_S, Requests, Say, taken
from gpt4scene.inference.served import OURS, served
from gpt4scene.types import Answer, Question

REQUEST_LIMIT = 8
"""Requests at a time to a server that gets all images with each, some ten megabytes."""
NAMED_LIMIT = 32
"""Requests at a time to a server that remembers images by name."""
KNOW_NAMES = ("vllm", OURS)
"""What servers that remember images by name say of their owner, in their list of models."""
OWN_DEFAULTS = ("vllm", "sglang")
"""Servers that draw among the likeliest tokens alone where the checkpoint's generation_config.json has a ``top_k``."""
NEVER_KNOWN = 8
"""After so many requests by name that were refused, and none that was taken, every request carries its images."""
SILENCE_S = 30.0
"""So often a run says that it waits for the server."""
LAST_ANSWERS_S = 30.0
"""So long a run that a request ended waits for the answers to those under way."""
PROBE = "Describe a wooden chair beside a window in one sentence."
"""The first request, by whose answer one model is told from another behind the same name."""


@dataclass(frozen=True)
class Asked:
    """A question and its request as JSON in pieces; ``short`` is its form without images, for a server that knows them.

    The pieces of an image are shared by all requests of a scene. ``limit`` is the longest answer in tokens.
    """

    question: Question
    sample: int
    limit: int
    body: tuple[bytes, ...]
    short: tuple[bytes, ...]


Results = queue.SimpleQueue["Answer | Exception | None"]
"""Answers as they come; None says that a thread has ended."""


@dataclass(frozen=True)
class Begun:
    """A scene whose first question is under way while the scene before it is still answered."""

    questions: Sequence[Question]
    results: Results


class ServerEngine:
    """The interface of :class:`~gpt4scene.inference.engine.Engine` in front of a server.

    Args:
        base_url: such as ``http://localhost:8000/v1``.
        model: the name under which the server serves it.
        vision: of the served checkpoint, for the sizes of the images.
        request_limit: requests at a time; 8, or 32 for a server that remembers images, when left out.
        timeout: seconds that a request may take.
        retries: further tries after failures that pass.
        say: takes lines about tries and waiting.

    The key, where the server wants one, is read from ``OPENAI_API_KEY``.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        vision: ImageRule,
        request_limit: int | None = None,
        timeout: float = TIMEOUT_S,
        retries: int = RETRIES,
        say: Say | None = None,
    ) -> None:
        self.requests = Requests(base_url, timeout, retries, say)
        self.base_url, self.model, self.vision, self.request_limit = base_url, model, vision, request_limit
        self._answers_as: str | None = None
        self._known: dict[str, str] = {}
        self._known_at, self._asking_again = 0, threading.Lock()
        self._said_cut = False
        self._pictures = Pictures(vision)
        self._owner = ""
        self._results: Results = queue.SimpleQueue()
        self._begun: Begun | None = None

    def identity(self) -> dict[str, str]:
        """Return what tells this server's model from another one of the same name: its own words, and a probe's answer.

        The model's name must be in the server's list, where it has one; ``ConfigError`` names what is served instead.
        ``WorkError`` for a server that can't be reached.
        """
        self._known_at = self.requests.lost
        self._known = self._said_of_itself()
        return self._known

    def _said_of_itself(self) -> dict[str, str]:
        found = served(self.requests, self.model)
        self._owner = found.get("owned_by", "")
        body = {"model": self.model, "max_tokens": 16, "temperature": 0.0, "seed": 0}
        body["messages"] = [{"role": "user", "content": [{"type": "text", "text": PROBE}]}]
        try:
            reply = self.requests.ask(body, f"{self.base_url}, a first request", few=0)
        except (DataError, WorkError) as error:
            talk.note(f"{error}; the model is known by its name only", self.requests.say)
            return found
        self._answers_as = reply.model
        found |= {"answers_as": reply.model or "", "fingerprint": reply.fingerprint or "", "probe": reply.text}
        return {name: value for name, value in found.items() if value}

    def answer(self, questions: Sequence[Question], settings: GenerationSettings | None = None) -> Iterator[Answer]:
        """Yield the answers to questions about one scene as they come.

        Raises ``DataError`` naming task and row for a reply that is no answer, ``WorkError`` when the server fails;
        answers that had come by then are yielded first. Log-probabilities are refused: servers mean different things.
        """
        yield from self._visit(questions, settings or GenerationSettings(), ())

    def _visit(
        self, questions: Sequence[Question], settings: GenerationSettings, following: Sequence[Question]
    ) -> Iterator[Answer]:
        """Yield the answers about a scene. Once all its requests are sent, the first of ``following`` is asked."""
        if settings.return_logprobs:
            raise ConfigError("log-probabilities come from the local engine alone, not from a server: --engine local")
        begun, self._begun = self._begun, None
        if begun is not None and begun.questions is not questions:
            begun = None
        self._results = queue.SimpleQueue() if begun is None else begun.results
        self.requests.closed.clear()
        samples = range(settings.samples)
        asked = [self._asked(question, settings, sample) for question in questions for sample in samples]
        whole = {one.question.images: place for place, one in reversed(list(enumerate(asked)))}.values()
        asked = [replace(one, short=()) if place in whole else one for place, one in enumerate(asked)]
        waiting = deque(asked[1:])

        def begin() -> None:
            if following and self._begun is None and not waiting:
                self._begun = Begun(following, queue.SimpleQueue())
                self._start(lambda: self._asked(following[0], settings), self._begun.results)

        if begun is None and asked:
            self._start(lambda: asked[0], self._results)
        yield from self._together(deque(), min(1, len(asked)), begin)
        limit = self.request_limit or (NAMED_LIMIT if self._owner in KNOW_NAMES else REQUEST_LIMIT)
        working = min(limit, len(waiting))
        for _ in range(working):
            threading.Thread(target=self._work, args=(waiting, self._results), name="request", daemon=True).start()
        yield from self._together(waiting, working, begin)

    def forget(self) -> None:
        """Let go of encoded images."""
        self._pictures.begin(())

    def received(self) -> list[Answer]:
        """Return the answers that came and were not taken, for a caller who stops in between; ask no more."""
        self.requests.close()
        found = []
        while True:
            try:
                item = self._results.get_nowait()
            except queue.Empty:
                return found
            if isinstance(item, Answer):
                found.append(item)

    def answer_scenes(
        self, scenes: Iterable[Sequence[Question]], settings: GenerationSettings | None = None
    ) -> Iterator[Iterator[Answer]]:
        """Yield an iterator of answers for each scene, in order.

        The next scene's images are encoded meanwhile, and its first question is asked once all of this one are sent.
        """
        turns = iter(scenes)
        following = next(turns, None)
        while following is not None:
            questions, following = following, next(turns, None)
            self._pictures.begin([question.images for question in (*questions, *(following or ()))])
            yield self._visit(questions, settings or GenerationSettings(), following or ())

    def _start(self, asked: Callable[[], Asked], results: Results) -> None:
        """Send one request, which is made in its own thread."""

        def work() -> None:
            try:
                results.put(self._ask(replace(asked(), short=())))
            except Exception as error:
                results.put(error)
            finally:
                results.put(None)

        threading.Thread(target=work, name="first request", daemon=True).start()

    def _together(self, waiting: deque[Asked], working: int, begin: Callable[[], None]) -> Iterator[Answer]:
        """Yield what ``working`` threads bring. After a failure no further question is sent, but those under way may
        still be answered. ``begin`` is called again and again, to begin with the next scene.
        """
        results = self._results
        failure: Exception | None = None
        last, until = time.monotonic(), float("inf")
        while working and time.monotonic() < until:
            if failure is None:
                begin()
            try:
                item = results.get(timeout=min(SILENCE_S, until - time.monotonic()))
            except queue.Empty:
                self._say_waiting(time.monotonic() - last, working)
                continue
            last = time.monotonic()
            if isinstance(item, Answer):
                yield item
            elif item is None:
                working -= 1
            elif failure is None:
                failure, until = item, last + min(LAST_ANSWERS_S, self.requests.timeout)
                waiting.clear()
                self.requests.close()
        if failure is not None:
            raise failure

    def _work(self, waiting: deque[Asked], results: Results) -> None:
        """Send one request after another until none is left or one has failed; then put None."""
        try:
            while not self.requests.closed.is_set() and (asked := taken(waiting)) is not None:
                results.put(self._ask(asked))
        except Exception as error:
            results.put(error)
        finally:
            results.put(None)

    def _say_waiting(self, seconds: float, requests: int) -> None:
        ends = f"--timeout {self.requests.timeout:g} ends a request"
        self.requests.say(f"{self.base_url}: no answer for {seconds:.0f} s, requests under way: {requests}; {ends}")

    def _content(self, question: Question) -> list[str | Picture]:
        """Return the images, then the prompt; images stand at the prompt's marks where it has them."""
        place = f"{question.task}, row {question.index}, scene {question.scene_id}"
        return self._parts(question.prompt, question.images, place)

    def _parts(self, text: str, names: Sequence[str], where: str) -> list[str | Picture]:
        """Return the parts of a message: its images at the text's marks, or else in front of it."""
        images = self._pictures(names) if names else ()
        first, *rest = ALL_MARKS.asked(text, names, where)
        if letters := ALL_MARKS.letters(text):
            raise DataError(f"{where}: a server would take the letters {letters[0]} for the token; ask without them")
        content: list[str | Picture] = [first]
        for image, behind in zip(images, rest, strict=True):
            content += [image, behind]
        return [part for part in content if part != ""]

    def _words(self, settings: GenerationSettings, sample: int = 0) -> dict[str, Any]:
        """Return what a request says beside its messages."""
        words: dict[str, Any] = {
            "model": self.model,
            "max_tokens": settings.max_new_tokens,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "seed": _seed(settings.seed, sample),
        }
        if settings.repetition_penalty is not None:
            words["repetition_penalty"] = settings.repetition_penalty
        if settings.temperature > 0 and self._owner in OWN_DEFAULTS:
            words["top_k"] = -1  # Qwen's checkpoints say 1: every draw would be the likeliest token
        return words

    def _asked(self, question: Question, settings: GenerationSettings, sample: int = 0) -> Asked:
        """Return the request for a question, for one of its answers."""
        words = self._words(settings, sample)
        content, named = self._content(question), self._owner in KNOW_NAMES
        short = short_request(words, content) if named and question.images else ()
        return Asked(
            question, sample, settings.max_new_tokens, tuple(chat_request(words, content, named)), tuple(short)
        )

    def _ask(self, asked: Asked) -> Answer:
        question = asked.question
        where = f"{self.base_url}, {question.task}, row {question.index}"
        never = self.requests.short_refused >= NEVER_KNOWN and not self.requests.short_taken
        try:
            reply = self.requests.ask(asked.body, where, short=() if never else asked.short)
            self._check_same(where)
        except WorkError as error:
            raise WorkError(f"{error}; once the server answers, the same command goes on") from None
        self._answers_as = self._answers_as or reply.model
        if reply.model is not None and reply.model != self._answers_as:
            raise DataError(
                f"{where}: '{reply.model}' answered, and '{self._answers_as}' before it; let one model answer to the "
                f"name '{self.model}', and run the same command again"
            )
        if reply.finish_reason == "length" and 0 < reply.tokens < asked.limit and not self._said_cut:
            self._said_cut = True
            talk.note(
                f"{where}: the server cut the answer after {reply.tokens} tokens, below --max_new_tokens "
                f"{asked.limit}, as one whose context is full does (vLLM: --max-model-len); said once",
                self.requests.say,
            )
        return Answer(question, reply.text, reply.tokens, reply.finish_reason, sample=asked.sample)

    def _check_same(self, where: str) -> None:
        """Raise ``DataError`` where a server that came back after lost connections is no longer the one of before.

        It is asked before an answer is taken, since the answer may be another model's.
        """
        with self._asking_again:
            lost = self.requests.lost
            if not self._known or lost == self._known_at:
                return
            found = self._said_of_itself()
            names = self._known.keys() | found.keys()
            if "probe" not in found or "probe" not in self._known:  # a first request without an answer tells nothing
                names = self._known.keys() & found.keys()
            changed = sorted(name for name in names if self._known.get(name) != found.get(name))
            if changed:
                words = ", ".join(f"{name}: {self._known.get(name)}, now {found.get(name)}" for name in changed)
                raise DataError(
                    f"{where}: the server that came back answers otherwise than the one before ({words}); "
                    "its answer is not taken. Serve the model as before, or choose another --output_dir"
                )
            self._known_at = lost


def _seed(seed: int, sample: int) -> int:
    """Return the seed of one of several answers: the first has the given one, the others their own."""
    if sample == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed} {sample}".encode()).digest()[:4], "big") >> 1
