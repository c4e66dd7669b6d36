"""Amounts of memory as people write them: 8GB, 512 MiB."""

from __future__ import annotations

import re

from gpt4scene.settings.coercion import BadValueError

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B|TiB|B)", re.IGNORECASE)


def is_size(text: str) -> bool:
    """Return whether ``text`` is a number with a unit of bytes."""
    return _SIZE.fullmatch(text.strip()) is not None


def byte_count(text: str) -> int:
    """Return the number of bytes that ``text`` says; ``BadValueError`` where it says none."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise BadValueError(f"must be a size such as 8GB or 512MiB, not '{text}'")
    units = _UNITS | {"TIB": 2**40}
    return int(float(found[1]) * units[found[2].upper()])
