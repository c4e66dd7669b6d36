"""The images that official rows bring themselves: found under their names, or written out as files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.benchmarks.official_rows import IMAGE_KEYS
from gpt4scene.errors import DataError
from gpt4scene.files.embedded import images_in, suffix_of
from gpt4scene.files.images import ImageSearch
from gpt4scene.files.raw import Record
from gpt4scene.files.whole import write_bytes

IMAGES = "images"
"""Folder of an annotation folder that written images lie in, by task and set of images."""


def from_folder(path: str | Path, out: Path) -> str:
    """Return ``path`` as it is written in a list of images in ``out``."""
    return Path(os.path.relpath(Path(path).resolve(), out.resolve())).as_posix()


@dataclass
class OwnImages:
    """The images of the records of ``benchmark``, by scene, as paths from ``out``; they come as records pass by.

    Images that come as bytes are written to ``out/images/<task>/<scene>``. One that is not found is a ``DataError``
    with its row, or, with ``drop_missing``, leaves its scene without images.
    """

    benchmark: Benchmark
    out: Path
    folders: Sequence[str]
    drop_missing: bool = False
    images: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _first: dict[str, tuple[str, list[str]]] = field(default_factory=dict)

    def pass_by(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield ``records`` as they are, each after its images are known."""
        for record in records:
            self._take(record)
            yield record

    def _take(self, record: Record) -> None:
        assert self.benchmark.references is not None, f"{self.benchmark.name} has no images of its own"
        scenes = dict.fromkeys(row["scene_id"] for row in self.benchmark.references(record))
        found = images_in(record, IMAGE_KEYS) if scenes else []
        if scenes and not found:
            raise DataError(f"{record.origin}: brings no images (looked under {', '.join(IMAGE_KEYS)})")
        for scene in scenes:
            names = [one if isinstance(one, str) else _print_of(one) for one in found]
            origin, earlier = self._first.setdefault(scene, (record.origin, names))
            if earlier != names:
                raise DataError(
                    f"{record.origin}: shows other images than {origin} under the same names; rename the images"
                )
            if origin == record.origin:
                self.images[scene] = self._placed(record, scene, found)

    def _placed(self, record: Record, scene: str, found: Sequence[bytes | str]) -> tuple[str, ...]:
        search, places = ImageSearch(tuple(self.folders)), []
        for number, one in enumerate(found):
            if isinstance(one, bytes):
                suffix = suffix_of(one, f"{record.origin}: image {number}")
                path = self.out / IMAGES / self.benchmark.name / scene / f"{number:02d}{suffix}"
                places.append(from_folder(write_bytes(path, one), self.out))
                continue
            place = search.find(one)
            if place is None and self.drop_missing:
                return ()
            if place is None:
                tried = ", ".join(search.places(one))
                raise DataError(
                    f"{record.origin}: image '{one}' was not found; tried: {tried}; --media_dir names the folder that "
                    "its name starts from, and --absent_images drop leaves such questions out"
                )
            places.append(from_folder(place, self.out))
        return tuple(places)


def _print_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def media_folders(media_dir: str, files: Sequence[Path]) -> list[str]:
    """Return the folders that names of images may start from: the one given, then those of ``files`` and two above."""
    beside = [place for file in files for place in list(file.absolute().parents)[:3]]
    return list(dict.fromkeys([*([media_dir] if media_dir else []), *map(str, beside)]))
