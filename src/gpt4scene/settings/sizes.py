"""Sizes in bytes as people write them: ``8GB``, ``512MiB``, ``20000000``."""

from __future__ import annotations

import re

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {f"{letter}ib": 2 ** (10 * (power + 1)) for power, letter in enumerate("kmgt")}
_FORM = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", re.ASCII)


def bytes_in(text: str) -> int:
    """Return the number of bytes that ``text`` says. Raises ``ValueError`` with the end of a sentence."""
    found = _FORM.fullmatch(text.strip())
    if found is None or found[2].lower() not in _UNITS:
        raise ValueError(f"must be a size such as 8GB or 512MiB, not '{text}'")
    return int(float(found[1]) * _UNITS[found[2].lower()])
