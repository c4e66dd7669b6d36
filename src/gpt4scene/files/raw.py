"""Official benchmark files: finding them, and reading their rows as records that name file and row in every error."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json, read_text


@dataclass(frozen=True)
class Record:
    """One row of a raw file; ``origin`` names file and row."""

    values: Mapping[str, Any]
    origin: str

    def text(self, key: str) -> str:
        """Return the text under ``key``, trimmed; raise ``DataError`` when it is missing or empty."""
        value = self.values.get(key)
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"{self.origin}: '{key}' is missing or no text (found keys: {', '.join(self.values)})")
        return value.strip()

    def whole(self, key: str) -> int:
        """Return the whole number under ``key`` (official files also write it as text)."""
        return self._number(self.values.get(key), key)

    def wholes(self, key: str) -> list[int]:
        """Return the whole numbers of the list under ``key``."""
        return [self._number(value, key) for value in self.items(key)]

    def items(self, key: str) -> list[Any]:
        """Return the list under ``key``; raise ``DataError`` when it is none."""
        value = self.values.get(key)
        if not isinstance(value, list):
            raise DataError(f"{self.origin}: '{key}' must be a list (found keys: {', '.join(self.values)})")
        return value

    def _number(self, value: Any, key: str) -> int:
        try:
            return int(value)
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"{self.origin}: '{key}' must hold whole numbers, found {value!r}") from None


def find_raw(folder: Path, name: str) -> Path | None:
    """Return the file ``name`` in ``folder`` or a folder below it, or ``None``; raise ``DataError`` for several."""
    if (folder / name).is_file():
        return folder / name
    found = sorted(folder.rglob(name))
    if len(found) > 1:
        raise DataError(f"{folder}: several files {name} ({', '.join(map(str, found))}); keep one")
    return found[0] if found else None


def read_records(path: Path, key: str | None = None) -> list[Record]:
    """Return the rows of a JSON list; ``key`` names the list where the file holds an object around it."""
    content = read_json(path)
    if key is not None and isinstance(content, dict):
        content = content.get(key)
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise DataError(f"{path}: expected a list of objects" + (f" under '{key}'" if key else ""))
    return [Record(row, f"{path}, row {number}") for number, row in enumerate(content)]


def read_table(path: Path) -> list[Record]:
    """Return the rows of a CSV file with names in its first line."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path), newline="")))
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV file ({error}); download it again") from None
    return [Record(row, f"{path}, row {number}") for number, row in enumerate(rows)]
