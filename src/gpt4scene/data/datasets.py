"""The datasets of a run: ``dataset_info.json`` says where rows lie and how they are written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from gpt4scene.data.conversations import FORMATS, Columns, Tags
from gpt4scene.data.mixing import mix, resample
from gpt4scene.errors import DataError
from gpt4scene.files.images import ImageSearch
from gpt4scene.files.rows import dataset_files, read_rows
from gpt4scene.files.whole import read_json
from gpt4scene.registry import nearest
from gpt4scene.types import Conversation, Origin

DATASET_INFO = "dataset_info.json"

ELSEWHERE = {
    "ms_hub_url": "rows on ModelScope are not fetched; download them and write file_name",
    "om_hub_url": "rows on Modelers are not fetched; download them and write file_name",
    "cloud_file_name": "rows in a cloud are not fetched; download them and write file_name",
    "file_sha1": "",
}
"""Keys of LLaMA-Factory's entries that are accepted beside another source -> why they lead to no rows alone."""


_LIBRARY_KEYS = ("subset", "split", "folder")
"""Keys for ``datasets.load_dataset`` alone."""
_ALPACA_COLUMNS = ("prompt", "query", "response", "history")


@dataclass(frozen=True)
class LoadedRows:
    """Rows that can be used, and one sentence for each that was skipped."""

    rows: list[Conversation]
    skipped: list[str]


@dataclass(frozen=True)
class DatasetEntry:
    """One dataset of ``dataset_info.json``. Exactly one of ``file_name``, ``hf_hub_url``, ``script_url`` leads to rows.

    ``num_samples`` draws that many rows at random, repeating some when there are fewer. ``subset``, ``split`` and
    ``folder`` go to ``datasets.load_dataset``.
    """

    name: str
    columns: Columns
    tags: Tags
    formatting: str = "alpaca"
    file_name: str | None = None
    hf_hub_url: str | None = None
    script_url: str | None = None
    num_samples: int | None = None
    subset: str | None = None
    split: str = "train"
    folder: str | None = None

    @property
    def named_columns(self) -> dict[str, str]:
        """Columns that the entry names in its own way, but those of texts, without which no row can be read."""
        texts = {"messages", "prompt", "response"}
        columns = {field.name: (getattr(self.columns, field.name), field.default) for field in fields(Columns)}
        return {name: key for name, (key, usual) in columns.items() if key and key != usual and name not in texts}


class ImageResolver:
    """Gives the image paths of a row as they will be opened. Rows that name the same images get one shared tuple."""

    def __init__(self, search: ImageSearch) -> None:
        self._search = search
        self._found: dict[tuple[str, ...], tuple[str, ...]] = {}

    def __call__(self, names: tuple[str, ...], origin: Origin) -> tuple[str, ...]:
        """Return existing paths. Raises DataError that lists all places tried."""
        found = self._found.get(names)
        if found is None:
            found = self._found[names] = tuple(self._find(name, origin) for name in names)
        return found

    def _find(self, name: str, origin: Origin) -> str:
        found = self._search.find(name)
        if found is None:
            tried = ", ".join(self._search.places(name))
            raise DataError(f"{origin}: image '{name}' is not there; tried {tried}; set media_dir")
        return found


def load_conversations(
    datasets: Sequence[str],
    dataset_dir: str | os.PathLike,
    media_dir: str | os.PathLike | None = None,
    *,
    max_samples: int | None = None,
    mix_strategy: str = "concat",
    interleave_probs: Sequence[float] | None = None,
    skip_bad_rows: bool = False,
    seed: int = 0,
) -> LoadedRows:
    """Return the rows of ``datasets``, mixed.

    Args:
        datasets: names in ``dataset_info.json``.
        dataset_dir: folder of ``dataset_info.json``.
        media_dir: where relative image paths are looked for first, before ``dataset_dir`` and the file's own folder.
        max_samples: at most this many rows of each dataset, from its start.
        mix_strategy: ``concat``, ``interleave_under`` or ``interleave_over``.
        interleave_probs: chance of each dataset when interleaving; None takes turns.
        skip_bad_rows: leave wrong rows out and list them, instead of stopping at the first.
        seed: for ``num_samples`` and interleaving.

    Raises DataError for an unknown dataset, an unreadable file, and, unless skipped, a wrong row.
    """
    folder = Path(dataset_dir)
    entries = read_dataset_info(folder, datasets)
    skipped: list[str] = []
    loaded = []
    for index, entry in enumerate(entries):
        rows = _load(entry, folder, media_dir, max_samples, skipped if skip_bad_rows else None)
        if entry.num_samples is not None:
            rows = resample(rows, entry.num_samples, np.random.default_rng([seed, index]))
        loaded.append(rows)
    rows = mix(loaded, mix_strategy, interleave_probs, np.random.default_rng(seed))
    if not rows:
        reason = f"; all {len(skipped)} were skipped, the first because of {skipped[0]}" if skipped else ""
        raise DataError(f"no rows in {', '.join(datasets)}{reason}")
    return LoadedRows(rows, skipped)


def read_dataset_info(dataset_dir: Path, names: Sequence[str]) -> list[DatasetEntry]:
    """Return the entries of ``names`` in ``dataset_info.json``. Raises DataError for unknown names and bad entries."""
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
        entries.append(_entry(name, known[name], path))
    return entries


def _entry(name: str, values: Any, path: Path) -> DatasetEntry:
    where = f"{path}: dataset '{name}'"
    if not isinstance(values, Mapping):
        raise DataError(f"{where} must be an object with file_name or hf_hub_url")
    if values.get("ranking"):
        raise DataError(f"{where} holds preference pairs (ranking: true), which supervised fine-tuning can't use")
    formatting = values.get("formatting", "alpaca")
    if formatting not in FORMATS:
        raise DataError(f"{where}: formatting '{formatting}' is none of {', '.join(FORMATS)}")
    simple = {field.name for field in fields(DatasetEntry)} - {"name", "columns", "tags", "formatting"}
    _check_keys(values, simple, where)
    columns = _named(Columns, values.get("columns"), f"{where}: columns")
    tags = _named(Tags, values.get("tags"), f"{where}: tags")
    _check_form(values, formatting, where)
    return DatasetEntry(
        name=name,
        formatting=formatting,
        columns=columns,
        tags=tags,
        **{key: values[key] for key in simple if values.get(key) is not None},
    )


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
        raise DataError(f"{where} names two sources, {sources[0]} and {sources[1]}; keep the one that is meant")
    count = values.get("num_samples")
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
        raise DataError(f"{where}: num_samples must be a whole number of 1 or more, not {count!r}")
    for key in simple - {"num_samples"}:
        if values.get(key) is not None and not isinstance(values[key], str):
            raise DataError(f"{where}: '{key}' must be a text, not {values[key]!r}")
    for key in _LIBRARY_KEYS if sources == ["file_name"] else ():
        if values.get(key) and (key, values[key]) != ("split", "train"):
            raise DataError(
                f"{where}: '{key}' goes with hf_hub_url or script_url, and does nothing to a file; leave it out, and "
                "write max_samples or another file_name for a part of the rows"
            )


def _check_form(values: Mapping[str, Any], formatting: str, where: str) -> None:
    """Raise DataError for columns and tags that rows of this ``formatting`` do not have."""
    columns, tags = values.get("columns"), values.get("tags")
    foreign = _ALPACA_COLUMNS if formatting == "sharegpt" else ("messages",)
    named = [f"columns.{key}" for key in foreign if (columns or {}).get(key)]
    named += ["tags"] if formatting == "alpaca" and tags else []
    if named:
        other = "alpaca" if formatting == "sharegpt" else "sharegpt"
        said = formatting if "formatting" in values else f"left out, which means {formatting}"
        raise DataError(f"{where}: {named[0]} belongs to formatting: {other}, but formatting is {said}")


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


def _load(
    entry: DatasetEntry,
    dataset_dir: Path,
    media_dir: str | os.PathLike | None,
    max_samples: int | None,
    skipped: list[str] | None,
) -> list[Conversation]:
    """Return the rows of one dataset; wrong rows go to ``skipped`` where it is a list, else they raise."""
    rows: list[Conversation] = []
    convert = FORMATS[entry.formatting]
    seen, absent = 0, dict(entry.named_columns)
    for source in _sources(entry, dataset_dir):
        named_in = source if isinstance(source, Path) else None
        find = ImageResolver(ImageSearch.around(named_in, media_dir, dataset_dir))
        for index, row in enumerate(_rows_of(entry, source, dataset_dir)):
            if max_samples is not None and seen >= max_samples:
                return rows
            seen += 1
            absent = {name: key for name, key in absent.items() if isinstance(row, Mapping) and key not in row}
            try:
                origin = Origin(entry.name, str(source), index)
                conversation = convert(row, entry.columns, entry.tags, origin)
                rows.append(replace(conversation, images=find(conversation.images, origin)))
            except DataError as error:
                if skipped is None:
                    raise
                skipped.append(str(error))
    if seen and absent:
        name, key = next(iter(absent.items()))
        raise DataError(
            f"{dataset_dir / DATASET_INFO}: dataset '{entry.name}': columns.{name} is '{key}', which none of its "
            f"{seen} rows has; correct it or leave it out"
        )
    return rows


def _sources(entry: DatasetEntry, dataset_dir: Path) -> Sequence[Path | str]:
    """Return what holds the rows: files, or what ``datasets.load_dataset`` opens."""
    if entry.hf_hub_url or entry.script_url:
        return [entry.hf_hub_url or str(dataset_dir / str(entry.script_url))]
    return dataset_files(dataset_dir / str(entry.file_name))


def _rows_of(entry: DatasetEntry, source: Path | str, dataset_dir: Path) -> Iterator[Any]:
    if isinstance(source, Path):
        return read_rows(source)
    import datasets

    try:
        load = datasets.load_dataset  # pyright: ignore[reportAttributeAccessIssue]  (it takes this file for the package)
        return iter(load(source, name=entry.subset, split=entry.split, data_dir=entry.folder))
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{dataset_dir / DATASET_INFO}: dataset '{entry.name}' could not be loaded from '{source}' ({error})"
        ) from None
