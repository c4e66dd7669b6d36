"""``gpt4scene annotate``: official files and scenes in, training rows or question files out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gpt4scene.benchmarks.annotated_files import (
    copy_boxes,
    dataset_name,
    write_companions,
    write_images,
    write_questions,
    write_training,
)
from gpt4scene.benchmarks.benchmark import Benchmark, read_first
from gpt4scene.benchmarks.labels import LABEL_MAP
from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.registry import BENCHMARKS, SOURCES, task_names
from gpt4scene.benchmarks.rows import AnnotatedRows
from gpt4scene.benchmarks.scene_frames import Shown
from gpt4scene.benchmarks.showing import Sources
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.official_files import find_official, in_parquet, official_rows
from gpt4scene.files.raw import Record, find_raw
from gpt4scene.settings.arguments import Arguments, key

Say = Callable[[str], None]


@dataclass(frozen=True)
class AnnotateArguments(Arguments):
    """What to annotate; every field is a flag of ``gpt4scene annotate``."""

    out: str = key("folder to write; becomes a dataset_dir (train) or an annotation_dir (val)")
    raw: str = key("folder of the official benchmark files")
    scenes: str | None = key("folder that `gpt4scene prepare` wrote, for benchmarks that ask about scenes", None)
    split: Literal["train", "val"] = key("train: training rows; val: question files", "val")
    task: str = key("names separated by commas, or all whose files are there", "all")
    raw_split: str = key("read the raw files of another split, such as test", "")
    frames: int = key("frames a scene, taken evenly from those there are; 0 is all, or 32 of a video", 0, least=0)
    bev: bool = key("show the bird's-eye view of a prepared scene before its frames", True)
    marks: bool = key("show the images of a prepared scene with object marks", True)
    videos: str | None = key("folder of recordings, <scene>.mp4 or folders of pictures, in place of --scenes", None)
    media_dir: str | None = key("folder that names of images in official rows start from", None)
    absent_images: Literal["refuse", "drop"] = key(
        "questions whose own images are not found: refuse, or drop", "refuse"
    )
    label_map: str = key(f"ScanNet's {LABEL_MAP} (found by itself in the raw folder)", "")
    min_iou: float = key("least IoU of a proposal in a training row", 0.5)
    seed: int = key("seed of the wordings that training rows get", 0)
    wordings: int = key("draw from the first n wordings only (1: those of the question files); 0 draws from all", 0)

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems()
        for name in ("raw", "scenes", "videos", "media_dir"):
            place = getattr(self, name)
            if place is not None and not Path(place).is_dir():
                wrong.append(f"--{name} {place}: there is no such folder")
        return wrong

    @property
    def shown(self) -> Shown:
        """What questions show of a prepared scene."""
        return Shown(self.frames, self.bev, self.marks)


@dataclass(frozen=True)
class AnnotateSummary:
    """What was made: rows and counts of dropped ones by task, why tasks were skipped, and the files written."""

    tasks: dict[str, AnnotatedRows]
    skipped: dict[str, str]
    written: list[Path]


@dataclass(frozen=True)
class _Made:
    """The rows of one benchmark with the scenes they are about, and its records where companions are made of them."""

    benchmark: Benchmark
    rows: AnnotatedRows
    scenes: Scenes
    records: list[Record]


def annotate(arguments: AnnotateArguments, say: Say = print) -> AnnotateSummary:
    """Write training rows or question files to ``arguments.out`` and return what was made.

    ``say`` gets a line per task with the number of rows and, by reason, how many were dropped. Raises ``ConfigError``
    for an unknown task or split and ``DataError`` for missing or broken files; then no row is written.
    """
    arguments.check()
    benchmarks, optional = _chosen(arguments)
    sources = _sources(arguments)
    made: dict[str, _Made] = {}
    skipped = {}
    for benchmark in benchmarks:
        paths = _raw_files(arguments, benchmark)
        if isinstance(paths, str):
            if benchmark.name not in optional:
                raise DataError(paths)
            skipped[benchmark.name] = paths
            continue
        made[benchmark.name] = _make(arguments, benchmark, sources, paths)
        say(line_about(benchmark.name, made[benchmark.name].rows))
    if skipped:
        say(f"skipped, for want of official files: {'; '.join(f'{task} ({why})' for task, why in skipped.items())}")
    if not any(one.rows.rows for one in made.values()):
        places = " and ".join(str(place) for place in (arguments.scenes, arguments.videos) if place)
        about = f" for the scenes of {places}" if places else ""
        raise DataError(f"{arguments.raw}: no row could be made{about}; no row was written")
    Path(arguments.out).mkdir(parents=True, exist_ok=True)
    write = _write_training if arguments.split == "train" else _write_questions
    return AnnotateSummary(
        {task: one.rows for task, one in made.items()}, skipped, write(arguments, made, sources, say)
    )


def _sources(arguments: AnnotateArguments) -> Sources:
    scenes, videos = (None if place is None else Path(place) for place in (arguments.scenes, arguments.videos))
    return Sources(
        out=Path(arguments.out),
        split=arguments.split,
        shown=arguments.shown,
        scenes=scenes,
        videos=videos,
        media_dir=arguments.media_dir,
        absent=arguments.absent_images,
        min_iou=arguments.min_iou,
    )


def _chosen(arguments: AnnotateArguments) -> tuple[list[Benchmark], set[str]]:
    """Return the benchmarks to annotate, further sources first, and those that may be without official files."""
    train = arguments.split == "train"
    words = [word.strip() for word in arguments.task.split(",") if word.strip()]
    sources = [SOURCES[word] for word in words if word in SOURCES]
    tasks = [word for word in words if word not in SOURCES]
    if sources and not train:
        for source in sources:
            if source.question_rows is None:
                raise ConfigError(f"'{source.name}' makes training rows only; use --split train")
        first = sources[0]
        assert first.form is not None, "a further source comes in another's form"
        if len(sources) > 1 or tasks:
            raise ConfigError(
                f"the questions of '{first.name}' become {first.question_name('val')}, in {first.form.title}'s form; "
                "name it alone and give it an --out folder of its own"
            )
    named = [] if sources and not tasks else task_names(tasks)
    if named is None:
        able = [one for one in BENCHMARKS.values() if one.training_rows is not None or not train]
        return [*sources, *able], set(BENCHMARKS)
    chosen = [*sources, *(BENCHMARKS[task] for task in named)]
    for one in chosen if train else ():
        if one.training_rows is None:
            raise ConfigError(f"'{one.name}' is for evaluation only, and has no training rows; use --split val")
    return chosen, set()


def _raw_files(arguments: AnnotateArguments, benchmark: Benchmark) -> list[Path] | str:
    """Return the official files of a benchmark, or a sentence about the first that is not there."""
    paths = []
    for name in benchmark.raw_names(arguments.raw_split or arguments.split):
        found = find_official(Path(arguments.raw), name)
        if not found:
            return f"{name.replace('|', ' or ')} is not in {arguments.raw}"
        paths += found
    return paths


def _records(benchmark: Benchmark, paths: list[Path]) -> Iterable[Record]:
    """Return the official rows; those that bring images in parquet files come one at a time."""
    if benchmark.own_images and benchmark.read is read_first and in_parquet(paths):
        return official_rows(paths)
    return benchmark.read(paths)


def _make(arguments: AnnotateArguments, benchmark: Benchmark, sources: Sources, paths: list[Path]) -> _Made:
    """Return the rows of one benchmark."""
    if benchmark.about_objects and not arguments.marks:
        raise ConfigError(f"--marks false: {benchmark.name} names objects by their marks; leave it out of --task")
    kept = list(benchmark.read(paths)) if benchmark.companions or arguments.split == "train" else None
    records, scenes = sources.of(benchmark, _records(benchmark, paths) if kept is None else kept, paths)
    if arguments.split == "train":
        generator = random.Random(f"{arguments.seed} {benchmark.name}")
        rows = benchmark.make_training(list(records), scenes, generator, arguments.wordings)
    else:
        rows = benchmark.make_questions(records, scenes)
    return _Made(benchmark, rows, scenes, kept or [])


def line_about(task: str, made: AnnotatedRows) -> str:
    """Return one line: the number of rows, and the dropped ones by reason."""
    dropped = ", ".join(f"{reason}: {count}" for reason, count in sorted(made.dropped.items()))
    return f"{task}: {len(made.rows)} rows" + (f"; dropped: {dropped}" if dropped else "")


def _write_training(arguments: AnnotateArguments, made: dict[str, _Made], sources: Sources, say: Say) -> list[Path]:
    rows = {task: one.rows.rows for task, one in made.items()}
    name = dataset_name(arguments.shown, sources.frames)
    return write_training(rows, {task: one.scenes.images for task, one in made.items()}, Path(arguments.out), name)


def _write_questions(arguments: AnnotateArguments, made: dict[str, _Made], sources: Sources, say: Say) -> list[Path]:
    """Write the questions of every task, and what tasks about prepared scenes share: images, boxes, companions."""
    out = Path(arguments.out)

    def label_map() -> Path | None:
        return Path(arguments.label_map) if arguments.label_map else find_raw(Path(arguments.raw), LABEL_MAP)

    written = []
    for one in made.values():
        written += write_questions(one.benchmark, one.rows, one.scenes.images, out)
    sharing = [one for one in made.values() if not one.benchmark.image_list]
    if sharing:
        assert arguments.scenes is not None, "tasks without a list of their own ask about prepared scenes"
        name = arguments.shown.listed_as("val", sources.frames)
        written.append(write_images(sharing[0].scenes.images, out, name))
        written += copy_boxes(Path(arguments.scenes), out)
    for one in made.values():
        if one.benchmark.name in BENCHMARKS:
            written += write_companions(one.benchmark, one.records, label_map, out, say)
    return written


def main(arguments: AnnotateArguments) -> int:
    """Annotate as the arguments say; return 0 when done."""
    result = annotate(arguments)
    print(f"wrote {len(result.written)} files to {arguments.out}")
    return 0
