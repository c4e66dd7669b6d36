"""Images of requests: decoded once each, checked, brought to the model's size, and kept in files by their content.

Only images that lie in the request itself (data URLs) are taken: nothing is opened or fetched because a stranger names
it. What is kept is bounded; what no request uses goes first, the longest unused before others. Who knows the name of
an image, a hash of 256 bits that only its bytes give, may ask about it without sending it again.
"""

from __future__ import annotations

import asyncio
import base64
import io
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from gpt4scene.data.image_rule import ImageRule
from gpt4scene.files.pixels import rgb, still
from gpt4scene.inference.pictures import name_of
from gpt4scene.serve.fields import ImagePart
from gpt4scene.serve.refusals import Refusal, busy

FORMS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
"""Forms of images that are taken, as Pillow calls its readers; that of JPEG reads MPO, which some cameras write."""
MIB = 2**20
LONGEST_HEAD = 200
"""Letters of a data URL before its data."""
MOST_SCANS = 200
"""A JPEG with more passes over its pixels could take hours; encoders write ten."""


@dataclass(frozen=True)
class ImageBounds:
    """What an image of a request may be: bytes as sent, pixels once decoded. ``kept`` bytes of ``files`` are held."""

    most_bytes: int = 20 * MIB
    most_pixels: int = 25_000_000
    kept: int = 4096 * MIB
    files: int = 50_000


@dataclass(frozen=True)
class Sent:
    """An image as it was sent: the bytes of its file, None where only their name was."""

    content: bytes | None
    name: str
    place: str


def sent(part: ImagePart, number: int, bounds: ImageBounds) -> Sent:
    """Return the file that an image's data URL holds, or its name where nothing else was sent.

    Raises ``Refusal`` for every other address, for a name that is not the file's, and past the bound.
    """
    place = f"image {number + 1}"
    if part.image_url is None:
        if part.uuid is None:
            raise _bad(place, "it has neither an image_url nor the uuid of an image that was sent before")
        return Sent(None, part.uuid, place)
    content = _content(part.image_url.url, place, bounds)
    name = name_of(content)
    if part.uuid not in (None, name):
        raise _bad(place, "its uuid is not the name of its bytes: gpt4scene- and their SHA-256 in hex; leave it out")
    return Sent(content, name, place)


def _content(url: str, place: str, bounds: ImageBounds) -> bytes:
    """Return the bytes in a data URL."""
    head, comma, text = url.partition(",") if url[:5].lower() == "data:" else (url, "", "")
    if not comma:
        message = (
            f"{place}: only images in the request itself are taken, as data:image/png;base64,…; no other address is"
        )
        raise Refusal(400, message, param="messages", code="invalid_image_url")
    words = head[5:LONGEST_HEAD].lower().split(";")
    if len(head) > LONGEST_HEAD or not words[0].startswith("image/") or words[-1].strip() != "base64":
        message = f"{place}: a data URL of an image begins with data:image/<form>;base64,"
        raise Refusal(400, message, param="messages", code="invalid_image_url")
    if len(text) * 3 // 4 > bounds.most_bytes + 3:
        message = f"{place}: has over {bounds.most_bytes} bytes; send it smaller, or compressed"
        raise Refusal(413, message, param="messages", code="image_too_large")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise _bad(place, "its data is no base64") from None


def picture(content: bytes, place: str, rule: ImageRule, bounds: ImageBounds) -> Image.Image:
    """Return an image file in RGB, resized as for the model. Raises ``Refusal`` for one that is none or too large."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMS) as opened:
            width, height = opened.size
            if width * height > bounds.most_pixels:
                raise _too_large(place, f"{width}x{height}", bounds)
            if opened.format in ("JPEG", "MPO") and content.count(b"\xff\xda") > MOST_SCANS:
                raise ValueError(f"it has over {MOST_SCANS} scans; save it anew")
            if opened.format == "GIF" and getattr(opened, "is_animated", False):  # counting a million takes long
                raise ValueError("it holds several pictures; send one")
            size = rule.fit(opened.size)
            return rgb(still(opened)).resize(size, Image.Resampling.BICUBIC)
    except Refusal:
        raise
    except Image.DecompressionBombError:  # Pillow's own bound, far above
        raise _too_large(place, "it", bounds) from None
    except Exception as error:  # a stranger's bytes: decoders raise whatever they like, and none of it may pass
        words = str(error)[:200] if isinstance(error, ValueError) else type(error).__name__
        raise _bad(place, f"it can't be decoded ({words}); PNG, JPEG, WebP, BMP and GIF are taken") from None


def _too_large(place: str, size: str, bounds: ImageBounds) -> Refusal:
    message = f"{place}: {size} is over {bounds.most_pixels} pixels; send it smaller"
    return Refusal(413, message, param="messages", code="image_too_large")


def _bad(place: str, why: str) -> Refusal:
    return Refusal(400, f"{place}: {why}", param="messages", code="invalid_image")


@dataclass
class _Kept:
    """A file: how large it is, and how many requests use it."""

    path: str
    size: int
    users: int = 0


@dataclass
class ImageStore:
    """Keeps images as files in ``folder``, which is this store's own. One event loop calls it.

    ``pool`` decodes. ``decoded`` counts images that were, ``found`` those that were here; ``bytes`` are the files'.
    """

    folder: Path
    rule: ImageRule
    pool: ThreadPoolExecutor
    bounds: ImageBounds = field(default_factory=ImageBounds)
    decoded: int = 0
    found: int = 0
    bytes: int = 0
    _kept: OrderedDict[str, _Kept] = field(default_factory=OrderedDict)
    _coming: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._kept)

    async def keep(self, images: Sequence[Sent]) -> list[str]:
        """Return the names of the images' files, which stay until ``release`` gets them.

        Images that are here need no decoding; one that several requests send at a time is decoded once. Raises
        ``Refusal`` for one that is none, for a name of one that is not here, and where requests under way use all of
        the room.
        """
        names = [image.name for image in images]
        held: list[str] = []
        self.found += sum(name in self._kept for name in names)
        try:
            done = await asyncio.gather(*(self._hold(image, held) for image in images), return_exceptions=True)
            for error in done:
                if error is not None:
                    raise error
        except BaseException:
            self.release(held)
            raise
        return names

    def paths(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the paths of files that are held."""
        return tuple(self._kept[name].path for name in names)

    def release(self, names: Iterable[str]) -> None:
        """Let go of files that ``keep`` gave to a request."""
        for name in names:
            self._kept[name].users -= 1

    async def _hold(self, image: Sent, held: list[str]) -> None:
        """Count one user more of the image, decoded before where it is not here: new, or removed by who cleans up."""
        while image.name not in self._kept or not os.path.exists(self._kept[image.name].path):
            coming = self._coming.get(image.name)
            if coming is None:
                if image.content is None:
                    message = f"{image.place}: no image of its uuid is kept here, or no longer; send the image itself"
                    raise Refusal(404, message, param="messages", code="image_not_found")
                coming = asyncio.ensure_future(self._decode(image.name, image.content, image.place))
                self._coming[image.name] = coming
            await asyncio.shield(coming)
        self._kept[image.name].users += 1
        self._kept.move_to_end(image.name)
        held.append(image.name)

    async def _decode(self, name: str, content: bytes, place: str) -> None:
        """Put the image into a file, and forget others where there is no room for it."""
        path = self.folder / f"{name}.ppm"
        try:
            size = await asyncio.get_running_loop().run_in_executor(self.pool, self._write, content, place, path)
            self.decoded += 1
            if name in self._kept:
                return  # its file had gone
            while self.bytes + size > self.bounds.kept or len(self._kept) >= self.bounds.files:
                unused = next((name for name, kept in self._kept.items() if not kept.users), None)
                if unused is None:
                    path.unlink()
                    raise busy("requests under way use all the room for images; try again when they are answered", 5)
                self._drop(unused)
            self._kept[name] = _Kept(str(path), size)
            self.bytes += size
        finally:
            del self._coming[name]

    def _write(self, content: bytes, place: str, path: Path) -> int:
        try:
            picture(content, place, self.rule, self.bounds).save(path, "PPM")
            return path.stat().st_size
        except OSError as error:
            path.unlink(missing_ok=True)
            raise Refusal(503, f"images can't be kept here ({error.strerror}); try again later") from error

    def _drop(self, name: str) -> None:
        kept = self._kept.pop(name)
        self.bytes -= kept.size
        Path(kept.path).unlink(missing_ok=True)
