"""A folder of answers in any of its forms: journals of a run, one list or table a task, the public project's chunks.

Rows of the public form are read here, all others by :mod:`gpt4scene.files.named_answers`.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow, read_row
from gpt4scene.files.journal import journal_files, journal_rows, ordered_rows, read_journal
from gpt4scene.files.named_answers import NamedAnswer, is_public, named_of, read_named
from gpt4scene.files.raw import Record, read_records
from gpt4scene.files.rows import read_rows
from gpt4scene.files.thoughts import split_thought
from gpt4scene.files.whole import read_json, write_json
from gpt4scene.metrics.answer_boxes import without_arrays

OURS = frozenset({"task", "finish_reason", "images"})
"""Keys of a journal's rows that the public form does not have."""

_LISTED = 12
"""Names listed in a message."""

_START = 4096
"""Bytes that tell what form a file has."""

TABLES = (".csv", ".tsv", ".parquet")
"""Suffixes of tables, of which each row names its question and the answer."""

_ALMOST = r"(?:[ ._-]+(?:shard|chunk|part|copy)?[ ._-]*\(?[a-z]?\d*\)?|\d+)\.jsonl?"
"""What follows the task in names that are almost those of answers, such as ``scanqa_2.jsonl``."""


@dataclass(frozen=True)
class Predictions:
    """The answers of one task, in the order of their question index where they carry one.

    ``gaps`` are those of the ``notes`` that are about lines cut off, and shards and chunks that are not there.
    Answers in other forms than ours and the public one are ``named``: they say which question they answer, no more.
    ``own`` are rows in a form that the benchmark reads by itself.
    """

    task: str
    rows: list[AnswerRow]
    notes: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    named: tuple[NamedAnswer, ...] = ()
    own: tuple[Record, ...] = ()


def answer_files(folder: Path, task: str) -> dict[str, list[Path]]:
    """Return the files in ``folder`` that hold answers of ``task``: form -> files, the form to be read first.

    ``folder`` may be a file, a list, a journal or a table, of whatever name: then it is that file.
    """
    if folder.is_file():
        return {{".jsonl": "journal file", ".json": "list"}.get(folder.suffix.lower(), "table"): [folder]}
    chunks = sorted(folder.glob(f"*_{task}/predictions_chunk_*.json"), key=lambda path: (path.parent, _number(path)))
    one = folder / f"{task}.json"
    found = {"journal": journal_files(folder, task), "list": [one] if one.is_file() else [], "chunks": chunks}
    found["table"] = [path for suffix in TABLES if (path := folder / f"{task}{suffix}").is_file()]
    return {form: files for form, files in found.items() if files}


def tasks_in(folder: Path, known: Iterable[str]) -> list[str]:
    """Return those of the ``known`` tasks that ``folder`` holds answers of, in their order.

    A file holds answers of the task that its name says: ``<task>.json``, ``<task>.csv``, ``<task>.shard<i>.jsonl``.
    """
    if folder.is_file():
        return [task for task in known if folder.name.split(".")[0] == task]
    return [task for task in known if answer_files(folder, task)]


def read_predictions(folder: Path, task: str, own_keys: Sequence[str] = ()) -> Predictions:
    """Return the answers of ``task`` in ``folder``. A list whose first row has one of ``own_keys`` is given as it is.

    Read are ``<task>.jsonl`` with ``<task>.shard*.jsonl``, else ``<task>.json``, else
    ``<model>_<task>/predictions_chunk_<i>.json`` of one model, else ``<task>.csv``, ``.tsv`` or ``.parquet``. A last
    line that was cut off while it was written is left out and noted. Raises ``DataError`` for missing, empty or broken
    files and for questions answered twice.
    """
    found = answer_files(folder, task)
    if not found:
        raise DataError(f"{folder}: no answers for '{task}' ({wanted(task)}); {lies_there(folder, [task])}")
    form, *others = found
    notes = [f"read the {form} of {task} and left out {', '.join(map(str, found[other]))}" for other in others]
    notes += _passed_over(folder, task, [path for files in found.values() for path in files])
    if len({path.parent for path in found[form]}) > 1:
        folders = ", ".join(sorted({path.parent.name for path in found[form]}))
        raise DataError(f"{folder}: answers of several models for '{task}' ({folders}); keep one in the folder")
    if form == "list" and own_keys and (own := _own_rows(found[form][0], own_keys)):
        return Predictions(task, [], tuple(notes), own=own)
    if _is_named(form, found[form]):
        named = [read_named(path) for path in found[form]]
        said = tuple(note for one in named for note in one.notes)
        return Predictions(task, [], (*notes, *said), named=tuple(row for one in named for row in one.rows))
    records, gaps = _records(form, found[form], folder, task)
    rows = [read_row(record, origin) for origin, record in records]
    if not rows:
        raise DataError(f"{folder}: the {form} of '{task}' holds no answers ({', '.join(map(str, found[form]))})")
    _refuse_duplicates(rows)
    gaps += _gaps(form, found[form])
    return Predictions(task, _ordered(rows), (*notes, *gaps), tuple(gaps))


def _own_rows(path: Path, keys: Sequence[str]) -> tuple[Record, ...]:
    """Return the rows of a list whose first has one of ``keys``, and none of ours beside it; else nothing."""
    content = read_json(path) if not _object_a_line(path) else None
    first = content[0] if isinstance(content, list) and content else None
    if not isinstance(first, dict) or not set(keys) & first.keys() or {"prompt", "index", "qid"} & first.keys():
        return ()
    return tuple(read_records(path))


def predictions_of(answers: Mapping[Any, Any] | Iterable[Mapping[str, Any]], task: str) -> Predictions:
    """Return ``{id: answer}``, or rows of any form, as the answers of ``task``, without a file."""
    rows = _lists(answers) if isinstance(answers, Mapping) else [_lists(row) for row in answers]
    if isinstance(rows, list) and rows and isinstance(rows[0], Mapping) and is_public(rows[0]):
        read = [read_row(row, f"answers, row {number}") for number, row in enumerate(rows)]
        _refuse_duplicates(read)
        return Predictions(task, _ordered(read))
    found = named_of(rows, "answers")
    return Predictions(task, [], found.notes, named=tuple(found.rows))


def _lists(row: Any) -> Any:
    """Return ``row`` with lists in place of arrays, which a detector gives."""
    return {key: without_arrays(value) for key, value in row.items()} if isinstance(row, Mapping) else row


def _is_named(form: str, files: Sequence[Path]) -> bool:
    """Return whether the rows of ``files`` are of no public form, as the first of them shows."""
    if form == "table":
        return True
    if form == "chunks":
        return False
    if form == "list":
        try:
            content = [next(read_rows(files[0]), None)] if _begins_a_list(files[0]) else read_json(files[0])
        except DataError:
            return False  # it is named where its rows are read
        if isinstance(content, dict):
            return True
        first = content[0] if isinstance(content, list) and content else None
    else:
        _refuse_list(files)
        journal = read_journal(files[0])
        first = journal.rows[0][1] if journal.rows and journal.settings is None else None
    return isinstance(first, dict) and not is_public(first)


def _records(form: str, files: Sequence[Path], folder: Path, task: str) -> tuple[list[tuple[str, Any]], list[str]]:
    """Return the rows of ``files`` as they are, each with its origin, and sentences about lines cut off."""
    if form not in ("journal", "journal file"):
        return [record for path in files for record in _list(path)], []
    if form == "journal":
        return journal_rows(folder, task)
    content = read_journal(folder)
    torn = f"{folder}: line {content.torn} was cut off while it was written and is left out"
    return [(content.origin(number), record) for number, record in content.rows], [torn] * (content.torn is not None)


def _begins_a_list(path: Path) -> bool:
    """Return whether the file is a JSON list, of which the first row can be read without the others."""
    with path.open("rb") as file:
        return file.read(_START).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")


def _refuse_list(files: Sequence[Path]) -> None:
    """Raise ``DataError`` for a file that holds a list, or no UTF-8 text, in the place of a journal."""
    for path in files:
        with path.open("rb") as file:
            start = file.read(_START).removeprefix(codecs.BOM_UTF8).lstrip()
        if start.startswith(b"["):
            raise DataError(f"{path}: holds a JSON list, not an object a line; call it <task>.json")
        if b"\0" in start:
            raise DataError(f"{path}: is not UTF-8 text (it may be UTF-16); write it again in UTF-8")


def wanted(task: str) -> str:
    """Return which names a folder of answers of ``task`` has."""
    return (
        f"looked for {task}.jsonl, {task}.shard*.jsonl, {task}.json, <model>_{task}/predictions_chunk_<i>.json, "
        f"{', '.join(task + suffix for suffix in TABLES)}"
    )


def lies_there(place: Path, tasks: Iterable[str]) -> str:
    """Return a sentence about what lies in ``place``, and where below or above it predictions are."""
    if not place.is_dir():
        return "there is no such folder"
    chunk = next(place.glob("predictions_chunk_*.json"), None)
    if chunk is not None:
        return f"{chunk.name} lies here: give the folder above, {place.parent}, whose folders are named <model>_<task>"
    chunks = sorted({path.parent for path in place.rglob("predictions_chunk_*.json")})
    here = next((folder for folder in chunks if folder.parent == place), None)
    if here is not None:
        return f"the folder '{here.name}' holds {next(here.glob('*.json')).name}: rename it to <model>_<task>"
    forms = ("json", "jsonl", "csv", "tsv", "parquet")
    single = {path.parent for task in tasks for form in forms for path in place.rglob(f"{task}.{form}")}
    below = sorted({folder.parent for folder in chunks} | single)
    if below:
        return f"predictions lie in {', '.join(map(str, below[:_LISTED]))}: give one of these folders"
    names = sorted(f"{path.name}/" if path.is_dir() else path.name for path in place.iterdir())
    if not names:
        return "the folder is empty"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    advice = "a .json or .jsonl file of another name can be given itself, with --tasks"
    return f"there are {', '.join(names[:_LISTED])}{more}; {advice}"


def write_public(
    folder: str | Path,
    task: str,
    model: str,
    chunk: int = 0,
    chunks: int = 1,
    scenes: Container[str] | None = None,
    thoughts: bool = False,
) -> Path:
    """Write answers of ``task`` as ``<model>_<task>/predictions_chunk_<chunk>.json`` in ``folder``; return that file.

    The rows carry the public keys and ``index``; with ``scenes``, only answers about those. Files of chunks past
    ``chunks`` are deleted: they would count answers twice. ``thoughts`` stay in answers for public scorers that look at
    them.
    """
    kept = [
        {name: value for name, value in row.items() if name not in OURS}
        | {"pred": row["pred"] if thoughts else split_thought(row["pred"])[1]}
        for row in ordered_rows(folder, task)
        if scenes is None or row["scene_id"] in scenes
    ]
    out = Path(folder, f"{model}_{task}")
    path = write_json(out / f"predictions_chunk_{chunk}.json", kept)
    for other in out.glob("predictions_chunk_*.json"):
        if _number(other)[0] >= chunks:
            other.unlink(missing_ok=True)
    return path


def _number(path: Path) -> tuple[int, str]:
    digits = re.findall(r"\d+", path.stem)
    return (int(digits[-1]) if digits else -1, path.name)


def _gaps(form: str, files: Sequence[Path]) -> list[str]:
    """Return a sentence where numbers of shards or chunks are left out, or shards were never joined."""
    if form == "journal":
        numbers = [int(path.stem.rpartition(".shard")[2]) for path in files if ".shard" in path.stem]
        name = "shards"
        if len(numbers) < len(files):  # the joined journal is there: shards of another number may have been joined
            return []
    elif form == "chunks":
        numbers, name = [_number(path)[0] for path in files], "chunks"
    else:
        return []
    absent = sorted(set(range(max(numbers, default=-1) + 1)) - set(numbers))
    if absent:
        return [f"{files[0].parent}: of the {name} {', '.join(map(str, absent))} there is no file"]
    return []


def _passed_over(folder: Path, task: str, known: Sequence[Path]) -> list[str]:
    """Return a note where ``folder`` holds files whose names are almost those of answers of ``task``."""
    if not folder.is_dir():
        return []
    form = re.compile(re.escape(task) + _ALMOST, re.IGNORECASE)
    others = [path for path in folder.iterdir() if form.fullmatch(path.name)]
    others += [path for path in folder.glob(f"*_{task}/*.json*") if path.suffix in (".json", ".jsonl")]
    names = sorted(str(path) for path in others if path not in known)
    return [f"not read, since answers of {task} have other names: {', '.join(names[:_LISTED])}"] if names else []


def _list(path: Path) -> list[tuple[str, Any]]:
    try:
        content = read_json(path)
    except DataError:
        if _object_a_line(path):
            raise DataError(f"{path}: holds an object a line, not a JSON list; call it <task>.jsonl") from None
        raise
    if not isinstance(content, list):
        keys = f" with the keys {', '.join(content)[:80]}" if isinstance(content, dict) and content else ""
        raise DataError(
            f"{path}: expected a list of predictions, found a {type(content).__name__}{keys}; write the rows as "
            "one list, or one row a line into <task>.jsonl"
        )
    return [(f"{path}, row {number}", record) for number, record in enumerate(content)]


def _object_a_line(path: Path) -> bool:
    """Return whether the first line of the file is a JSON object, and others follow."""
    with path.open("rb") as file:
        line, more = file.readline(), file.read(_START).strip()
    try:
        return bool(more) and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _refuse_duplicates(rows: Sequence[AnswerRow]) -> None:
    """Raise ``DataError`` where a question is answered twice.

    Rows with ``index`` are told apart by it, others by all they say about the question, if they have a ``qid``.
    """
    seen: dict[object, AnswerRow] = {}
    for row in rows:
        if row.index is not None:
            key: object = row.index
        elif row.qid in (None, "", 0):
            continue
        else:
            qid = int(row.qid) if isinstance(row.qid, float) and row.qid.is_integer() else row.qid
            key = (row.scene_id, str(qid), row.gt_id, row.pred_id, row.prompt, row.ref_captions, row.type_info)
        if key in seen:
            raise DataError(f"{row.origin}: answers the same question as {seen[key].origin}; remove one of the two")
        seen[key] = row


def _ordered(rows: list[AnswerRow]) -> list[AnswerRow]:
    """Return the rows by index, or as they are where one has none."""
    indices = [row.index for row in rows if row.index is not None]
    if len(indices) < len(rows):
        return rows
    return [row for _, row in sorted(zip(indices, rows, strict=True), key=lambda pair: pair[0])]
