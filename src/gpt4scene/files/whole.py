"""Files and folders that appear whole or not at all, and JSON that is read with every mistake named.

Everything that the package writes goes through ``whole_file`` or ``whole_folder``: under a temporary name beside
its place, brought to the disk, then renamed. A process that is killed leaves the old file, or none; what it had begun
is removed by the next that writes into the same folder.
"""

from __future__ import annotations

import fcntl
import glob
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.files.partial import grown_name, is_for, leftovers, temporary_name

_GAP = re.compile(r"[\s,]*")
_HALF = re.compile("[\ud800-\udfff]")


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give the temporary path to write to; at the end of the block it becomes ``path``. Missing folders are made.

    After an error nothing is left of it. Raises ``DataError`` where ``path`` is a folder, ``OSError`` naming ``path``.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path)
    partial = temporary_name(path)
    try:
        yield partial
        _to_disk(partial)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _named(error, partial, path) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def grown_file(path: str | Path, tag: str) -> Iterator[Path]:
    """Give the path of what has come so far of ``path``; at the end of the block it becomes ``path``.

    After an error, or when the process is killed, it stays, and the next call with the same ``tag``, which has no dot,
    gives it again. What was begun under other tags is removed. Raises ``DataError`` where ``path`` is a folder, or
    another process is at the same file; ``OSError`` naming ``path``.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    grown = grown_name(path, tag)
    start = grown.name.removesuffix(f"{tag}.grown")
    for other in path.parent.glob(f"{glob.escape(start)}*.grown"):
        if other != grown and "." not in other.name[len(start) :].removesuffix(".grown"):
            other.unlink(missing_ok=True)
    try:
        with grown.open("ab") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield grown
            _to_disk(grown)
            os.replace(grown, path)
    except BlockingIOError:
        raise DataError(f"{path}: another process fetches it; wait for its end") from None
    except OSError as error:
        raise _named(error, grown, path) from error


def grown_size(path: str | Path, tag: str) -> int:
    """Return how many bytes ``grown_file`` would give of ``path``."""
    grown = grown_name(Path(path), tag)
    return grown.stat().st_size if grown.is_file() else 0


@contextmanager
def whole_folder(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """Give a temporary, empty folder to fill; at the end of the block it becomes ``path``.

    ``path`` must be missing or empty, unless ``replace`` says that what is there goes away. After an error nothing is
    left of it. Raises ``DataError`` where something stands in the way, ``OSError`` naming the file.
    """
    path = Path(path)
    _clear(path)
    if path.exists() and not path.is_dir():
        raise DataError(f"{path}: is a file; name a folder")
    if not replace and path.is_dir() and any(path.iterdir()):
        raise DataError(f"{path}: already holds something; choose another folder or remove it")
    shutil.rmtree(path.with_name(f".{path.name}.part"), ignore_errors=True)  # as earlier versions called it
    partial = temporary_name(path)
    try:
        partial.mkdir(parents=True)
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                _to_disk(file)
        _rename_folder(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write ``content`` and return ``path``."""
    with whole_file(path) as partial:
        partial.write_bytes(content)
    return Path(path)


def write_text(path: str | Path, content: str) -> Path:
    """Write ``content`` in UTF-8 and return ``path``."""
    return write_bytes(path, content.encode("utf-8", "surrogatepass"))


def write_json(
    path: str | Path, content: object, indent: int | None = 1, default: Callable[[Any], Any] | None = None
) -> Path:
    """Write ``content`` as JSON with a line break at its end and return ``path``.

    ``default`` turns values that JSON has no form for into some that it has. Half a character, which some answers hold
    and UTF-8 has no form for, is written as an escape, so that the file can be read again.
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False, default=default) + "\n"
    return write_text(path, _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", text))


def copy_file(source: str | Path, target: str | Path) -> Path:
    """Copy the bytes of ``source`` and return ``target``; nothing is done where both are the same file."""
    target = Path(target)
    if not (target.exists() and target.samefile(source)):
        with whole_file(target) as partial:
            shutil.copyfile(source, partial)
    return target


def read_text(path: str | Path, what: str = "file") -> str:
    """Return the text of a file in UTF-8; ``what`` it is called in the messages.

    A byte order mark, which some editors write, is left out. Raises ``DataError`` for a file that is missing, can't be
    read, or is no UTF-8.
    """
    path = Path(path)
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: the {what} does not exist") from None
    except OSError as error:
        raise DataError(f"{path}: the {what} can't be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: the {what} is not UTF-8 text (byte {error.start}); write or download it again"
        ) from None


def read_json(path: str | Path, what: str = "file") -> Any:
    """Return the content of a JSON file; ``what`` it is called in the messages.

    Raises ``DataError`` as ``read_text`` does, for an object with a key written twice, and for an empty file or one
    that is no JSON, with line and column, and with the row where the file holds a list.
    """
    text = read_text(path, what)
    if not text.strip():
        raise DataError(f"{path}: the {what} is empty; write or download it again")
    try:
        return json.loads(text, object_pairs_hook=unique_keys(path))
    except json.JSONDecodeError as error:
        row = _row_at(text, error.pos)
        place = f"{path}" if row is None else f"{path}, row {row}"
        raise DataError(
            f"{place}: the {what} is not JSON (line {error.lineno}, column {error.colno}: {error.msg}); "
            "it may be cut off: write or download it again"
        ) from None
    except RecursionError:
        raise DataError(f"{path}: the {what} is JSON nested too deep to be read") from None
    except DataError:
        raise
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"{path}: the {what} is JSON that can't be read ({error})") from None


def unique_keys(path: str | Path, of: str = "an object") -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    """Return what ``json`` calls for every object of ``path``; it raises ``DataError`` for a key that stands twice.

    One of its values would be lost.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"{path}: {of} has '{twice}' twice ({str(values)[:80]}…); keep one")
        return values

    return unique


def _row_at(text: str, position: int) -> int | None:
    """Return the index of the element of a list that ``position`` lies in, or ``None`` where ``text`` is no list."""
    decoder = json.JSONDecoder()
    place = len(text) - len(text.lstrip())
    if text[place : place + 1] != "[":
        return None
    row, place = 0, place + 1
    try:
        while True:
            _, place = decoder.raw_decode(text, _after_gap(text, place))
            if place >= position:
                return row
            row += 1
    except (json.JSONDecodeError, RecursionError):
        return row


def _after_gap(text: str, place: int) -> int:
    gap = _GAP.match(text, place)
    return gap.end() if gap else place


def _clear(path: Path) -> None:
    """Remove what killed writers left beside ``path``; a folder that one of them had just moved aside comes back."""
    for left in leftovers(path.parent):
        with suppress(OSError):  # another writer may be at the same
            if left.old and not left.target.exists():
                if is_for(left, path) and not path.exists():
                    left.path.rename(path)
            elif left.path.is_dir() and not left.path.is_symlink():
                shutil.rmtree(left.path)
            else:
                left.path.unlink()


def _to_disk(path: Path) -> None:
    """Wait until the content of ``path`` is on the disk, so that a power cut after the rename leaves a whole file."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _rename_folder(partial: Path, path: Path) -> None:
    if not path.exists():
        partial.rename(path)
        return
    old = temporary_name(path, old=True)
    path.rename(old)
    try:
        partial.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old)


def _named(error: OSError, partial: Path, path: Path) -> OSError:
    """Return the error under the name of ``path`` where it names the temporary file, or none."""
    if error.errno is None or error.filename not in (None, str(partial), partial):
        return error
    return OSError(error.errno, error.strerror, str(path))
