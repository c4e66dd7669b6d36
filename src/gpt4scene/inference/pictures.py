"""Images as a server takes them: encoded once a scene, in several threads, and sent by name where it remembers them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from PIL import Image

from gpt4scene.data.image_files import open_image
from gpt4scene.data.image_rule import ImageRule
from gpt4scene.errors import DataError
from gpt4scene.files.contents import Contents
from gpt4scene.files.pixels import rgb, still

THREADS = min(8, os.cpu_count() or 1)
"""Threads that encode images."""
_SCENES = 2
"""Scenes whose images are kept: the one that is asked about and the next."""


@dataclass(frozen=True)
class Picture:
    """An image as PNG: ``letters`` are its base64, ``name`` is that of its bytes."""

    letters: bytes
    name: str

    @property
    def url(self) -> str:
        """The data URL that holds the image."""
        return "data:image/png;base64," + self.letters.decode()

    def pieces(self, named: bool) -> tuple[bytes, ...]:
        """Return the part of a message that holds the image, and its name if ``named``, as JSON in pieces."""
        name = f',"uuid":{json.dumps(self.name)}' if named else ""
        return (
            b'{"type":"image_url","image_url":{"url":"data:image/png;base64,',
            self.letters,
            b'"}' + name.encode() + b"}",
        )

    def name_alone(self) -> bytes:
        """Return the part of a message that names an image which the server has."""
        return f'{{"type":"image_url","image_url":null,"uuid":{json.dumps(self.name)}}}'.encode()


def name_of(content: bytes) -> str:
    """Return the name of an image's bytes, which tells them from all others and can't be guessed: their SHA-256."""
    return f"gpt4scene-{hashlib.sha256(content).hexdigest()}"


def picture(path: str, rule: ImageRule) -> Picture:
    """Return the image as a PNG, resized as for the local model; ``DataError`` names an unreadable file."""
    with open_image(path) as image:
        try:
            resized = rgb(still(image)).resize(rule.fit(image.size), Image.Resampling.BICUBIC)
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"image {path}: it can't be decoded ({error}); copy or render it again") from None
    buffer = io.BytesIO()
    resized.save(buffer, format="PNG", compress_level=1)
    png = buffer.getvalue()
    return Picture(base64.b64encode(png), name_of(png))


class Pictures:
    """The pictures of scenes, encoded in threads. An image that was replaced under the same path is encoded anew."""

    def __init__(self, rule: ImageRule) -> None:
        self.rule = rule
        self._contents = Contents()
        self._scenes: dict[tuple[str, ...], list[Future[Picture]]] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="images")

    def __call__(self, paths: Sequence[str]) -> tuple[Picture, ...]:
        """Return the pictures in order; ``DataError`` names an unreadable file."""
        return tuple(future.result() for future in self._begun(paths))

    def begin(self, scenes: Iterable[Sequence[str]]) -> None:
        """Begin to encode the images of scenes, in order, and let go of all others.

        What is wrong with an image is said when it is taken.
        """
        with self._lock:
            kept, self._scenes = self._scenes, {}
            for paths in dict.fromkeys(map(tuple, scenes)):
                try:
                    contents = tuple(map(self._contents, paths))
                except DataError:
                    continue
                self._scenes[contents] = kept.get(contents) or self._encoding(paths)

    def _begun(self, paths: Sequence[str]) -> list[Future[Picture]]:
        contents = tuple(map(self._contents, paths))
        with self._lock:
            if contents not in self._scenes:
                while len(self._scenes) >= _SCENES:
                    del self._scenes[next(iter(self._scenes))]
                self._scenes[contents] = self._encoding(paths)
            return self._scenes[contents]

    def _encoding(self, paths: Sequence[str]) -> list[Future[Picture]]:
        return [self._threads.submit(picture, path, self.rule) for path in paths]


def chat_request(
    words: dict[str, Any], content: Iterable[str | Picture], named: bool, later: Sequence[dict[str, str]] = ()
) -> list[bytes]:
    """Return a chat request as JSON in pieces. ``words`` are its other keys; images may come with their names.

    ``content`` is that of the first message, ``later`` are the messages behind it.
    The pieces of an image are the same object in every request that shows it.
    """
    pieces, end = _opened(words, later)
    for number, part in enumerate(content):
        if number:
            pieces.append(b",")
        pieces += part.pieces(named) if isinstance(part, Picture) else [_text(part)]
    return [*pieces, end]


def short_request(
    words: dict[str, Any], content: Iterable[str | Picture], later: Sequence[dict[str, str]] = ()
) -> list[bytes]:
    """Return the same request with the names of its images alone, for a server that was sent them before."""
    pieces, end = _opened(words, later)
    parts = [part.name_alone() if isinstance(part, Picture) else _text(part) for part in content]
    return [b"".join([*pieces, b",".join(parts), end])]


def _opened(words: dict[str, Any], later: Sequence[dict[str, str]]) -> tuple[list[bytes], bytes]:
    """Return the request before and behind the content of its first message."""
    before, behind = json.dumps({**words, "messages": [{"role": "user", "content": []}]}).encode(), b"]}]}"
    more = b"".join(b"," + json.dumps(message).encode() for message in later)
    return [before.removesuffix(behind)], b"]}" + more + b"]}"


def _text(text: str) -> bytes:
    return json.dumps({"type": "text", "text": text}).encode()
