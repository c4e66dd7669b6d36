"""Where official files lie: their names with alternatives, shards and folders, and their rows one at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpt4scene.errors import DataError
from gpt4scene.files.raw import Record, find_raw
from gpt4scene.files.rows import read_rows

OTHERWISE = "|"
"""Stands between names of which one is enough."""
_SHARD = re.compile(r"(.*)-(\d+)-of-(\d{1,6})")


def find_official(folder: Path, names: str) -> list[Path]:
    """Return the files in or below ``folder`` that the first of ``names`` finds; none where all are absent.

    ``|`` stands between names, of which the first that is there counts. A name with ``*`` stands for all shards of one
    file, which lie in one folder. Raises ``DataError`` where several files or folders could be meant.
    """
    for name in names.split(OTHERWISE):
        if "*" not in name:
            path = find_raw(folder, name)
            if path is not None:
                return [path]
            continue
        found = sorted(path for path in folder.rglob(name) if path.is_file())
        places = sorted({path.parent for path in found})
        if len(places) > 1:
            raise DataError(f"{folder}: {name} is in several folders ({', '.join(map(str, places))}); keep one")
        if found:
            _check_shards(found)
            return found
    return []


def _check_shards(paths: Sequence[Path]) -> None:
    """Raise ``DataError`` where names such as ``test-00000-of-00003`` tell of files that are not there."""
    numbers: dict[tuple[str, str], set[int]] = {}
    for path in paths:
        shard = _SHARD.fullmatch(path.stem)
        if shard:
            numbers.setdefault((shard[1], shard[3]), set()).add(int(shard[2]))
    for (name, count), there in numbers.items():
        absent = [number for number in range(int(count)) if number not in there]
        if absent:
            raise DataError(
                f"{paths[0].parent}: {len(absent)} of {int(count)} files are not there, the first of them "
                f"{name}-{absent[0]:0{len(count)}d}-of-{count}{paths[0].suffix}; download them, too"
            )


def official_rows(paths: Sequence[Path]) -> Iterator[Record]:
    """Yield the rows of parquet files one at a time: with their images they may be larger than the memory."""
    for path in paths:
        for number, row in enumerate(read_rows(path)):
            if not isinstance(row, dict):
                raise DataError(f"{path}, row {number}: expected an object with keys, found a {type(row).__name__}")
            yield Record(row, f"{path}, row {number}")


def in_parquet(paths: Sequence[Path]) -> bool:
    """Return whether all of ``paths`` are parquet files."""
    return all(path.suffix.lower() == ".parquet" for path in paths)
