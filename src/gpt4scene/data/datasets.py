"""The rows of a run's datasets: read, made conversations of, and mixed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gpt4scene.data.conversations import FORMATS
from gpt4scene.data.dataset_info import DATASET_INFO, DatasetEntry, Stage, read_dataset_info
from gpt4scene.data.mixing import mix, resample
from gpt4scene.data.pairs import PAIRS
from gpt4scene.data.plain_text import plain_text
from gpt4scene.errors import DataError
from gpt4scene.files.images import ImageSearch
from gpt4scene.files.rows import dataset_files, read_rows
from gpt4scene.types import Conversation, Origin


@dataclass(frozen=True)
class LoadedRows:
    """Rows that can be used, and one sentence for each that was skipped."""

    rows: list[Conversation]
    skipped: list[str]


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
        try:
            return self._search.find_named(name)
        except DataError as error:
            raise DataError(f"{origin}: {error}") from None


def load_conversations(
    datasets: Sequence[str],
    dataset_dir: str | os.PathLike,
    media_dir: str | os.PathLike | None = None,
    *,
    stage: Stage = "sft",
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
        stage: what the rows are read for.
        max_samples: at most this many rows of each dataset, from its start.
        mix_strategy: ``concat``, ``interleave_under`` or ``interleave_over``.
        interleave_probs: chance of each dataset when interleaving; None takes turns.
        skip_bad_rows: leave wrong rows out and list them, instead of stopping at the first.
        seed: for ``num_samples`` and interleaving.

    Raises DataError for an unknown dataset, an unreadable file, and, unless skipped, a wrong row.
    """
    folder = Path(dataset_dir)
    if media_dir is not None and not Path(media_dir).is_dir():
        raise DataError(f"{media_dir}: media_dir is no folder; correct it, or leave it out")
    entries = read_dataset_info(folder, datasets, stage)
    skipped: list[str] = []
    loaded = []
    for index, entry in enumerate(entries):
        rows = _load(entry, folder, media_dir, max_samples, skipped if skip_bad_rows else None, stage)
        if entry.num_samples is not None:
            rows = resample(rows, entry.num_samples, np.random.default_rng([seed, index]))
        loaded.append(rows)
    rows = mix(loaded, mix_strategy, interleave_probs, np.random.default_rng(seed))
    if not rows:
        reason = f"; all {len(skipped)} were skipped, the first because of {skipped[0]}" if skipped else ""
        raise DataError(f"no rows in {', '.join(datasets)}{reason}")
    return LoadedRows(rows, skipped)


def _load(
    entry: DatasetEntry,
    dataset_dir: Path,
    media_dir: str | os.PathLike | None,
    max_samples: int | None,
    skipped: list[str] | None,
    stage: Stage,
) -> list[Conversation]:
    """Return the rows of one dataset; wrong rows go to ``skipped`` where it is a list, else they raise.

    A column that the entry names and no row has is an error, also where ``max_samples`` are without it.
    """
    rows: list[Conversation] = []
    convert = plain_text if stage == "pt" else (PAIRS if stage == "dpo" else FORMATS)[entry.formatting]
    seen, keys = 0, set()
    named = {column: key for column, key in entry.mapped.items() if column not in ("messages", "prompt", "response")}
    for source in _sources(entry, dataset_dir):
        named_in = source if isinstance(source, Path) else None
        find = ImageResolver(ImageSearch.around(named_in, media_dir, dataset_dir))
        for index, row in enumerate(_rows_of(entry, source, dataset_dir)):
            keys |= row.keys() if isinstance(row, dict) else set()
            if max_samples is not None and seen >= max_samples:
                if keys.issuperset(named.values()):
                    return rows
                continue
            seen += 1
            try:
                origin = Origin(entry.name, str(source), index, _task(row))
                conversation = convert(row, entry.columns, entry.tags, origin)
                rows.append(replace(conversation, images=find(conversation.images, origin)))
            except DataError as error:
                if skipped is None:
                    raise
                skipped.append(str(error))
    absent = [f"columns.{column} is '{key}'" for column, key in named.items() if key not in keys]
    if keys and absent:
        raise DataError(
            f"{dataset_dir / DATASET_INFO}: dataset '{entry.name}': {absent[0]}, which no row has (they have: "
            f"{', '.join(sorted(keys))}); correct it, or leave it out"
        )
    return rows


def _task(row: Any) -> str | None:
    """Return what the row says that it is about, under the key ``task``; None where it says nothing, or no word."""
    task = row.get("task") if isinstance(row, dict) else None
    return task.strip() or None if isinstance(task, str) else None


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
