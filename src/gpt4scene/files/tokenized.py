"""The ``tokenized_path`` folder: rows already encoded, with the fingerprint of everything that shaped them.

``tokenized.json`` holds the fingerprint, and images, grids and sources by number. Arrays lie beside it, one ``.npy``
each, mapped and not read: the run-length coded prefix of every scene, and the branch of every row. ``starts[i]`` to
``starts[i + 1]`` is entry i of the array it belongs to.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json, whole_folder, write_json
from gpt4scene.types import IGNORED, EncodedSample, Grid, Origin

FORMAT = 1
META_FILE = "tokenized.json"
VIDEOS = "video processor"
"""What a fingerprint says of videos. Folders without it are older than videos, and hold none."""
CACHED_PREFIXES = 1024
"""Prefixes that are kept unpacked, of 8 bytes a token."""
ARRAYS = (
    "prefix_values",
    "prefix_counts",
    "prefix_starts",
    "branch_ids",
    "branch_learned",
    "branch_starts",
    "row_scenes",
    "row_sources",
    "row_numbers",
)


class TokenizedRows(Sequence[EncodedSample]):
    """Encoded rows of a folder, or some of them; each is put together when it is asked for.

    ``skipped`` holds the sentences about rows that were left out when the folder was written.
    """

    def __init__(self, folder: Path, meta: Mapping[str, Any], chosen: np.ndarray | None = None) -> None:
        self.folder, self._meta = folder, meta
        self.skipped: tuple[str, ...] = tuple(meta["skipped"])
        self._arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
        self._scenes = [
            (tuple(scene["images"]), tuple(tuple(grid) for grid in scene["grids"])) for scene in meta["scenes"]
        ]
        self._chosen = np.arange(len(self._arrays["row_scenes"])) if chosen is None else chosen
        self._prefixes: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, index: int) -> EncodedSample: ...
    @overload
    def __getitem__(self, index: slice) -> TokenizedRows: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return self.select(range(len(self))[index])
        arrays, row = self._arrays, int(self._chosen[index])
        scene = int(arrays["row_scenes"][row])
        images, grids = self._scenes[scene]
        start, stop = arrays["branch_starts"][row : row + 2]
        prefix_P = self._prefix(scene)
        branch = arrays["branch_ids"][start:stop].astype(np.int64)
        labels = np.full(len(prefix_P) + len(branch), IGNORED, dtype=np.int64)
        labels[len(prefix_P) :] = np.where(arrays["branch_learned"][start:stop], branch, IGNORED)
        dataset, file, *task = self._meta["sources"][arrays["row_sources"][row]]
        origin = Origin(dataset, file, int(arrays["row_numbers"][row]), *task)
        return EncodedSample(np.concatenate([prefix_P, branch]), labels, len(prefix_P), images, grids, origin)

    def _prefix(self, scene: int) -> np.ndarray:
        known = self._prefixes.get(scene)
        if known is None:
            if len(self._prefixes) >= CACHED_PREFIXES:
                self._prefixes.clear()
            start, stop = self._arrays["prefix_starts"][scene : scene + 2]
            runs = self._arrays["prefix_values"][start:stop], self._arrays["prefix_counts"][start:stop]
            known = self._prefixes[scene] = np.repeat(*runs).astype(np.int64)
        return known

    def select(self, indices: Iterable[int]) -> TokenizedRows:
        """Return these rows alone, in this order; arrays are shared."""
        return TokenizedRows(self.folder, self._meta, self._chosen[np.fromiter(indices, dtype=np.int64)])

    def own_lengths(self) -> np.ndarray:
        """Return the number of tokens of each row behind its prefix."""
        return np.diff(self._arrays["branch_starts"])[self._chosen]

    def groups(self) -> set[str]:
        """Return under what the losses of the rows are counted: their tasks, else their datasets."""
        return {(task or [dataset])[0] for dataset, _, *task in self._sources()}

    def datasets(self) -> set[str]:
        """Return the names of the rows' datasets."""
        return {dataset for dataset, *_ in self._sources()}

    def _sources(self) -> list[list[str]]:
        numbers = np.unique(self._arrays["row_sources"][self._chosen]).tolist()
        return [self._meta["sources"][number] for number in numbers]

    def images(self) -> list[tuple[str, ...]]:
        """Return the images of every row."""
        return [self._scenes[scene][0] for scene in self._arrays["row_scenes"][self._chosen]]

    def scene_keys(self) -> list[int | None]:
        """Return a number for every row, equal where rows share a prefix; None where a row has none."""
        lengths = np.diff(self._arrays["prefix_starts"])
        return [int(scene) if lengths[scene] else None for scene in self._arrays["row_scenes"][self._chosen]]

    def prefixes(self) -> dict[int, tuple[tuple[str, ...], tuple[Hashable, ...]]]:
        """Return the images of the rows' prefixes, and their tokens cut behind each image, as a code of them.

        The last token of a prefix is the one that ends an image; ``write_tokenized`` puts it into a run of its own.
        """
        found: dict[int, tuple[tuple[str, ...], tuple[Hashable, ...]]] = {}
        starts, arrays = self._arrays["prefix_starts"], self._arrays
        for scene in dict.fromkeys(arrays["row_scenes"][self._chosen].tolist()):
            start, stop = starts[scene : scene + 2]
            if start == stop:
                continue
            values, counts = arrays["prefix_values"][start:stop], arrays["prefix_counts"][start:stop]
            ends = np.flatnonzero(values == values[-1]) + 1
            last = np.cumsum([_ends_of(grid) for grid in self._scenes[scene][1]]) - 1  # of each image's own ends
            cuts = [0, *ends[last].tolist()]
            codes = [(values[a:b].tobytes(), counts[a:b].tobytes()) for a, b in zip(cuts, cuts[1:], strict=False)]
            found[scene] = self._scenes[scene][0], tuple(codes)
        return found

    def text_lengths(self) -> np.ndarray:
        """Return, for every row of text alone, its tokens; for other rows, more than any row has."""
        lengths = np.diff(self._arrays["branch_starts"])[self._chosen]
        scenes = self._arrays["row_scenes"][self._chosen]
        texts = np.array([not images for images, _ in self._scenes], dtype=bool)[scenes]
        return np.where(texts, lengths, np.iinfo(np.int64).max)


def write_tokenized(
    folder: str | Path,
    samples: Iterable[EncodedSample],
    fingerprint: Mapping[str, Any],
    skipped: Sequence[str] = (),
) -> None:
    """Write encoded rows; the folder appears whole or not at all.

    Args:
        folder: must not exist, or be empty.
        samples: rows in order.
        fingerprint: of ``fingerprint.fingerprint``.
        skipped: sentences about rows that were left out.

    Raises DataError when the folder already holds something, OSError when it can't be written.
    """
    with whole_folder(folder) as partial:
        tables, arrays = _columns(samples)
        for name, array in arrays.items():
            np.save(partial / f"{name}.npy", array)
        content = {"format": FORMAT, "fingerprint": fingerprint, "skipped": list(skipped), **tables}
        write_json(partial / META_FILE, content, indent=None)


def read_tokenized(folder: str | Path, fingerprint: Mapping[str, Any]) -> TokenizedRows:
    """Return the rows of a folder that was written under the same ``fingerprint``.

    Raises DataError naming every difference, or saying that the folder is none of ours.
    """
    folder = Path(folder)
    meta = read_json(folder / META_FILE) if (folder / META_FILE).is_file() else None
    if _is_llamafactorys(folder):
        raise DataError(
            f"{folder}: holds tokens in LLaMA-Factory's form, which are not read and not needed: rows are tokenized "
            "when they are used; leave tokenized_path out, or name another folder"
        )
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise DataError(
            f"{folder}: no folder of tokenized rows of this version ({META_FILE} is missing or of another format); "
            "choose another tokenized_path or remove it"
        )
    known = meta["fingerprint"]
    now = fingerprint if VIDEOS in known else {key: fingerprint[key] for key in fingerprint if key != VIDEOS}
    changed = differences(known, now)
    if changed:
        raise DataError(
            f"{folder}: the tokenized rows were made with other settings: {'; '.join(changed)}; "
            "set these back, or choose another tokenized_path"
        )
    return TokenizedRows(folder, meta)


def _ends_of(grid: Grid) -> int:
    """Return how often the token that ends an image stands in one: behind each frame of a video with times."""
    return int(grid[0]) if len(grid) > 3 and grid[3] == 0 else 1


def _is_llamafactorys(folder: Path) -> bool:
    """Return whether ``folder`` is one that the library ``datasets`` saves, as LLaMA-Factory does with its tokens."""
    if not folder.is_dir() or (folder / META_FILE).is_file():
        return False
    places = [folder, *(path for path in folder.iterdir() if path.is_dir())]
    return (folder / "dataset_dict.json").is_file() or any(
        (place / "state.json").is_file() or next(place.glob("*.arrow"), None) is not None for place in places
    )


def differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return one phrase for each setting that differs, with both values where they are short."""
    found = []
    for name in sorted(there.keys() | now.keys()):
        old, new = there.get(name), now.get(name)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            parts = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
            found.append(f"{name} ({', '.join(parts)})")
        else:
            found.append(f"{name} ({old} there, {new} now)")
    return found


def has_tokenized(folder: str | Path) -> bool:
    """Return whether anything is there to be read: False for a missing or empty folder."""
    path = Path(folder)
    return path.exists() and (not path.is_dir() or any(path.iterdir()))


def _columns(samples: Iterable[EncodedSample]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the numbered tables and the arrays of ``samples``."""
    scenes: dict[Hashable, int] = {}
    sources: dict[tuple[str, ...], int] = {}
    tables: list[dict[str, Any]] = []
    runs: list[tuple[np.ndarray, np.ndarray]] = []
    rows: list[tuple[int, int, int]] = []
    ids: list[np.ndarray] = []
    learned: list[np.ndarray] = []
    for sample in samples:
        prefix_P = sample.ids_L[: sample.cut]
        key = (sample.images, prefix_P.tobytes())
        if key not in scenes:
            scenes[key] = len(scenes)
            tables.append({"images": sample.images, "grids": sample.grids})
            runs.append(_runs(prefix_P))
        origin = sample.origin
        named = (origin.task,) if origin.task else ()
        source = sources.setdefault((origin.dataset, origin.file, *named), len(sources))
        rows.append((scenes[key], source, origin.row))
        ids.append(sample.ids_L[sample.cut :].astype(np.int32))
        learned.append(sample.labels_L[sample.cut :] != IGNORED)
    by_row = np.array(rows, dtype=np.int64).reshape(-1, 3)
    arrays = {
        "prefix_values": _joined([values for values, _ in runs], np.int32),
        "prefix_counts": _joined([counts for _, counts in runs], np.int32),
        "prefix_starts": _starts([values for values, _ in runs]),
        "branch_ids": _joined(ids, np.int32),
        "branch_learned": _joined(learned, np.bool_),
        "branch_starts": _starts(ids),
        "row_scenes": by_row[:, 0].astype(np.int32),
        "row_sources": by_row[:, 1].astype(np.int32),
        "row_numbers": by_row[:, 2],
    }
    return {"scenes": tables, "sources": [list(source) for source in sources]}, arrays


def _runs(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the run-length code of ``ids``: values and counts."""
    if not len(ids):
        return ids, ids
    first = np.flatnonzero(np.diff(ids, prepend=ids[0] - 1))
    return ids[first], np.diff(first, append=len(ids))


def _joined(parts: Sequence[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype=kind), *parts]).astype(kind)


def _starts(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
