"""``gpt4scene annotate``: official benchmark files and a folder of scenes become training rows or question files."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.benchmarks.labels import LABEL_MAP
from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.registry import BENCHMARKS, SOURCES, task_names
from gpt4scene.benchmarks.rows import AnnotatedRows, FromScenes, QuestionRow, SceneRecords, TrainingRow
from gpt4scene.benchmarks.scene_text import Geometry, before_images, block_of, refuse_own_images, with_geometry
from gpt4scene.data.templates import ALL_MARKS
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.annotation import GROUND_TRUTH, PROPOSALS, read_attributes
from gpt4scene.files.images import IMAGE_LIST, ImageSearch, image_list_file, read_image_list
from gpt4scene.files.raw import Record, find_raw
from gpt4scene.files.whole import copy_file, read_json, write_json
from gpt4scene.settings.arguments import Arguments, key

Say = Callable[[str], None]


@dataclass(frozen=True)
class AnnotateArguments(Arguments):
    """What to annotate; every field is a flag of ``gpt4scene annotate``."""

    raw: str = key("folder of the official benchmark files; tasks made of scenes need none", "")
    scenes: str = key("folder that `gpt4scene prepare` wrote [required]", "")
    out: str = key("folder to write; becomes a dataset_dir (train) or an annotation_dir (val) [required]", "")
    split: Literal["train", "val"] = key("train: training rows; val: question files", "val")
    task: str = key("names separated by commas, or all whose files are there", "all")
    raw_split: str = key("read the raw files of another split, such as test", "")
    frames: int = key("frames a scene, where images were selected for several counts", 0)
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

    @property
    def from_scenes(self) -> FromScenes:
        """How questions are made of scenes; training rows draw among wordings, unless only the first is wanted."""
        varied = self.split == "train" and self.wordings != 1
        return FromScenes(self.rules, self.seed, self.per_kind, self.refer, varied)

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value, and for folders that are not named."""
        empty = [f"--{name} is missing, or has no value" for name in ("scenes", "out") if not getattr(self, name)]
        return [*super().problems(), *empty]


@dataclass(frozen=True)
class AnnotateSummary:
    """What was made: rows and counts of dropped ones by task, why tasks were skipped, and the files written."""

    tasks: dict[str, AnnotatedRows]
    skipped: dict[str, str]
    written: list[Path]


def annotate(arguments: AnnotateArguments, say: Say = print) -> AnnotateSummary:
    """Write training rows or question files to ``arguments.out`` and return what was made.

    ``say`` gets a line per task with the number of rows and, by reason, how many were dropped. Raises ``ConfigError``
    for an unknown task or split and ``DataError`` for missing or broken files; then nothing is written.
    """
    arguments.check()
    out = Path(arguments.out)
    benchmarks, optional = _chosen(arguments)
    refuse_own_images(arguments.geometry, (one for one in benchmarks if one.name not in optional))
    scenes, frames = read_scenes(Path(arguments.scenes), arguments.split, out, arguments.frames, arguments.min_iou)
    scenes = with_geometry(scenes, Path(arguments.scenes), out, arguments.geometry, arguments.tokenizer, say)
    made: dict[str, AnnotatedRows] = {}
    records: dict[str, list[Record]] = {}
    skipped = {}
    for benchmark in benchmarks:
        task, found = benchmark.name, _records(arguments, benchmark, scenes)
        if isinstance(found, str):
            if task not in optional:
                raise DataError(found)
            skipped[task] = found
            say(f"{task}: skipped, {found}")
            continue
        records[task] = found.records
        if arguments.split == "train":
            generator = random.Random(f"{arguments.seed} {task}")
            made[task] = benchmark.make_training(records[task], scenes, generator, arguments.wordings)
        else:
            made[task] = benchmark.make_questions(records[task], scenes)
        for line in (line_about(task, made[task]), *found.lines):
            say(line)
        made[task].dropped.update(found.dropped)
    if not any(result.rows for result in made.values()):
        source = f"{arguments.raw}: " if arguments.raw else ""
        raise DataError(f"{source}no row could be made for the scenes of {arguments.scenes}; nothing was written")
    out.mkdir(parents=True, exist_ok=True)
    if arguments.split == "train":
        rows = [row for result in made.values() for row in result.rows]
        written = write_training(rows, scenes, out, frames, _training_name(benchmarks))
    else:
        written = write_questions(made, scenes, out, frames) + _write_companions(arguments, records, say)
    return AnnotateSummary(made, skipped, written)


def _chosen(arguments: AnnotateArguments) -> tuple[list[Benchmark], set[str]]:
    """Return the benchmarks to annotate, further sources first, and those that may be without official files."""
    words = [word.strip() for word in arguments.task.split(",") if word.strip()]
    sources = [SOURCES[word] for word in words if word in SOURCES]
    tasks = [word for word in words if word not in SOURCES]
    if sources and arguments.split != "train":
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
        official = [benchmark for benchmark in BENCHMARKS.values() if not benchmark.from_scenes]
        return [*sources, *official], set(BENCHMARKS)
    return [*sources, *(BENCHMARKS[task] for task in named)], set()


def _records(arguments: AnnotateArguments, benchmark: Benchmark, scenes: Scenes) -> SceneRecords | str:
    """Return the records of a benchmark, or a sentence about the first official file that is not there."""
    if benchmark.from_scenes:
        return benchmark.from_scenes(Path(arguments.scenes), list(scenes.images), arguments.from_scenes)
    if not arguments.raw:
        raise ConfigError(f"--raw is missing: it names the folder of the official files of '{benchmark.name}'")
    paths = _raw_files(Path(arguments.raw), benchmark, arguments.raw_split or arguments.split)
    return paths if isinstance(paths, str) else SceneRecords(benchmark.read(paths))


def _training_name(benchmarks: Sequence[Benchmark]) -> str:
    """Return the word for a file's rows: the task's name where all are made of scenes alone, as published otherwise."""
    made = all(benchmark.from_scenes for benchmark in benchmarks)
    return "_".join(benchmark.name for benchmark in benchmarks) if made else "chat_scene"


def _raw_files(raw: Path, benchmark: Benchmark, split: str) -> list[Path] | str:
    """Return the official files of a benchmark, or a sentence about the first that is not there."""
    if not raw.is_dir():
        raise DataError(f"{raw}: there is no such folder of official files")
    paths = []
    for name in benchmark.raw_names(split):
        path = find_raw(raw, name)
        if path is None:
            return f"{name} is not in {raw}"
        paths.append(path)
    return paths


def line_about(task: str, made: AnnotatedRows) -> str:
    """Return one line: the number of rows, and the dropped ones by reason."""
    dropped = ", ".join(f"{reason}: {count}" for reason, count in sorted(made.dropped.items()))
    return f"{task}: {len(made.rows)} rows" + (f"; dropped: {dropped}" if dropped else "")


def read_scenes(folder: Path, split: str, out: Path, frames: int = 0, min_iou: float = 0.5) -> tuple[Scenes, int]:
    """Return the scenes of ``split`` in ``folder`` and the number of frames a scene.

    Image paths are given relative to ``out``; a scene with an image that is not there counts as one without images.
    Raises ``DataError`` when files are missing.
    """
    listed_in = image_list_file(folder, split, frames=frames or None, flag="--frames")
    search = ImageSearch.around(listed_in)
    images = {scene: _from_out(paths, search, out) for scene, paths in read_image_list(listed_in).items()}
    proposals = read_attributes(folder / PROPOSALS.format(split=split))
    ground_truth = read_attributes(folder / GROUND_TRUTH.format(split=split))
    return Scenes(images, proposals, ground_truth, min_iou), int(listed_in.stem.rsplit("_", 1)[1])


def _from_out(paths: Sequence[str], search: ImageSearch, out: Path) -> tuple[str, ...]:
    found = [search.find(path) for path in paths]
    if None in found:
        return ()
    return tuple(Path(os.path.relpath(Path(path).resolve(), out.resolve())).as_posix() for path in found if path)


def write_training(
    made: Sequence[TrainingRow], scenes: Scenes, out: Path, frames: int, word: str = "chat_scene"
) -> list[Path]:
    """Write the rows as one ShareGPT file and enter it in ``dataset_info.json``; return both paths.

    Official texts are letters: what would be a mark in them gets a backslash.
    """
    name = f"sharegpt_data_{word}_{frames}_images_3D_mark"
    rows = []
    for row in made:
        images = scenes.images[row.scene_id]
        shown = block_of(scenes, row.scene_id) + "<image>" * len(images)
        question = {"role": "user", "content": shown + ALL_MARKS.escaped(row.question)}
        answer = {"role": "assistant", "content": ALL_MARKS.escaped(row.answer)}
        rows.append({"messages": [question, answer], "images": list(images)})
    info_path = out / "dataset_info.json"
    info = read_json(info_path) if info_path.is_file() else {}
    if not isinstance(info, dict):
        raise DataError(f"{info_path}: expected {{name: {{'file_name': …}}}}; move it away")
    tags = {"role_tag": "role", "content_tag": "content"}
    tags |= {"user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}
    entry = {"file_name": f"{name}.json", "formatting": "sharegpt", "num_samples": len(rows)}
    entry |= {"columns": {"messages": "messages", "images": "images"}, "tags": tags}
    return [write_json(out / f"{name}.json", rows, indent=None), write_json(info_path, {**info, name: entry}, indent=2)]


def write_questions(
    made: Mapping[str, AnnotatedRows[QuestionRow]], scenes: Scenes, out: Path, frames: int
) -> list[Path]:
    """Write each task's question file and the list of images; return the paths.

    Prompts are letters: what would be a mark in them gets a backslash.
    """
    known = {**BENCHMARKS, **SOURCES}
    written = []
    for task, result in made.items():
        prompts = [before_images(scenes, row["scene_id"], ALL_MARKS.escaped(row["prompt"])) for row in result.rows]
        rows = [{**row, "prompt": prompt} for row, prompt in zip(result.rows, prompts, strict=True)]
        written.append(write_json(out / known[task].question_name("val"), rows))
    images = {scene: list(paths) for scene, paths in scenes.images.items() if paths}
    return [*written, write_json(out / IMAGE_LIST.format(split="val", frames=frames), images)]


def _write_companions(arguments: AnnotateArguments, records: Mapping[str, list[Record]], say: Say) -> list[Path]:
    """Write boxes and companion files beside the question files; return the paths."""
    scenes, out = Path(arguments.scenes), Path(arguments.out)

    def label_map() -> Path | None:
        return Path(arguments.label_map) if arguments.label_map else find_raw(Path(arguments.raw), LABEL_MAP)

    written = []
    for pattern in (PROPOSALS, GROUND_TRUTH):
        name = pattern.format(split="val")
        written.append(copy_file(scenes / name, out / name))
    for benchmark in BENCHMARKS.values():
        if benchmark.name in records and benchmark.companions:
            contents = benchmark.companions(records[benchmark.name], label_map, say)
            written += [write_json(out / name, content) for name, content in contents.items()]
    return written


def main(arguments: AnnotateArguments) -> int:
    """Annotate as the arguments say; return 0 when done."""
    result = annotate(arguments)
    print(f"wrote {len(result.written)} files to {arguments.out}")
    return 0
