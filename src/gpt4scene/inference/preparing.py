"""What can be done for a question before the model sees it, in threads beside the model: tokens, then pixels."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.image_rule import ImageRule
from gpt4scene.data.packs import pack_pixels
from gpt4scene.errors import DataError
from gpt4scene.files.contents import Contents
from gpt4scene.files.media import called
from gpt4scene.inference.prefixes import VisitKey
from gpt4scene.types import Branch, EncodedSample, Grid, Origin, Pack, Question

_IMAGE_THREADS = 8
"""More threads than this do not make one scene's images come sooner."""

_PREFIXES = 64
_FILES = 50_000
"""What is remembered of so many prefixes and files; then it begins anew."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A question as tokens: those of its scene's prefix (none without images), and its own behind them."""

    key: VisitKey
    prefix_P: np.ndarray
    branch_L: np.ndarray
    images: tuple[str, ...]
    grids: tuple[Grid, ...]
    rule: ImageRule
    origin: Origin

    @property
    def length(self) -> int:
        """Tokens of the whole prompt."""
        return len(self.prefix_P) + len(self.branch_L)


@dataclass(frozen=True, eq=False)
class Pixels:
    """The uint8 patches ``[P, patch length]`` of a scene's images, one behind the other, while they are decoded."""

    patches: np.ndarray
    parts: list[Future[None]]

    def result(self) -> np.ndarray:
        """Wait for all images and return the patches; ``DataError`` for the first that can't be decoded."""
        for part in self.parts:
            part.result()
        return self.patches

    def cancel(self) -> None:
        """Leave out what is not begun."""
        for part in self.parts:
            part.cancel()


class Preparer:
    """Encodes questions in one thread, since encoders belong to one, and decodes images in several.

    A file is known by what it holds: images that were replaced under their names are seen, and make another key. One
    that is replaced before it is decoded is a ``DataError``.
    ``knows`` says of a question that the model needs no pixels of its images.
    """

    def __init__(self, encoder: Encoder, knows: Callable[[Prepared], bool] = lambda prepared: False) -> None:
        self.encoder, self._knows = encoder, knows
        self._contents = Contents()
        self._pictures: dict[str, str] = {}
        self._prefixes: dict[VisitKey, np.ndarray] = {}
        self._asked: deque[tuple[Question, Future[Prepared]]] = deque()
        self._encoding = ThreadPoolExecutor(1, thread_name_prefix="encoding")
        threads = min(_IMAGE_THREADS, os.cpu_count() or 1)
        self._decoding = ThreadPoolExecutor(threads, thread_name_prefix="images")

    def encode(self, question: Question) -> Future[Prepared]:
        """Return a promise of the question as tokens; it holds ``DataError`` where a file or the prompt is wrong."""
        promise: Future[Prepared] = Future()
        self._asked.append((question, promise))
        self._encoding.submit(self._encode_all)
        return promise

    def _encode_all(self) -> None:
        """Encode everything that was asked for so far; files are looked at once for all of it."""
        work = [self._asked.popleft() for _ in range(len(self._asked))]
        looked: dict[tuple[str, ...], tuple[str, ...] | Exception] = {}
        for question, promise in work:
            if not promise.set_running_or_notify_cancel():
                continue
            try:
                if question.images not in looked:
                    looked[question.images] = self._look_at(question.images)
                found = looked[question.images]
                if isinstance(found, Exception):
                    raise found
                promise.set_result(self._prepared(self.encoder.encode_question(question), found))
            except Exception as error:  # whatever it is, it belongs to the one who waits for this question
                promise.set_exception(error)

    def _look_at(self, images: Sequence[str]) -> tuple[str, ...] | Exception:
        """Return the images' contents, or why they can't be had; the encoder forgets sizes of replaced ones."""
        try:
            hashes = tuple(map(self._contents, images))
        except ValueError as error:
            return error
        now = dict(zip(images, hashes, strict=True))
        if len(self._pictures) > _FILES:  # a server sees new paths for ever
            self._contents, self._pictures = Contents(), {}
            self.encoder.forget_images()
        if any(self._pictures.get(path, content) != content for path, content in now.items()):
            self.encoder.forget_images()
        self._pictures |= now
        return hashes

    def _prepared(self, sample: EncodedSample, contents: tuple[str, ...]) -> Prepared:
        prefix_P = sample.ids_L[: sample.cut].copy()
        key = contents, self.encoder.vision, hashlib.blake2b(prefix_P.tobytes(), digest_size=16).digest()
        if len(self._prefixes) >= _PREFIXES:
            self._prefixes.clear()
        prefix_P = self._prefixes.setdefault(key, prefix_P)  # one array for all questions that wait about a scene
        return Prepared(
            key,
            prefix_P,
            sample.ids_L[sample.cut :].copy(),
            sample.images,
            sample.grids,
            self.encoder.vision,
            sample.origin,
        )

    def pixels(self, prepared: Prepared) -> Pixels:
        """Begin to decode the images of a question and return what they will be: no rows where none are needed."""
        if self._knows(prepared):
            return Pixels(np.empty((0, prepared.rule.patch_length), dtype=np.uint8), [])
        starts = np.cumsum([0, *map(prepared.rule.patches, prepared.grids)]).tolist()
        patches = np.empty((starts[-1], prepared.rule.patch_length), dtype=np.uint8)

        def decode(index: int) -> None:
            patches[starts[index] : starts[index + 1]] = _one(prepared, index)
            path = prepared.images[index]
            if self._contents(path) != prepared.key[0][index]:  # else its prefix would be taken for that of before
                raise DataError(f"{called(path)}: the file was changed after its question was asked; ask again")

        return Pixels(patches, [self._decoding.submit(decode, index) for index in range(len(prepared.grids))])

    def close(self) -> None:
        """End the threads; what they were asked for and have not begun is dropped."""
        self._encoding.shutdown(wait=False, cancel_futures=True)
        self._decoding.shutdown(wait=False, cancel_futures=True)


def _one(prepared: Prepared, index: int) -> np.ndarray:
    """Return the patches of one image."""
    nothing = np.empty(0, dtype=np.int64)
    branch = Branch(nothing, nothing, prepared.origin)
    one = Pack(nothing, prepared.images[index : index + 1], prepared.grids[index : index + 1], (branch,))
    return pack_pixels(one, prepared.rule)
