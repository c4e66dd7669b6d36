"""Official benchmark files: finding them, and reading their rows as records that name file and row in every error."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.files.rows import READERS, read_rows
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
        if key not in self.values:
            raise DataError(f"{self.origin}: '{key}' is missing (found keys: {', '.join(self.values)})")
        return self._number(self.values.get(key), key)

    def wholes(self, key: str) -> list[int]:
        """Return the whole numbers of the list under ``key``."""
        return [self._number(value, key) for value in self.items(key)]

    def items(self, key: str) -> list[Any]:
        """Return the list under ``key``; raise ``DataError`` when it is none."""
        value = self.values.get(key)
        if not isinstance(value, list):
            found = f"a {type(value).__name__}" if key in self.values else f"the keys {', '.join(self.values)}"
            raise DataError(f"{self.origin}: '{key}' must be a list, found {found}")
        return value

    def texts(self, key: str) -> list[str]:
        """Return the texts of the list under ``key`` as they are; numbers count as texts, nothing else does."""
        found = []
        for value in self.items(key):
            if not _plain(value):
                raise DataError(f"{self.origin}: '{key}' must hold texts, found {value!r}")
            found.append(str(value))
        return found

    def name(self, key: str) -> str | int | float | None:
        """Return the text or number under ``key`` that names something, ``None`` where nothing is said."""
        value = self.values.get(key)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        if not _plain(value):
            raise DataError(f"{self.origin}: '{key}' must be a text or a number, found {value!r}")
        return value

    def _number(self, value: Any, key: str) -> int:
        try:
            number = int(value)
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is None or isinstance(value, bool) or (isinstance(value, float) and value != number):
            raise DataError(f"{self.origin}: '{key}' must hold whole numbers, found {value!r}")
        return number


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value == value


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
    if not isinstance(content, list):
        raise DataError(f"{path}: expected a list of objects" + (f" under '{key}'" if key else ""))
    for number, row in enumerate(content):
        if not isinstance(row, dict):
            raise DataError(f"{path}, row {number}: expected an object with keys, found a {type(row).__name__}")
    return [Record(row, f"{path}, row {number}") for number, row in enumerate(content)]


OFFICIAL = (".json", ".jsonl", ".parquet", ".csv", ".tsv")
"""Suffixes of the files that ``read_official`` reads."""

LONGEST_CELL = 1 << 30
"""Characters of a cell in a table; some hold whole images as text."""


def read_official(path: Path, key: str | None = None) -> list[Record]:
    """Return the rows of a JSON list, JSON lines, a parquet file, or a table with names in its first line.

    ``key`` names the list where a JSON file holds an object around it.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    if suffix == ".json":
        return read_records(path, key)
    if suffix in (".csv", ".tsv"):
        return read_table(path, "," if suffix == ".csv" else "\t")
    if suffix not in READERS:
        raise DataError(f"{path}: '{path.suffix}' files can't be read; write one of {', '.join(OFFICIAL)}")
    found = []
    for number, row in enumerate(read_rows(path)):
        if not isinstance(row, dict):
            raise DataError(f"{path}, row {number}: expected an object with keys, found a {type(row).__name__}")
        found.append(Record(row, f"{path}, row {number}"))
    return found


def read_table(path: Path, delimiter: str = ",") -> list[Record]:
    """Return the rows of a CSV file with names in its first line; ``DataError`` for a row of more or fewer columns."""
    try:
        csv.field_size_limit(LONGEST_CELL)
        rows = [row for row in csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter) if row]
    except csv.Error as error:
        raise DataError(f"{path}: not a {path.suffix[1:].upper()} file ({error}); download it again") from None
    names = rows[0] if rows else []
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: two columns are called '{twice}'; rename or remove one")
    records = []
    for number, row in enumerate(rows[1:]):
        if len(row) != len(names):
            raise DataError(
                f"{path}, row {number}: has {len(row)} columns, but the first line names {len(names)}; download it "
                "again, or write a text with commas between quotes"
            )
        records.append(Record(dict(zip(names, row, strict=True)), f"{path}, row {number}"))
    return records
