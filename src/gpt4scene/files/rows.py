"""Rows of dataset files, one at a time: JSON lists, JSON lines, parquet, and folders of these."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_text, unique_keys

UNREAD = frozenset(
    (
        *(".csv", ".tsv", ".arrow", ".feather", ".ndjson", ".xlsx", ".pkl", ".parq"),
        *(".gz", ".zip", ".xz", ".bz2", ".zst", ".tar", ".tgz", ".lz4"),
    )
)
"""Suffixes of files that may well hold rows, and are not read: a folder with one would lack rows without a word."""

_SPACE = " \t\r\n"


def dataset_files(path: Path) -> list[Path]:
    """Return the file itself, or a folder's readable files, sorted; hidden files and folders are left alone.

    Raises DataError when there is none.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and not _is_hidden(file.relative_to(path)))
        found = [file for file in files if file.suffix.lower() in READERS]
        unread = [file for file in files if file.suffix.lower() in UNREAD]
        if unread:
            raise DataError(
                f"{unread[0]}: can't read '{unread[0].suffix}' files, of which {path} holds {len(unread)}; "
                f"write one of {', '.join(READERS)}, or move them away"
            )
        if not found:
            raise DataError(f"{path}: the folder holds no {', '.join(READERS)} file")
        return found
    if not path.is_file():
        raise DataError(f"{path}: the file does not exist; correct file_name in dataset_info.json or download the data")
    if path.suffix.lower() not in READERS:
        raise DataError(f"{path}: can't read '{path.suffix}' files; give one of {', '.join(READERS)}")
    return [path]


def read_rows(path: Path) -> Iterator[Any]:
    """Yield the rows of one file. Raises DataError for an empty or damaged file, naming the row where it breaks."""
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; write or download it again")
    yield from READERS[path.suffix.lower()](path)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _decoder(path: Path) -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=unique_keys(path, "a row"))


def _read_json(path: Path) -> Iterator[Any]:
    """Yield the objects of a JSON list without holding them all; a file of JSON lines is taken as such."""
    text, decoder = read_text(path), _decoder(path)

    def after_space(position: int) -> int:
        while position < len(text) and text[position] in _SPACE:
            position += 1
        return position

    def broken(row: int, position: int, what: str) -> DataError:
        line = text.count("\n", 0, position) + 1
        return DataError(f"{path}, row {row} (line {line}): {what}; the file is cut off or damaged, write it again")

    position = after_space(0)
    if text[position : position + 1] != "[":
        yield from _json_lines(path, text)
        return
    position, row = after_space(position + 1), 0
    while text[position : position + 1] != "]":
        try:
            value, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise broken(row, error.pos, error.msg) from None
        yield value
        row, position = row + 1, after_space(position)
        if text[position : position + 1] == ",":
            position = after_space(position + 1)
        elif text[position : position + 1] != "]":
            raise broken(row, position, "a comma or ] is missing")
    if after_space(position + 1) != len(text):
        raise broken(row, position + 1, "something stands behind the list")


def _json_lines(path: Path, text: str) -> Iterator[Any]:
    row, decoder = 0, _decoder(path)
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield decoder.decode(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}, row {row} (line {number}): {error.msg}; the file is cut off or damaged, write it again"
            ) from None
        row += 1


def _read_jsonl(path: Path) -> Iterator[Any]:
    return _json_lines(path, read_text(path))


def _read_parquet(path: Path) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path)
        for batch in table.iter_batches(batch_size=1024):
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable parquet file ({error}); write or download it again") from None


READERS: Mapping[str, Callable[[Path], Iterator[Any]]] = {
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
"""Readers by file suffix."""
