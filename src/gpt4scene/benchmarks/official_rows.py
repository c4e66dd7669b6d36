"""What official rows bring: texts as they are written, names of images, and the name of each set of images."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.files.raw import Record

IMAGE_KEYS = ("images", "image", "image_path")
"""The columns of official files that hold images, their names, or both."""

_LONGEST_NAME = 1000  # a longer text is an image in base64


def as_written(record: Record, *keys: str) -> str:
    """Return the text under the first of ``keys`` that the record has, with its white space; ``DataError`` for none."""
    key = next((key for key in keys if key in record.values), keys[0])
    record.text(key)
    return record.values[key]


def image_names(record: Record) -> tuple[str, ...]:
    """Return the names of the record's images; one that comes as bytes, or as text in base64, is named by its hash.

    None where the record has no images. Raises ``DataError`` for a column that is neither a name nor a list.
    """
    key = next((key for key in IMAGE_KEYS if record.values.get(key) not in (None, "", [])), None)
    if key is None:
        return ()
    images, place = record.values[key], f"{record.origin}: '{key}'"
    if isinstance(images, str) and images.startswith("[") and images.endswith("]"):
        images = _listed(images, place)
    if isinstance(images, str | bytes | Mapping):
        images = [images]
    if not isinstance(images, Sequence):
        raise DataError(f"{place} must hold images or their names, found a {type(images).__name__}")
    return tuple(_name(image, f"{place}, image {number}") for number, image in enumerate(images))


def _listed(text: str, place: str) -> list[Any]:
    """Return the list that a cell of a table writes as Python does."""
    try:
        return list(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise DataError(f"{place} begins and ends like a list, and is none that can be read") from None


def _name(image: Any, place: str) -> str:
    if isinstance(image, Mapping):
        image = image.get("bytes") or image.get("path")
    if isinstance(image, str) and 0 < len(image) < _LONGEST_NAME:
        return image
    if isinstance(image, str | bytes) and image:
        content = image if isinstance(image, bytes) else image.encode()
        return f"image_{hashlib.sha256(content).hexdigest()[:12]}.jpg"
    raise DataError(f"{place}, is neither an image nor the name of one, found a {type(image).__name__}")


def set_name(images: Sequence[str], otherwise: str) -> str:
    """Return the name of a set of images: the last parts of the first one's path and a hash of all names.

    The same images in the same order have one name in every file. ``otherwise`` is the name of an empty set.
    """
    if not images:
        return otherwise
    first = PurePosixPath(images[0].replace("\\", "/")).with_suffix("")
    readable = re.sub(r"[^0-9A-Za-z-]+", "_", "_".join(first.parts[-3:])).strip("_")
    return f"{readable}-{hashlib.sha256(chr(10).join(images).encode()).hexdigest()[:8]}"
