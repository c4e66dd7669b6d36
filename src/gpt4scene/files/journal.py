"""The journal of an inference run: JSON lines, appended answer by answer, so that a killed run goes on where it was.

A file's first line holds the settings that shape its answers and their fingerprint. It may hold ``model``, the name
that a local model was called by. Whether a run may go on does not depend on the name, since a model may move. Each
further line is one answer under the public keys, with ``task`` and ``index`` added, ``finish_reason``, and ``images``:
a hash of what the scene's images held. Files of a run lie in one folder: ``<task>.jsonl`` for one process,
``<task>.shard<i>.jsonl`` while several work. They are read together.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.files.answers import record_of
from gpt4scene.files.whole import write_text
from gpt4scene.types import Answer

Settings = Mapping[str, Any]
Key = tuple[str, int]


def fingerprint(settings: Settings) -> str:
    """Return a short hash of ``settings`` that does not depend on the order of its keys."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _header(settings: Settings, model: str) -> dict[str, Any]:
    return {"settings": dict(settings), "fingerprint": fingerprint(settings), **({"model": model} if model else {})}


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def journal_path(folder: str | Path, task: str, shard: int = 0, num_shards: int = 1) -> Path:
    """Return the file that one process writes for one task."""
    return Path(folder, f"{task}.jsonl" if num_shards == 1 else f"{task}.shard{shard}.jsonl")


def journal_files(folder: str | Path, task: str) -> list[Path]:
    """Return the journals of ``task`` in ``folder``: the whole one, then shards by number."""
    form = re.compile(rf"{re.escape(task)}(?:\.shard(\d+))?\.jsonl")
    found = []
    if Path(folder).is_dir():
        for path in Path(folder).iterdir():
            if match := form.fullmatch(path.name):
                found.append((-1 if match[1] is None else int(match[1]), path))
    return [path for _, path in sorted(found)]


@dataclass(frozen=True)
class JournalContent:
    """What one journal file holds: the settings of its run, and its answers with the number of their line.

    ``settings`` are ``None`` where the first line was never finished, or is an answer. A last line without its line
    break counts where it is whole (``unended``). One that was cut off while it was written is left out: ``torn`` is its
    number. ``length`` counts the bytes of what is whole. ``model`` is the name of a local model, empty where the first
    line has none, as in files of earlier versions.
    """

    path: Path
    settings: dict[str, Any] | None
    rows: tuple[tuple[int, dict[str, Any]], ...]
    unended: bool
    torn: int | None
    length: int
    model: str = ""

    def origin(self, number: int) -> str:
        """Return the place of a line for messages."""
        return f"{self.path}, line {number}"


def read_journal(path: Path) -> JournalContent:
    """Return the content of one journal; raise ``DataError`` for a line that is no JSON object before the last one."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: the journal can't be read ({error.strerror}); move it away") from None
    lines = content.split(b"\n")
    found: list[tuple[int, dict[str, Any]]] = []
    torn = None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _object(line)
        if row is not None:
            found.append((number, row))
        elif number == len(lines):
            torn = number
        else:
            raise DataError(
                f"{path}, line {number}: not a whole JSON line; remove the line and give the same command again to "
                "fill the gap, or start over with --overwrite"
            )
    header = found[0][1] if found and _is_header(found[0][1]) else {}
    settings, model = header.get("settings"), header.get("model")
    rows = tuple(found if settings is None else found[1:])
    length = len(content) - len(lines[-1]) if torn is not None else len(content)
    unended = bool(lines[-1].strip()) and torn is None
    return JournalContent(path, settings, rows, unended, torn, length, model if isinstance(model, str) else "")


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _is_header(row: Mapping[str, Any]) -> bool:
    return "settings" in row and "pred" not in row


def journal_rows(folder: str | Path, task: str) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
    """Return the answers of ``task`` from all its journals, each with its origin, and notes about lines left out.

    A run that was killed while it joined its files has rows in two of them: such a row is taken once. So is one whose
    line break is missing where another file has the whole line. Rows that contradict each other are both kept.
    """
    whole: dict[str, dict[Path, list[tuple[str, dict[str, Any]]]]] = {}
    notes = []
    contents = [read_journal(path) for path in journal_files(folder, task)]
    unended = set()
    for content in contents:
        if content.torn is not None:
            notes.append(f"{content.path}: line {content.torn} was cut off while it was written and is left out")
        for number, row in content.rows:
            key = json.dumps(row.get("index"))
            whole.setdefault(key, {}).setdefault(content.path, []).append((content.origin(number), row))
        if content.unended and content.rows:
            unended.add(content.origin(content.rows[-1][0]))
    rows = []
    for key, by_file in whole.items():
        places = [place for found in by_file.values() for place in found]
        if key == "null" or len(by_file) == 1:
            rows += places
            continue
        ended = [place for place in places if place[0] not in unended] or places[:1]
        rows += [one for number, one in enumerate(ended) if all(one[1] != other[1] for other in ended[:number])]
    return rows, notes


def ordered_rows(folder: str | Path, task: str) -> list[dict[str, Any]]:
    """Return the answers of ``task`` from all its journals, by the index of their question."""
    return sorted((row for _, row in journal_rows(folder, task)[0]), key=lambda row: row["index"])


def differences(old: Settings, new: Settings) -> list[str]:
    """Return ``"key: old, now new"`` for every setting that differs."""
    names = [*new, *(name for name in old if name not in new)]
    return [
        f"{name}: {old.get(name, 'absent')}, now {new.get(name, 'absent')}"
        for name in names
        if json.dumps(old.get(name), sort_keys=True) != json.dumps(new.get(name), sort_keys=True)
    ]


def check_settings(
    folder: str | Path,
    task: str,
    settings: Settings,
    images: Mapping[str, str] | None = None,
    earlier: Sequence[Settings] = (),
) -> None:
    """Raise ``DataError`` when a journal of ``task`` in ``folder`` is of another run.

    That is one under other settings, or one whose answers were given to other images: ``images`` has the hash of each
    scene's. ``earlier`` are the same settings as earlier versions wrote them.
    """
    for path in journal_files(folder, task):
        content = read_journal(path)
        _check_run(content, settings, earlier)
        for number, row in content.rows:
            old, now = row.get("images"), (images or {}).get(row.get("scene_id", ""))
            if old is not None and now is not None and old != now:
                raise DataError(
                    f"{content.origin(number)}: the images of scene '{row['scene_id']}' are not those that this answer "
                    f"was given to (hash {old}, now {now}); choose another --output_dir, or --overwrite to ask again"
                )


def _check_run(content: JournalContent, settings: Settings, earlier: Sequence[Settings] = ()) -> None:
    """Raise ``DataError`` where the answers of a journal are not of a run under ``settings``, in any of its forms."""
    old = content.settings
    if old is not None and not any(fingerprint(old) == fingerprint(one) for one in (settings, *earlier)):
        raise DataError(
            f"{content.path} holds answers of another run ({'; '.join(differences(old, settings))}); "
            "choose another --output_dir, or --overwrite to delete them"
        )
    for number, row in content.rows:
        whole = "task" in row and type(row.get("index")) is int and isinstance(row.get("pred"), str)
        if old is None or not whole:
            raise DataError(
                f"{content.origin(number)}: this is no line of a journal of this program; mend or delete the file, or "
                "start over with --overwrite"
            )


def done(folder: str | Path, tasks: Iterable[str]) -> set[Key]:
    """Return the keys ``(task, index)`` of all questions that some journal in ``folder`` has an answer to."""
    return {
        (task, row["index"])
        for task in tasks
        for path in journal_files(folder, task)
        for _, row in read_journal(path).rows
        if "index" in row
    }


def clear_for_shard(folder: str | Path, task: str, settings: Settings, shard: int, num_shards: int) -> None:
    """Delete what a process that starts over may delete while the other shards of the same run already write.

    That is its own file, files of other settings, and files of another number of shards.
    """
    siblings = {journal_path(folder, task, index, num_shards) for index in range(num_shards) if index != shard}
    for path in journal_files(folder, task):
        if path in siblings:
            try:
                old = read_journal(path).settings
            except DataError:
                old = {}
            if old is None or fingerprint(old) == fingerprint(settings):
                continue
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"{path}: --overwrite can't delete this ({error.strerror}); move it away") from None


class Journal:
    """One journal file, open for appending.

    Opening cuts a torn last line off and writes the settings into a new file. ``DataError`` when the file was written
    under other settings (``earlier`` are ours as earlier versions wrote them) or another process is writing it.
    ``model`` is the name of a local model, for readers; a file that has begun keeps its own. Use as a context manager,
    or call ``close``.
    """

    def __init__(self, path: str | Path, settings: Settings, earlier: Sequence[Settings] = (), model: str = "") -> None:
        self.path, self._model = Path(path), model
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise DataError(f"{self.path}: the journal can't be opened ({error.strerror})") from None
        try:
            self._lock()
            self._open(settings, earlier)
        except BaseException:
            os.close(self._file)
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{self.path}: another process is writing this journal; wait for it or stop it") from None
        except OSError:
            pass  # some network file systems have no locks; the journal works without

    def _open(self, settings: Settings, earlier: Sequence[Settings]) -> None:
        content = read_journal(self.path)
        _check_run(content, settings, earlier)
        self._length, self.answers = content.length, len(content.rows)
        os.ftruncate(self._file, self._length)
        os.lseek(self._file, self._length, os.SEEK_SET)
        if content.unended:
            self._write(b"\n")
        if content.settings is None:
            self._append(_header(settings, self._model))

    def _append(self, row: Mapping[str, Any]) -> None:
        self._write(_line(row).encode("utf-8", "surrogatepass"))

    def _write(self, content: bytes) -> None:
        rest = memoryview(content)
        length = self._length + len(rest)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            os.ftruncate(self._file, self._length)
            os.lseek(self._file, self._length, os.SEEK_SET)
            raise DataError(
                f"{self.path}: an answer could not be written ({error.strerror}); {self.answers} answers are kept "
                "in whole lines; make room and run the same command again to go on"
            ) from None
        self._length = length

    def append(self, answer: Answer) -> None:
        """Hand one answer to the operating system as a whole line; it survives a kill of this process.

        On a full disk the file is cut back to whole lines and ``DataError`` is raised.
        """
        self.append_row(record_of(answer))

    def append_row(self, row: Mapping[str, Any]) -> None:
        """Append a row as ``append`` does; it has ``task``, ``index`` and ``pred``."""
        self._append(row)
        self.answers += 1

    def sync(self) -> None:
        """Wait until the lines written so far are on the disk, so that they survive a power cut as well."""
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file; calling it twice is fine."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def merge(folder: str | Path, task: str, settings: Settings) -> Path:
    """Join all journals of ``task`` into ``<task>.jsonl``, rows by index, and delete the shards. Returns the file.

    A run that is killed in between leaves rows twice, which readers take once.
    """
    whole = journal_path(folder, task)
    shards = [path for path in journal_files(folder, task) if path != whole]
    if shards:
        models = [read_journal(path).model for path in journal_files(folder, task)]
        rows = [_header(settings, next(filter(None, models), "")), *ordered_rows(folder, task)]
        write_text(whole, "".join(map(_line, rows)))
        for path in shards:
            path.unlink(missing_ok=True)
    return whole
