"""``gpt4scene annotate``: official files and scenes in, training rows or question files out."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from gpt4scene import talk
from gpt4scene.benchmarks.annotated_files import (
    copy_boxes,
    dataset_name,
    write_companions,
    write_images,
    write_questions,
    write_training,
)
from gpt4scene.benchmarks.benchmark import Benchmark, read_all
from gpt4scene.benchmarks.labels import LABEL_MAP
from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.references import reference_files
from gpt4scene.benchmarks.registry import BENCHMARKS, SOURCES, task_names
from gpt4scene.benchmarks.rows import AnnotatedRows, FromScenes, SceneRecords
from gpt4scene.benchmarks.scene_frames import Shown
from gpt4scene.benchmarks.scene_text import Geometry, refuse_own_images, with_geometry
from gpt4scene.benchmarks.showing import SHOWN, Kind, Sources
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.official_files import find_official, in_parquet, official_rows
from gpt4scene.files.raw import find_raw
from gpt4scene.progress import track
from gpt4scene.settings.arguments import Arguments, key

Say = Callable[[str], None]
OF_IMAGES: dict[str, set[Kind]] = {
    "scenes": {"scenes"},
    "bev": {"scenes"},
    "marks": {"scenes"},
    "frames": {"scenes", "videos"},
    "videos": {"videos"},
    "as_video": {"videos"},
    "media_dir": {"own"},
    "absent_images": {"own"},
}
"""Flag -> the kinds of images that it shapes."""

EVALUATED = "test"
"""The split that benchmarks have which are for evaluation only."""


@dataclass(frozen=True)
class AnnotateArguments(Arguments):
    """What to annotate; every field is a flag of ``gpt4scene annotate``."""

    raw: str = key("folder of official files, or files themselves (task=FILE,...); tasks made of scenes need none", "")
    scenes: str = key("folder that `gpt4scene prepare` wrote, for tasks that ask about scenes", "")
    out: str = key("folder to write; becomes a dataset_dir (train) or an annotation_dir (val) [required]", "")
    split: Literal["train", "val"] = key("train: training rows; val: question files", "val")
    task: str = key("names separated by commas, or all whose files are there", "all")
    raw_split: str = key("read the raw files of another split, such as test", "")
    frames: int = key("frames a scene, taken evenly from those there are; 0 is all, or 32 of a video", 0, least=0)
    bev: bool = key("show the bird's-eye view of a prepared scene before its frames", True)
    marks: bool = key("show the images of a prepared scene with object marks", True)
    videos: str = key("folder of recordings, <scene>.mp4 or folders of pictures, in place of --scenes", "")
    as_video: bool = key("show recordings as videos, of which the model's own rule takes frames", False)
    media_dir: str = key("folder that names of images in official rows start from", "")
    absent_images: Literal["refuse", "drop"] = key(
        "questions whose own images are not found: refuse, or drop", "refuse"
    )
    label_map: str = key(f"ScanNet's {LABEL_MAP} (found by itself in the raw folder)", "")
    min_iou: float = key("least IoU of a proposal in a training row", 0.5)
    seed: int = key("seed of the wordings that training rows get", 0)
    wordings: int = key("draw from the first n wordings only (1: those of the question files); 0 draws from all", 0)

    geometry: Geometry = key("text before the images: names and boxes of marked objects, and cameras", "none")
    tokenizer: str = key("folder of a model whose tokenizer counts what --geometry costs; estimated without it", "")
    rules: str = key("questions made of scenes: which rules of docs/geometry.md make them", "vsi")
    per_kind: int = key("questions made of scenes: most of a kind and scene; 0 takes what the rules say", 0, least=0)
    refer: Literal["label", "number"] = key(
        "questions made of scenes: name objects by label where no other has it, or all by label and number", "label"
    )

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value, and for a folder that is not named."""
        wrong = super().problems()
        if not self.out:
            wrong.append("--out is missing, or has no value")
        if self.tokenizer and self.geometry == "none":
            wrong.append("--tokenizer counts the tokens of --geometry; give --geometry text, or leave it out")
        if self.as_video and self.frames:
            wrong.append("--frames are taken by video_fps and video_maxlen with --as_video; leave one of them out")
        if self.videos and self.geometry != "none":
            wrong.append(f"--geometry {self.geometry} tells of prepared scenes, not of --videos; leave one of them out")
        return wrong

    @property
    def from_scenes(self) -> FromScenes:
        """How questions are made of scenes; training rows draw among wordings, unless only the first is wanted."""
        varied = self.split == "train" and self.wordings != 1
        return FromScenes(self.rules, self.seed, self.per_kind, self.refer, varied)

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
    """The rows of one benchmark with the scenes they are about; ``found`` are its records, unless too large."""

    benchmark: Benchmark
    rows: AnnotatedRows
    scenes: Scenes
    found: SceneRecords


def annotate(arguments: AnnotateArguments, say: Say = talk.say) -> AnnotateSummary:
    """Write training rows or question files to ``arguments.out`` and return what was made.

    ``say`` gets a line per task with the number of rows and, by reason, how many were dropped. Raises ``ConfigError``
    for an unknown task or split and ``DataError`` for missing or broken files; then no row is written.
    """
    arguments.check()
    for name in ("scenes", "videos", "media_dir"):
        place = getattr(arguments, name)
        if place and not Path(place).is_dir():
            raise DataError(f"--{name} {place}: there is no such folder")
    named = None if not arguments.raw or Path(arguments.raw).is_dir() else _named_files(arguments)
    benchmarks, optional = _chosen(arguments, named)
    _refuse_unused(arguments, benchmarks)
    refuse_own_images(arguments.geometry, (one for one in benchmarks if one.name not in optional))
    files, skipped = {}, {}
    for benchmark in benchmarks:
        paths = _raw_files(arguments, benchmark) if named is None else named.get(benchmark.name, [])
        if not isinstance(paths, str):
            files[benchmark.name] = paths
        elif benchmark.name in optional:
            skipped[benchmark.name] = paths
        else:
            raise DataError(paths)
    benchmarks = [benchmark for benchmark in benchmarks if benchmark.name in files]
    sources = _sources(arguments, benchmarks, say)
    _refuse_unshown(arguments, benchmarks, sources)
    made: dict[str, _Made] = {}
    for benchmark in track(benchmarks, "tasks"):
        made[benchmark.name] = one = _make(arguments, benchmark, sources, files[benchmark.name])
        for line in (line_about(benchmark.name, one.rows), *one.found.lines):
            say(line)
        one.rows.dropped.update(one.found.dropped)
    if skipped:
        say(f"skipped, for want of official files: {', '.join(skipped)}; --task with a name says which files")
    if not any(one.rows.rows for one in made.values()):
        places = " and ".join(place for place in (arguments.scenes, arguments.videos) if place)
        source, about = arguments.raw and f"{arguments.raw}: ", places and f" for the scenes of {places}"
        raise DataError(f"{source}no row could be made{about}; no row was written")
    Path(arguments.out).mkdir(parents=True, exist_ok=True)
    write = _write_training if arguments.split == "train" else _write_questions
    return AnnotateSummary(
        {task: one.rows for task, one in made.items()}, skipped, write(arguments, made, sources, say)
    )


def _sources(arguments: AnnotateArguments, benchmarks: Sequence[Benchmark], say: Say) -> Sources:
    def told(scenes: Scenes) -> Scenes:
        folders = Path(arguments.scenes), Path(arguments.out)
        return with_geometry(scenes, *folders, arguments.geometry, arguments.tokenizer, say)

    return Sources(
        out=Path(arguments.out),
        split=arguments.split,
        shown=arguments.shown,
        scenes=Path(arguments.scenes) if arguments.scenes else None,
        videos=Path(arguments.videos) if arguments.videos else None,
        as_video=arguments.as_video,
        media_dir=arguments.media_dir,
        absent=arguments.absent_images,
        min_iou=arguments.min_iou,
        boxes=arguments.geometry != "none" or not all(one.image_list and not one.from_scenes for one in benchmarks),
        told=told,
    )


def _named_files(arguments: AnnotateArguments) -> dict[str, list[Path]]:
    """Return the official files that ``--raw`` names, by task."""
    if "=" not in arguments.raw and not Path(arguments.raw.split(",")[0].strip()).is_file():
        raise DataError(f"--raw {arguments.raw}: there is no such folder, and no such file")
    return reference_files(arguments.raw, task_names(arguments.task), ("--raw", "--task"))


def _refuse_unused(arguments: AnnotateArguments, benchmarks: Sequence[Benchmark]) -> None:
    """Raise ``ConfigError`` for values that none of ``benchmarks`` uses."""
    of_scenes = [benchmark.from_scenes is not None for benchmark in benchmarks]
    plain = {field.name: field.default for field in fields(arguments)}
    given = [name for name in ("rules", "per_kind", "refer") if getattr(arguments, name) != plain[name]]
    if given and not any(of_scenes):
        flags = " and ".join(f"--{name}" for name in given)
        makers = ", ".join(task for task, benchmark in BENCHMARKS.items() if benchmark.from_scenes)
        raise ConfigError(
            f"{flags} shape questions made of scenes, and no task here makes any (those that do: {makers})"
        )
    if arguments.raw and benchmarks and all(of_scenes):
        raise ConfigError(f"--raw {arguments.raw} is not read: the questions are made of scenes; leave it out")


def _refuse_unshown(arguments: AnnotateArguments, benchmarks: Sequence[Benchmark], sources: Sources) -> None:
    """Raise ``ConfigError`` for marks that a task needs, and for flags about images that no task shows."""
    for benchmark in benchmarks:
        if benchmark.about_objects and not arguments.marks:
            raise ConfigError(f"--marks false: {benchmark.name} names objects by their marks; leave it out of --task")
    kinds: dict[str, Kind] = {one.name: sources.kind(one) for one in benchmarks}
    given = [one.name for one in fields(arguments) if getattr(arguments, one.name) != one.default]
    unused = [f"--{name}" for name in given if name in OF_IMAGES and OF_IMAGES[name].isdisjoint(kinds.values())]
    if unused and kinds:
        flags = " and ".join(filter(None, (", ".join(unused[:-1]), unused[-1])))
        shown = "; ".join(f"{task} shows {SHOWN[kind]}" for task, kind in kinds.items())
        raise ConfigError(f"{flags} {'have' if unused[1:] else 'has'} no use here: {shown}; leave it out")


def _chosen(arguments: AnnotateArguments, files: Mapping[str, list[Path]] | None) -> tuple[list[Benchmark], set[str]]:
    """Return the benchmarks to annotate, further sources first, and those that may be without official files.

    ``files`` are official files by task, where they were named one by one.
    """
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
    absent = [task for task in named or () if files is not None and task not in files]
    if absent:
        raise ConfigError(f"--raw names no official file of '{absent[0]}'; add {absent[0]}=FILE")
    if named is None:
        official = [one for task, one in BENCHMARKS.items() if not one.from_scenes and (files is None or task in files)]
        able = [one for one in official if one.training_rows is not None or not train]
        return [*sources, *able], set(BENCHMARKS)
    chosen = [*sources, *(BENCHMARKS[task] for task in named)]
    for one in chosen if train else ():
        if one.training_rows is None:
            raise ConfigError(f"'{one.name}' is for evaluation only, and has no training rows; use --split val")
    return chosen, set()


def _raw_files(arguments: AnnotateArguments, benchmark: Benchmark) -> list[Path] | str:
    """Return the official files of a benchmark, or a sentence about the first that is not there."""
    paths = []
    if benchmark.from_scenes:
        return paths
    if not arguments.raw:
        raise ConfigError(f"--raw is missing: it names the folder of the official files of '{benchmark.name}'")
    split = arguments.split if benchmark.training_rows else EVALUATED
    for name in benchmark.raw_names(arguments.raw_split or split):
        found = find_official(Path(arguments.raw), name)
        if not found:
            return f"{name.replace('|', ' or ')} is not in {arguments.raw}"
        paths += found
    return paths


def _records(arguments: AnnotateArguments, benchmark: Benchmark, sources: Sources, paths: list[Path]) -> SceneRecords:
    """Return the records of a benchmark, and what was dropped where they are made of scenes."""
    if not benchmark.from_scenes:
        return SceneRecords(benchmark.read(paths))
    scenes = sources.of(benchmark, (), ())[1]
    return benchmark.from_scenes(Path(arguments.scenes), list(scenes.images), arguments.from_scenes)


def _make(arguments: AnnotateArguments, benchmark: Benchmark, sources: Sources, paths: list[Path]) -> _Made:
    """Return the rows of one benchmark; rows that bring images in parquet files are read one at a time."""
    streamed = benchmark.own_images and benchmark.read is read_all and in_parquet(paths)
    found = SceneRecords([]) if streamed else _records(arguments, benchmark, sources, paths)
    records, scenes = sources.of(benchmark, official_rows(paths) if streamed else found.records, paths)
    if arguments.split == "train":
        generator = random.Random(f"{arguments.seed} {benchmark.name}")
        rows = benchmark.make_training(list(records), scenes, generator, arguments.wordings)
    else:
        rows = benchmark.make_questions(records, scenes)
    return _Made(benchmark, rows, scenes, found)


def line_about(task: str, made: AnnotatedRows) -> str:
    """Return one line: the number of rows, and the dropped ones by reason."""
    dropped = ", ".join(f"{reason}: {count}" for reason, count in sorted(made.dropped.items()))
    return f"{task}: {len(made.rows)} rows" + (f"; dropped: {dropped}" if dropped else "")


def _write_training(arguments: AnnotateArguments, made: dict[str, _Made], sources: Sources, say: Say) -> list[Path]:
    """Write the rows, called by their task where all are made of scenes alone, and as published otherwise."""
    of_scenes = all(one.benchmark.from_scenes for one in made.values())
    name = dataset_name("_".join(made) if of_scenes else "chat_scene", arguments.shown, sources.frames)
    rows = [(row, one.scenes, one.benchmark.name) for one in made.values() for row in one.rows.rows]
    return write_training(rows, Path(arguments.out), name)


def _write_questions(arguments: AnnotateArguments, made: dict[str, _Made], sources: Sources, say: Say) -> list[Path]:
    """Write the questions of every task, and what tasks about prepared scenes share: images, boxes, companions."""
    out = Path(arguments.out)

    def label_map() -> Path | None:
        if arguments.label_map or not Path(arguments.raw).is_dir():
            return Path(arguments.label_map) if arguments.label_map else None
        return find_raw(Path(arguments.raw), LABEL_MAP)

    written = []
    for one in made.values():
        written += write_questions(one.benchmark, one.rows, one.scenes, out)
    sharing = [one for one in made.values() if not one.benchmark.image_list]
    if sharing:
        written.append(write_images(sharing[0].scenes, out, arguments.shown.listed_as("val", sources.frames)))
    if sharing or any(one.benchmark.from_scenes for one in made.values()):
        written += copy_boxes(Path(arguments.scenes), out)
    for one in made.values():
        if one.benchmark.name in BENCHMARKS:
            written += write_companions(one.benchmark, one.found.records, label_map, out, say)
    return written


def main(arguments: AnnotateArguments) -> int:
    """Annotate as the arguments say; return 0 when done."""
    result = annotate(arguments)
    rows = {task: len(made.rows) for task, made in result.tasks.items()}
    files = [str(path) for path in result.written]
    talk.result(f"wrote {len(files)} files to {arguments.out}", out=arguments.out, rows=rows, files=files)
    return 0
