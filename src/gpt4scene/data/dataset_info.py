"""``dataset_info.json``: which data sets there are, where their rows lie, and how they are written."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from gpt4scene.data.conversations import FORMATS, Columns, Tags
from gpt4scene.errors import DataError
from gpt4scene.files.rows import dataset_files
from gpt4scene.files.whole import read_json
from gpt4scene.registry import nearest

DATASET_INFO = "dataset_info.json"

ELSEWHERE = {
    "ms_hub_url": "rows on ModelScope are not fetched; download them and write file_name",
    "om_hub_url": "rows on Modelers are not fetched; download them and write file_name",
    "cloud_file_name": "rows in a cloud are not fetched; download them and write file_name",
    "file_sha1": "",
}
"""Keys of LLaMA-Factory's entries that are accepted beside another source -> why they lead to no rows alone."""


Stage = Literal["sft", "dpo", "pt"]
"""What rows are read for: answers to learn, pairs of answers, or plain text."""

OF_FORMAT: Mapping[str, tuple[str, ...]] = {
    "sharegpt": ("messages",),
    "alpaca": ("prompt", "query", "response", "history"),
}
"""Format -> the columns that only its rows have."""

TO_LOAD = ("subset", "split", "folder")
"""Keys that go to ``datasets.load_dataset``, and mean nothing for a file."""


@dataclass(frozen=True)
class DatasetEntry:
    """One dataset of ``dataset_info.json``. Exactly one of ``file_name``, ``hf_hub_url``, ``script_url`` leads to rows.

    ``num_samples`` draws that many rows at random, repeating some when there are fewer. ``subset``, ``split`` and
    ``folder`` go to ``datasets.load_dataset``. Rows of a ``ranking`` data set have two answers.
    """

    name: str
    columns: Columns
    tags: Tags
    formatting: str = "alpaca"
    ranking: bool = False
    file_name: str | None = None
    hf_hub_url: str | None = None
    script_url: str | None = None
    num_samples: int | None = None
    subset: str | None = None
    split: str = "train"
    folder: str | None = None

    @property
    def mapped(self) -> dict[str, str]:
        """Column -> key of the rows, where it is another key than without the entry's word."""
        named = {field.name: getattr(self.columns, field.name) for field in fields(Columns)}
        usual = {field.name: field.default for field in fields(Columns)}
        return {column: key for column, key in named.items() if key and key != usual[column]}


def read_dataset_info(dataset_dir: Path, names: Sequence[str], stage: Stage = "sft") -> list[DatasetEntry]:
    """Return the entries of ``names`` in ``dataset_info.json``.

    Raises DataError for unknown names, bad entries, and rows that ``stage`` can't use.
    """
    path = dataset_dir / DATASET_INFO
    if not path.is_file():
        raise DataError(f"{path}: the file does not exist; dataset_dir must be the folder that holds it")
    known = read_json(path)
    if not isinstance(known, dict):
        raise DataError(f"{path}: must hold an object of datasets by name")
    entries = []
    for name in names:
        if name not in known:
            listed = ", ".join(sorted(known))
            raise DataError(f"{path}: dataset '{name}' is not in it{nearest(name, list(known))} (known: {listed})")
        entries.append(_entry(name, known[name], path, stage))
    _refuse_same_rows(entries, path)
    return entries


def _refuse_same_rows(entries: Sequence[DatasetEntry], path: Path) -> None:
    """Raise DataError where two entries read the same rows in the same way, so that these would count twice."""
    seen: dict[Hashable, int] = {}
    for number, entry in enumerate(entries):
        place = path.parent / str(entry.file_name)
        files = dataset_files(place) if entry.file_name and place.exists() else []
        for source in map(os.path.realpath, files) if files else [entry.hf_hub_url or entry.script_url]:
            first = seen.setdefault((replace(entry, name="", file_name=None), source), number)
            if source and first != number:
                same = entries[first].name == entry.name
                twice = f"'{entry.name}' is named twice" if same else f"'{entries[first].name}' and '{entry.name}'"
                raise DataError(
                    f"{path}: dataset {twice}{'' if same else ' read the same rows'} ({source}); name one, once; "
                    "num_samples repeats rows"
                )


def _entry(name: str, values: Any, path: Path, stage: Stage) -> DatasetEntry:
    where = f"{path}: dataset '{name}'"
    if not isinstance(values, Mapping):
        raise DataError(f"{where} must be an object with file_name or hf_hub_url")
    if not isinstance(values.get("ranking") or False, bool):
        raise DataError(f"{where}: ranking must be true or false, not {values['ranking']!r}")
    formatting = values.get("formatting", "alpaca")
    if formatting not in FORMATS:
        raise DataError(f"{where}: formatting '{formatting}' is none of {', '.join(FORMATS)}")
    simple = {field.name for field in fields(DatasetEntry)} - {"name", "columns", "tags", "formatting", "ranking"}
    _check_keys(values, simple, where)
    entry = DatasetEntry(
        name=name,
        formatting=formatting,
        ranking=bool(values.get("ranking")),
        columns=_named(Columns, values.get("columns"), f"{where}: columns"),
        tags=_named(Tags, values.get("tags"), f"{where}: tags"),
        **{key: values[key] for key in simple if values.get(key) is not None},
    )
    _check_names(entry, where)
    _check_stage(entry, where, stage)
    return entry


def _check_stage(entry: DatasetEntry, where: str, stage: Stage) -> None:
    """Raise DataError for rows that ``stage`` can't use."""
    if entry.ranking and stage != "dpo":
        raise DataError(
            f"{where} holds preference pairs (ranking: true), which stage: {stage} can't use; write stage: dpo"
        )
    if stage == "dpo":
        if not entry.ranking:
            raise DataError(f"{where} holds no preference pairs, which stage: dpo needs; if it does: ranking: true")
        absent = [name for name in ("chosen", "rejected") if not getattr(entry.columns, name)]
        if absent:
            raise DataError(f"{where}: columns.{absent[0]} is missing; name the key of the rows that holds this answer")
    if stage == "pt" and entry.formatting != "alpaca":
        raise DataError(
            f"{where}: formatting {entry.formatting} holds conversations, and stage: pt learns plain text; write "
            "formatting: alpaca and columns.prompt, the key of the text"
        )


def _check_names(entry: DatasetEntry, where: str) -> None:
    """Raise DataError for columns and tags that play no part in the rows' format, and for one key as two columns."""
    other = next(name for name in OF_FORMAT if name != entry.formatting)
    columns = [f"columns.{name}" for name in entry.mapped if name in OF_FORMAT[other]]
    if entry.formatting == "alpaca" and entry.tags != Tags():
        columns.append("tags")
    if columns:
        raise DataError(
            f"{where}: {columns[0]} has no effect with formatting: {entry.formatting}; write formatting: {other}, or "
            "leave it out"
        )
    keys = {field.name: getattr(entry.columns, field.name) for field in fields(Columns)}
    if entry.ranking and "response" not in entry.mapped:
        keys["response"] = None  # rows of two answers have no third one, so that its usual key is free for one of them
    for column, key in entry.mapped.items():
        twin = [name for name in keys if name != column and keys[name] == key and name not in OF_FORMAT[other]]
        if twin:
            raise DataError(f"{where}: columns.{column} and columns.{twin[0]} are both '{key}'; correct one")


def _check_keys(values: Mapping[str, Any], simple: set[str], where: str) -> None:
    """Raise DataError for a key of an entry that is none, or that leads to rows in a way that is not supported."""
    known = {*simple, *ELSEWHERE, "formatting", "ranking", "columns", "tags"}
    for key in values:
        if key not in known:
            raise DataError(
                f"{where}: '{key}' is not a key{nearest(key, sorted(known))} (known: {', '.join(sorted(known))})"
            )
    sources = [key for key in ("file_name", "hf_hub_url", "script_url") if values.get(key)]
    others = [key for key in ELSEWHERE if values.get(key) and ELSEWHERE[key]]
    if not sources:
        reason = f"only {others[0]}: {ELSEWHERE[others[0]]}" if others else "none of file_name, hf_hub_url, script_url"
        raise DataError(f"{where} has {reason}")
    if len(sources) > 1:
        raise DataError(f"{where} has {sources[0]} and {sources[1]}, of which one would be passed over; keep one")
    count = values.get("num_samples")
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
        raise DataError(f"{where}: num_samples must be a whole number of 1 or more, not {count!r}")
    for key in simple - {"num_samples"}:
        if values.get(key) is not None and not isinstance(values[key], str):
            raise DataError(f"{where}: '{key}' must be a text, not {values[key]!r}")
    for key in TO_LOAD if values.get("file_name") else ():
        if values.get(key) and (key, values[key]) != ("split", "train"):
            raise DataError(
                f"{where}: {key} {values[key]!r} has no effect on a file; it belongs to hf_hub_url and script_url: "
                "name the file that holds the rows, and remove it"
            )


def _named(kind: type, values: Any, where: str) -> Any:
    """Return ``kind`` with the given names."""
    values = {} if values is None else values
    if not isinstance(values, Mapping):
        raise DataError(f"{where} must be an object of names, not {values!r}")
    names = [field.name for field in fields(kind)]
    for key, value in values.items():
        if key not in names:
            raise DataError(f"{where}: '{key}' is not a key{nearest(key, names)} (known: {', '.join(names)})")
        if value is not None and not isinstance(value, str):
            raise DataError(f"{where}: '{key}' must be a text, not {value!r}")
    return kind(**{key: value for key, value in values.items() if value is not None})
