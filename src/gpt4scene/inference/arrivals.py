"""Requests that wait: encoded and grouped by scene in the order they came, the next scenes' images decoded ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from gpt4scene.data.encoding import Encoder
from gpt4scene.inference.prefixes import PrefixStore, VisitKey
from gpt4scene.inference.preparing import Pixels, Prepared, Preparer
from gpt4scene.inference.tokens import Request, Running

LOOK_AHEAD = 4
"""Scenes whose images are decoded before their turn: 40 megabytes each at 33 images of 504x392."""


@dataclass(frozen=True, eq=False)
class Waiting:
    """A request, its question as tokens, and where it ran already, how far it came: ``prepared`` ends in its answer."""

    request: Request
    prepared: Prepared
    begun: Running | None = None

    @property
    def room(self) -> int:
        """The most own keys that its branch may have."""
        known = 0 if self.begun is None else len(self.begun.ids)
        return len(self.prepared.branch_L) + self.request.settings.max_new_tokens - known


class Arrivals:
    """The waiting requests of a scheduler, by scene; scenes and their requests stand in the order they came."""

    def __init__(self, encoder: Encoder, knows: Callable[[Prepared], bool] = lambda prepared: False) -> None:
        self.preparer = Preparer(encoder, knows)
        self._encoding: dict[int, tuple[Request, Future[Prepared]]] = {}
        self._scenes: dict[VisitKey, dict[int, Waiting]] = {}
        self._keys: dict[int, VisitKey] = {}
        self._pixels: dict[VisitKey, Pixels] = {}

    def __len__(self) -> int:
        return len(self._encoding) + len(self._keys)

    def __contains__(self, number: int) -> bool:
        return number in self._encoding or number in self._keys

    def add(self, request: Request) -> None:
        """Take a request and begin to encode it."""
        self._encoding[request.number] = request, self.preparer.encode(request.question)

    def put_back(self, running: Sequence[Running]) -> None:
        """Let requests that ran wait again, their scenes first of all."""
        for one in running:
            said = np.array(one.ids, dtype=one.prepared.branch_L.dtype)
            prepared = replace(one.prepared, branch_L=np.concatenate([one.prepared.branch_L, said]))
            self._sort_in(Waiting(one.request, prepared, one))
        first = [one.prepared.key for one in running]
        self._scenes = {key: self._scenes[key] for key in dict.fromkeys([*first, *self._scenes])}

    def _sort_in(self, one: Waiting) -> None:
        self._keys[one.request.number] = one.prepared.key
        self._scenes.setdefault(one.prepared.key, {})[one.request.number] = one

    def remove(self, numbers: Sequence[int]) -> None:
        """Take requests out of the queue, whatever the reason; unknown ones are ignored."""
        for number in numbers:
            if number in self._encoding:
                self._encoding.pop(number)[1].cancel()
            key = self._keys.pop(number, None)
            if key is not None:
                del self._scenes[key][number]
                if not self._scenes[key]:
                    del self._scenes[key]

    def failed(self, check: Callable[[Waiting], None]) -> list[tuple[int, Exception]]:
        """Sort what is encoded into scenes; take out and return what is wrong. ``check`` raises where it finds more."""
        found: list[tuple[int, Exception]] = []
        for number, (request, promise) in list(self._encoding.items()):
            if not promise.done():
                break  # they are encoded in order
            del self._encoding[number]
            try:
                one = Waiting(request, promise.result())
                check(one)
            except Exception as error:  # whatever it is, it ends this request and no other
                found.append((number, error))
                continue
            self._sort_in(one)
        return found

    def look_ahead(self, known: PrefixStore) -> None:
        """Begin to decode the images of the first few scenes whose prefixes are not ``known``; drop what none needs."""
        for key in [key for key in self._pixels if key not in self._scenes]:
            self._pixels.pop(key).cancel()
        begun = 0
        for key, scene in self._scenes.items():
            prepared = next(iter(scene.values())).prepared
            if begun >= LOOK_AHEAD:
                break
            if prepared.grids and key not in known:
                begun += 1
                if key not in self._pixels:
                    self._pixels[key] = self.preparer.pixels(prepared)

    def first_ready(self, known: PrefixStore, enough: int) -> list[Waiting]:
        """Return all requests about the first scene whose prefix is known, or whose images are decoded.

        Questions about the same images that are being encoded are waited for, unless there are ``enough``.
        """
        coming = {request.question.images for request, _ in self._encoding.values()}
        for key, scene in self._scenes.items():
            first, pixels = next(iter(scene.values())), self._pixels.get(key)
            decoded = pixels is not None and all(part.done() for part in pixels.parts)
            complete = len(scene) >= enough or first.request.question.images not in coming
            if complete and (decoded or key in known or not first.prepared.grids):
                return list(scene.values())
        return []

    def pixels(self, prepared: Prepared) -> np.ndarray:
        """Return the patches of a scene's images; ``DataError`` for one that is broken."""
        if prepared.key not in self._pixels:
            self._pixels[prepared.key] = self.preparer.pixels(prepared)
        return self._pixels[prepared.key].result()

    def forget_pixels(self, key: VisitKey) -> None:
        """Let go of the patches of a scene's images, whose prefix is known now."""
        self._pixels.pop(key, None)

    def about(self, key: VisitKey) -> list[Waiting]:
        """Return all requests about a scene that are encoded."""
        return list(self._scenes.get(key, {}).values())

    def wait(self) -> None:
        """Wait until the next question is encoded, or an image is decoded."""
        parts = [part for pixels in self._pixels.values() for part in pixels.parts]
        awaited: list[Future[Any]] = [part for part in parts if not part.done()]
        awaited += [promise for _, promise in islice(self._encoding.values(), 1)]
        wait(awaited, return_when=FIRST_COMPLETED)

    def clear(self) -> None:
        """Forget all requests."""
        self.remove([*self._encoding, *self._keys])
        for pixels in self._pixels.values():
            pixels.cancel()
        self._pixels.clear()

    def close(self) -> None:
        """End the threads."""
        self.clear()
        self.preparer.close()
