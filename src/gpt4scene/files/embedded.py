"""Images inside official rows: bytes of parquet files, base64 texts of tables, or the names of files beside them."""

from __future__ import annotations

import ast
import base64
import binascii
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.files.raw import Record

SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "GIF": ".gif", "TIFF": ".tif"}
"""Format of an image, as Pillow calls it -> suffix of its file."""

_LONGEST_NAME = 1000
"""A longer text is an image in base64; so is a shorter one without the suffix of an image that starts as one does."""

_STARTS = ("/9j/", "iVBOR", "UklGR", "R0lGOD", "data:image/")


def images_in(record: Record, keys: Sequence[str]) -> list[bytes | str]:
    """Return the images under the first of ``keys`` that holds any: the bytes of each, or the name of its file.

    None where the record has no images. Raises ``DataError`` for what is neither.
    """
    key = next((key for key in keys if record.values.get(key) not in (None, "", [])), None)
    if key is None:
        return []
    value = record.values[key]
    if isinstance(value, str):
        value = _list_in(value) or value
    listed = [value] if isinstance(value, str | bytes | Mapping) else value
    if not isinstance(listed, Sequence):
        raise DataError(f"{record.origin}: '{key}' must hold images or their names, found a {type(value).__name__}")
    return [_image(one, f"{record.origin}: '{key}', image {number}") for number, one in enumerate(listed)]


def suffix_of(content: bytes, place: str) -> str:
    """Return the suffix of a file with this ``content``; ``DataError`` naming ``place`` where it is no image."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return SUFFIXES[image.format or ""]
    except (OSError, SyntaxError, ValueError, KeyError, Image.DecompressionBombError):
        known = ", ".join(sorted(set(SUFFIXES)))
        raise DataError(
            f"{place} is no image that can be read (known forms: {known}); download the file again"
        ) from None


def _list_in(text: str) -> list[Any] | None:
    """Return the list that a table's cell holds as text, as JSON or as Python writes it; ``None`` for another text."""
    if not text.lstrip().startswith("["):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list):
            return found
    return None


def _image(value: Any, place: str) -> bytes | str:
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{place}: is neither an image nor the name of one, found a {type(value).__name__}")
    named = PurePosixPath(value).suffix.lower() in {*SUFFIXES.values(), ".jpeg", ".tiff"} if _is_short(value) else False
    if named or (_is_short(value) and not value.startswith(_STARTS)):
        return value
    try:
        return base64.b64decode(value.partition(",")[2] if value.startswith("data:") else value, validate=True)
    except (binascii.Error, ValueError):
        raise DataError(f"{place}: is a text of {len(value)} letters, neither a file's name nor base64") from None


def _is_short(text: str) -> bool:
    return len(text) < _LONGEST_NAME
