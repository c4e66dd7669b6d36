"""The journal of an inference run: JSON lines, appended answer by answer, so that a killed run goes on where it was.

A file's first line holds the settings that shape its answers and their fingerprint; each further line is one answer
under the public keys, with ``task`` and ``index`` added. Files of a run lie in one folder: ``<task>.jsonl`` for one
process, ``<task>.shard<i>.jsonl`` while several work. They are read together.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.types import Answer

Settings = Mapping[str, Any]
Key = tuple[str, int]


def fingerprint(settings: Settings) -> str:
    """Return a short hash of ``settings`` that does not depend on the order of its keys."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def answer_row(answer: Answer) -> dict[str, Any]:
    """Return the public prediction row of an answer, plus ``task`` and ``index``, its identity."""
    question = answer.question
    return {
        "scene_id": question.scene_id,
        "qid": question.qid,
        "gt_id": question.obj_id,
        "pred_id": question.pred_id,
        "prompt": question.prompt,
        "pred": answer.text,
        "ref_captions": list(question.ref_captions),
        "type_info": question.type_info,
        "task": question.task,
        "index": question.index,
    }


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


def _whole_lines(path: Path) -> tuple[list[bytes], int]:
    """Return the lines of ``path`` that end in a line break, and their length in bytes."""
    content = path.read_bytes()
    length = content.rfind(b"\n") + 1
    return content[:length].split(b"\n")[:-1], length


def read_journal(path: Path) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return the settings and the answer rows of one journal; a torn last line is left out.

    Settings are None where the first line was never finished. A broken line further up is a ``DataError``.
    """
    lines, _ = _whole_lines(path)
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            valid = isinstance(row, dict) and ({"task", "index", "pred"} if number > 1 else {"settings"}) <= row.keys()
        except ValueError:
            valid = False
        if not valid:
            raise DataError(
                f"{path}, line {number}: this is no line of a journal; mend or delete the file, or start over with "
                "--overwrite"
            )
        rows.append(row)
    return (rows[0]["settings"], rows[1:]) if rows else (None, [])


def read_rows(folder: str | Path, task: str) -> list[dict[str, Any]]:
    """Return the answer rows of ``task`` from all its journals, by index, each index once."""
    rows: dict[int, dict[str, Any]] = {}
    for path in journal_files(folder, task):
        for row in read_journal(path)[1]:
            rows.setdefault(row["index"], row)
    return [rows[index] for index in sorted(rows)]


def differences(old: Settings, new: Settings) -> list[str]:
    """Return ``"key: old, now new"`` for every setting that differs."""
    names = [*new, *(name for name in old if name not in new)]
    return [
        f"{name}: {old.get(name)}, now {new.get(name)}"
        for name in names
        if json.dumps(old.get(name), sort_keys=True) != json.dumps(new.get(name), sort_keys=True)
    ]


def check_settings(folder: str | Path, task: str, settings: Settings) -> None:
    """Raise ``DataError`` when a journal of ``task`` in ``folder`` was written under other settings."""
    for path in journal_files(folder, task):
        old, _ = read_journal(path)
        if old is not None and fingerprint(old) != fingerprint(settings):
            raise DataError(
                f"{path} holds answers of another run ({'; '.join(differences(old, settings))}); "
                "choose another --output_dir, or --overwrite to delete them"
            )


def done(folder: str | Path, tasks: Iterable[str]) -> set[Key]:
    """Return the keys ``(task, index)`` of all questions that some journal in ``folder`` has an answer to."""
    return {
        (task, row["index"]) for task in tasks for path in journal_files(folder, task) for row in read_journal(path)[1]
    }


def clear(folder: str | Path, task: str) -> None:
    """Delete every journal of ``task`` in ``folder``."""
    for path in journal_files(folder, task):
        path.unlink(missing_ok=True)


def clear_for_shard(folder: str | Path, task: str, settings: Settings, shard: int, num_shards: int) -> None:
    """Delete what a process that starts over may delete while the other shards of the same run already write.

    That is its own file, files of other settings, and files of another number of shards.
    """
    siblings = {journal_path(folder, task, index, num_shards) for index in range(num_shards) if index != shard}
    for path in journal_files(folder, task):
        if path in siblings:
            try:
                old, _ = read_journal(path)
            except DataError:
                old = {}
            if old is None or fingerprint(old) == fingerprint(settings):
                continue
        path.unlink(missing_ok=True)


class Journal:
    """One journal file, open for appending.

    Opening cuts a torn last line off and writes the settings into a new file. ``DataError`` when the file was written
    under other settings or another process is writing it. Use as a context manager, or call ``close``.
    """

    def __init__(self, path: str | Path, settings: Settings) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise DataError(f"{self.path}: the journal can't be opened ({error.strerror})") from None
        try:
            self._lock()
            self._open(settings)
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

    def _open(self, settings: Settings) -> None:
        old, rows = read_journal(self.path)
        if old is not None and fingerprint(old) != fingerprint(settings):
            raise DataError(
                f"{self.path} holds answers of another run ({'; '.join(differences(old, settings))}); "
                "choose another --output_dir, or --overwrite to delete them"
            )
        self._length = _whole_lines(self.path)[1]
        self.answers = len(rows)
        os.ftruncate(self._file, self._length)
        os.lseek(self._file, self._length, os.SEEK_SET)
        if old is None:
            self._append({"settings": dict(settings), "fingerprint": fingerprint(settings)})

    def _append(self, row: Mapping[str, Any]) -> None:
        rest = memoryview(_line(row).encode("utf-8", "surrogatepass"))
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
        self._append(answer_row(answer))
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


def _write_whole(path: Path, pieces: Iterator[str]) -> None:
    """Write ``path`` under a temporary name and rename it, so that it is either absent, old or complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "w", encoding="utf-8", errors="surrogatepass") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: the file can't be written ({error.strerror})") from None


def merge(folder: str | Path, task: str, settings: Settings) -> Path:
    """Join all journals of ``task`` into ``<task>.jsonl``, rows by index, and delete the shards. Returns the file.

    A run that is killed in between leaves rows twice, which readers take once.
    """
    whole = journal_path(folder, task)
    shards = [path for path in journal_files(folder, task) if path != whole]
    if shards:
        rows = read_rows(folder, task)
        header = {"settings": dict(settings), "fingerprint": fingerprint(settings)}
        _write_whole(whole, (_line(row) for row in [header, *rows]))
        for path in shards:
            path.unlink(missing_ok=True)
    return whole


def to_public(
    folder: str | Path,
    task: str,
    model: str = "qwenvl",
    chunk: int = 0,
    chunks: int = 1,
    scenes: Container[str] | None = None,
) -> Path:
    """Write answers of ``task`` as ``<model>_<task>/predictions_chunk_<chunk>.json`` in ``folder``; return that file.

    The rows carry the public keys and ``index``; with ``scenes``, only answers about those. Files of chunks past
    ``chunks`` are deleted: they would count answers twice.
    """
    rows = [
        {name: value for name, value in row.items() if name != "task"}
        for row in read_rows(folder, task)
        if scenes is None or row["scene_id"] in scenes
    ]
    out = Path(folder, f"{model}_{task}")
    path = out / f"predictions_chunk_{chunk}.json"
    _write_whole(path, iter([json.dumps(rows, ensure_ascii=False, indent=1) + "\n"]))
    for other in out.glob("predictions_chunk_*.json"):
        number = other.stem.removeprefix("predictions_chunk_")
        if number.isdigit() and int(number) >= chunks:
            other.unlink(missing_ok=True)
    return path
