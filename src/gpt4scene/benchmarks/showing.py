"""Which images the questions of a benchmark show: its rows' own, frames of recordings, or those of prepared scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.own_images import OwnImages, media_folders
from gpt4scene.benchmarks.scene_frames import FRAMES, Prepared, Recordings, Shown, read_scenes, without_boxes
from gpt4scene.errors import ConfigError
from gpt4scene.files.raw import Record

Kind = Literal["own", "videos", "scenes"]
"""Where the images of a benchmark come from."""

SHOWN: dict[Kind, str] = {
    "own": "images that its rows bring",
    "videos": "frames of recordings",
    "scenes": "images of prepared scenes",
}


@dataclass(frozen=True)
class Sources:
    """Where images come from: ``scenes`` that were prepared, ``videos``, and ``media_dir`` for names in official rows.

    ``as_video`` shows recordings as they are, not frames of them. ``absent`` says what becomes of questions whose own
    images are not found. ``boxes`` of prepared scenes are read on
    request, and ``told`` adds what is told of them in words.
    """

    out: Path
    split: str
    shown: Shown
    scenes: Path | None = None
    videos: Path | None = None
    as_video: bool = False
    media_dir: str = ""
    absent: Literal["refuse", "drop"] = "refuse"
    min_iou: float = 0.5
    boxes: bool = True
    told: Callable[[Scenes], Scenes] = lambda scenes: scenes

    @cached_property
    def prepared(self) -> Prepared:
        """The prepared scenes."""
        assert self.scenes is not None, "asked for by kind"
        found = read_scenes(self.scenes, self.split, self.out, self.shown, self.min_iou, boxes=self.boxes)
        return replace(found, scenes=self.told(found.scenes))

    @cached_property
    def _recordings(self) -> Recordings:
        assert self.videos is not None, "asked for by kind"
        return Recordings(self.videos, self.out, self.shown.frames or FRAMES, self.as_video)

    @property
    def frames(self) -> int:
        """The number of frames that the images of prepared scenes are called by."""
        return self.prepared.frames

    def kind(self, benchmark: Benchmark) -> Kind:
        """Return where the images of ``benchmark`` come from; ``ConfigError`` where that was not given."""
        if benchmark.own_images:
            return "own"
        recorded = bool(benchmark.image_list) and benchmark.from_scenes is None
        if recorded and self.videos is not None:
            return "videos"
        if self.scenes is None:
            way_out = ", or --videos, which holds their recordings" if recorded else ""
            raise ConfigError(
                f"{benchmark.name} asks about scenes; give --scenes, a folder that `gpt4scene prepare` wrote{way_out}"
            )
        return "scenes"

    def of(
        self, benchmark: Benchmark, records: Iterable[Record], files: Sequence[Path]
    ) -> tuple[Iterable[Record], Scenes]:
        """Return ``records`` and their scenes, whose images become known as the records are gone through."""
        kind = self.kind(benchmark)
        if kind == "own":
            folders = media_folders(self.media_dir, files)
            own = OwnImages(benchmark, self.out, folders, self.absent == "drop")
            return own.pass_by(records), without_boxes(own.images)
        if kind == "videos":
            return _recorded(benchmark, records, self._recordings), without_boxes(self._recordings.images)
        return records, self.prepared.scenes


def _recorded(benchmark: Benchmark, records: Iterable[Record], found: Recordings) -> Iterator[Record]:
    """Yield ``records`` as they are, each after the frames of its scene are there."""
    assert benchmark.references is not None
    for record in records:
        for row in benchmark.references(record):
            found.take(row["scene_id"])
        yield record
