"""Files in a recording's folder that its reader passed over: they may be what the user meant to be read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path

from gpt4scene.registry import nearest
from gpt4scene.scans.types import Scan, StoredImage

MOST_FILES = 100_000
"""More are not looked at: a folder of so many holds other recordings, too."""
LIKE = 0.8
"""Likeness (0 to 1) from which a file's name is taken for a slip of one that the format knows and does not find."""


@dataclass(frozen=True)
class Unused:
    """What was not read: ``names`` at the folder's top, ``counts`` of what is further down, and ``slips`` of names."""

    names: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    slips: tuple[str, ...] = ()


def unused_files(scan: Scan, reads: Sequence[str]) -> Unused:
    """Return the files in the folder of ``scan`` that were not read.

    ``reads`` are patterns of what the format reads besides the frames' images, relative to the folder, with ``{}`` for
    its name; of ``a|b`` the first that is there.
    """
    if not scan.source.is_dir():
        return Unused()
    wanted = [pattern.format(scan.source.resolve().name) for pattern in reads]
    read = [next((one for one in one_of if (scan.source / one).exists()), one_of[0]) for one_of in _split(wanted)]
    frames = {path for frame in scan.frames for path in _paths(frame.image, frame.depth)}
    names, below = [], Counter()
    for path in islice(_files(scan.source), MOST_FILES):
        inside = path.relative_to(scan.source)
        if path in frames or any(fnmatch(inside.as_posix(), pattern) for pattern in read):
            continue
        if len(inside.parts) == 1:
            names.append(path.name)
        else:
            below[f"{inside.parent.as_posix()}/*{path.suffix}"] += 1
    absent = [one for one in read if "*" not in one and not (scan.source / one).exists()]
    hints = ((name, _hint(name, absent)) for name in names)
    return Unused(
        tuple(names),
        tuple(f"{count} x {name}" for name, count in sorted(below.items())),
        tuple(f"{name} is not read{hint}" for name, hint in hints if hint),
    )


def _hint(name: str, absent: Sequence[str]) -> str:
    same = [one for one in absent if one.lower() == name.lower()]
    return f"; did you mean '{same[0]}'?" if same else nearest(name, list(absent), LIKE)


def _split(patterns: Iterable[str]) -> list[list[str]]:
    return [pattern.split("|") for pattern in patterns]


def _paths(*sources: Path | StoredImage | None) -> Iterator[Path]:
    for source in sources:
        if source is not None:
            yield source if isinstance(source, Path) else source.path


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder by name, without hidden ones and without what links lead to."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(place) / name
