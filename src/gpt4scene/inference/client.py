"""Answers from an OpenAI-compatible server (vLLM, SGLang, ...), asked so that its prefix cache hits.

Scenes come one after another and the questions of a scene together: the first alone, so that the server has computed
the images before the others arrive. Images are shrunk by our own rule and sent as PNG, so that the server's
processor finds nothing left to resize.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, cast

from PIL import Image

from gpt4scene.data.marks import IMAGE_MARK
from gpt4scene.data.vision import VisionRule, fit, open_image, to_rgb
from gpt4scene.errors import DataError
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.types import Answer, Question

REQUEST_LIMIT = 8
"""Requests at a time; each carries all images of the scene, some ten megabytes."""
REQUEST_SECONDS = 600.0
"""A request may take this long."""


def image_url(path: str, rule: VisionRule) -> str:
    """Return the image as a PNG data URL, resized as for the local model; ``DataError`` names an unreadable file."""
    with open_image(path) as image:
        try:
            resized = to_rgb(image).resize(fit(image.size, rule), Image.Resampling.BICUBIC)
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"image {path}: it can't be decoded ({error}); copy or render it again") from None
    buffer = io.BytesIO()
    resized.save(buffer, format="PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


class ServerEngine:
    """The interface of :class:`~gpt4scene.inference.engine.Engine` in front of a server.

    Args:
        base_url: such as ``http://localhost:8000/v1``.
        model: the name under which the server serves it.
        vision: of the served checkpoint, for the sizes of the images.
        request_limit: requests at a time.

    The key, where the server wants one, is read from ``OPENAI_API_KEY``.
    """

    def __init__(self, base_url: str, model: str, vision: VisionRule, request_limit: int = REQUEST_LIMIT) -> None:
        from openai import OpenAI

        self.client = OpenAI(
            base_url=base_url,
            api_key=os.environ.get("OPENAI_API_KEY") or "none",
            timeout=REQUEST_SECONDS,
            max_retries=2,
        )
        self.base_url, self.model, self.vision, self.request_limit = base_url, model, vision, request_limit
        self._scene: tuple[tuple[str, ...], list[dict[str, Any]]] = ((), [])

    def answer(self, questions: Sequence[Question], settings: GenerationSettings | None = None) -> Iterator[Answer]:
        """Yield the answers to questions about one scene as they come. ``DataError`` when the server fails."""
        settings = settings or GenerationSettings()
        if not questions:
            return
        yield self._ask(questions[0], settings)
        with ThreadPoolExecutor(max_workers=self.request_limit, thread_name_prefix="requests") as pool:
            waiting = [pool.submit(self._ask, question, settings) for question in questions[1:]]
            try:
                for answered in as_completed(waiting):
                    yield answered.result()
            finally:
                for request in waiting:
                    request.cancel()

    def answer_scenes(
        self, scenes: Iterable[Sequence[Question]], settings: GenerationSettings | None = None
    ) -> Iterator[Iterator[Answer]]:
        """Yield an iterator of answers for each scene, in order."""
        for questions in scenes:
            yield self.answer(questions, settings)

    def _images(self, images: tuple[str, ...]) -> list[dict[str, Any]]:
        known, parts = self._scene
        if known != images:
            urls = [image_url(path, self.vision) for path in images]
            parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
            self._scene = (images, parts)
        return parts

    def _content(self, question: Question) -> list[dict[str, Any]]:
        """Return the images, then the prompt; images stand at the prompt's marks where it has them."""
        images = self._images(question.images)
        first, *rest = question.prompt.split(IMAGE_MARK)
        if not rest:
            return [*images, {"type": "text", "text": question.prompt}]
        if len(rest) != len(images):
            raise DataError(
                f"{question.task}, row {question.index}: the prompt has {len(rest)} {IMAGE_MARK} marks, but scene "
                f"{question.scene_id} has {len(images)} images"
            )
        content = [{"type": "text", "text": first}]
        for image, text in zip(images, rest, strict=True):
            content += [image, {"type": "text", "text": text}]
        return [part for part in content if part.get("text") != ""]

    def _ask(self, question: Question, settings: GenerationSettings) -> Answer:
        import openai

        extra = {} if settings.repetition_penalty is None else {"repetition_penalty": settings.repetition_penalty}
        where = f"{self.base_url}, {question.task}, row {question.index}"
        try:
            reply = self.client.chat.completions.create(
                model=self.model,
                messages=cast(Any, [{"role": "user", "content": self._content(question)}]),
                max_tokens=settings.max_new_tokens,
                temperature=settings.temperature,
                top_p=settings.top_p,
                seed=settings.seed,
                extra_body=extra,
            )
        except openai.APIConnectionError as error:
            raise DataError(f"{where}: the server can't be reached ({error.__cause__ or error})") from None
        except openai.APIError as error:
            raise DataError(f"{where}: the server refused the request ({error})") from None
        if not reply.choices:
            raise DataError(f"{where}: the server's reply holds no answer")
        text = reply.choices[0].message.content or ""
        return Answer(question, text, reply.usage.completion_tokens if reply.usage else 0)
