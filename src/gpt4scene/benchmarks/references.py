"""Questions and true answers from official files alone: no scene is prepared, no question file written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.benchmarks.labels import LABEL_MAP
from gpt4scene.benchmarks.matching import Match, Scenes
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.rows import QuestionRow
from gpt4scene.benchmarks.wordings import Prompts
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.official_files import OTHERWISE
from gpt4scene.files.questions import questions_of
from gpt4scene.files.raw import OFFICIAL, Record
from gpt4scene.metrics.boxes import SceneBoxes
from gpt4scene.types import Question


@dataclass(frozen=True)
class References:
    """The questions of one task as its official files have them; ``place`` names the files in messages.

    ``made`` are contents of companion files that follow from the official records, ``files`` the official files.
    ``labels`` are the names of objects that the records say, by scene and number; of those not named they are empty.
    """

    task: str
    questions: tuple[Question, ...]
    place: Path
    made: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)


def reference_files(
    words: str | Sequence[str], tasks: Sequence[str] | None, flags: tuple[str, str] = ("--references", "--tasks")
) -> dict[str, list[Path]]:
    """Return task -> official files. ``words`` are files, or ``task=FILE``; commas separate those of a text.

    A file without a task is of the one task asked for, else of the task whose official file has its name. Raises
    ``ConfigError`` for all files at once that can't be told or are not there; ``flags`` are those of files and tasks.
    """
    flag, of_tasks = flags
    if isinstance(words, str):
        words = [word.strip() for word in words.split(",") if word.strip()]
    found: dict[str, list[Path]] = {}
    wrong = []
    for word in words:
        could_be: list[str] = []
        task, given, name = word.partition("=")
        if not given or task not in BENCHMARKS:
            name = word
            could_be = _tasks_of(Path(word), tasks)
            task = could_be[0] if len(could_be) == 1 else None
        path = Path(name)
        if not path.is_file():
            wrong.append(f"{flag} {name}: there is no such file")
        elif path.suffix.lower() not in OFFICIAL:
            wrong.append(f"{flag} {name}: '{path.suffix}' files can't be read; write one of {', '.join(OFFICIAL)}")
        elif task is None:
            some = " or ".join(f"{one}={name}" for one in could_be or list(BENCHMARKS)[:1])
            wrong.append(f"{flag} {name}: say of which task it is, such as {some}, or by {of_tasks}")
        elif tasks is not None and task not in tasks:
            wrong.append(f"{flag} {name}: is of '{task}', which {of_tasks} leaves out")
        else:
            found.setdefault(task, []).append(path)
    if wrong:
        raise ConfigError(*wrong)
    return found


def _tasks_of(path: Path, tasks: Sequence[str] | None) -> list[str]:
    """Return the tasks whose official file has the name of ``path``; the only one of ``tasks`` where it is one."""
    if tasks is not None and len(tasks) == 1:
        return list(tasks)
    named = [task for task, benchmark in BENCHMARKS.items() if any(_fits(name, path) for name in benchmark.raw_files)]
    return [task for task in named if tasks is None or task in tasks] or named


def _fits(patterns: str, path: Path) -> bool:
    """Return whether one of ``patterns`` has the name of ``path``, and folders of it those of the pattern."""
    for pattern in patterns.split(OTHERWISE):
        *folders, name = pattern.split("/")
        form = re.escape(name).replace(r"\{split\}", r"\w+").replace(r"\*", ".*")
        above = path.absolute().parent.parts
        if re.fullmatch(form, path.name) and all(folder in ("**", *above) for folder in folders):
            return True
    return False


def read_references(task: str, paths: Sequence[Path]) -> References:
    """Return the questions in the official files of ``task``; ``DataError`` names file and row of what is wrong."""
    benchmark = BENCHMARKS[task]
    place = Path(", ".join(map(str, paths)))
    return references_in(benchmark, _in_order(benchmark, paths), place, tuple(paths))


def references_in(
    benchmark: Benchmark, records: Sequence[Record], place: Path, files: tuple[Path, ...] = ()
) -> References:
    """Return the questions of official ``records`` that were read from ``files``, if from any."""
    questions = tuple(references_of(benchmark, records, str(place)))
    made: Mapping[str, Any] = {}
    notes: list[str] = []
    if benchmark.companions is not None and benchmark.about_objects:
        label_map = next((path for file in files if (path := file.with_name(LABEL_MAP)).is_file()), None)
        made = benchmark.companions(list(records), lambda: label_map, notes.append)
    labels = object_names(records) if benchmark.about_objects else {}
    return References(benchmark.name, questions, place, made, files, tuple(notes), labels)


def object_names(records: Iterable[Record]) -> dict[str, list[str]]:
    """Return scene -> names of its objects by number, as ScanRefer's and Multi3DRefer's records say them.

    An object that no record names, or two records by different names, is empty.
    """
    found: dict[str, dict[int, set[str]]] = {}
    for record in records:
        said = record.values.get("object_name")
        if not isinstance(said, str) or not said.strip():
            continue
        several = "object_ids" in record.values
        for number in record.wholes("object_ids") if several else [record.whole("object_id")]:
            found.setdefault(record.text("scene_id"), {}).setdefault(number, set()).add(said.strip().replace("_", " "))
    return {
        scene: [
            " ".join(names.get(number, ())) if len(names.get(number, ())) == 1 else ""
            for number in range(max(names) + 1)
        ]
        for scene, names in found.items()
    }


def _in_order(benchmark: Benchmark, paths: Sequence[Path]) -> list[Record]:
    """Return the records of ``paths``, put in the order of the benchmark's official files where it has several."""
    wanted = benchmark.raw_files
    if len(wanted) == 1:
        return benchmark.read(paths)
    by_name = [next((path for path in paths if _fits(name, path)), None) for name in wanted]
    ordered = [path for path in by_name if path is not None]
    if len(ordered) < len(wanted) or len(paths) > len(wanted):
        ordered = list(paths)
    if len(ordered) != len(wanted):
        names = " and ".join(name.format(split="<split>") for name in wanted)
        raise DataError(f"{benchmark.name}: needs {len(wanted)} official files, {names}; found {len(paths)}")
    return benchmark.read(ordered)


def references_of(benchmark: Benchmark, records: Iterable[Record], place: str) -> list[Question]:
    """Return the questions of official ``records``; ``place`` names where they come from."""
    arranged = benchmark.question_records(list(records), NO_SCENES)
    kept = [record for record in arranged if isinstance(record, Record)]
    prompts = Prompts(benchmark.wordings())
    rows = [(record.origin, row) for record in kept for row in _rows_of(benchmark, record, prompts)]
    if not rows:
        raise DataError(f"{place}: holds no question of {benchmark.name}")
    return questions_of(rows, benchmark.name, benchmark.type_key)


def _rows_of(benchmark: Benchmark, record: Record, prompts: Prompts) -> Iterable[QuestionRow]:
    if benchmark.references is not None:
        return benchmark.references(record)
    if benchmark.question_rows is None:
        raise ConfigError(f"{benchmark.name}: has rows for training only, and no answers to score")
    return [row for row in benchmark.question_rows(record, NO_SCENES, prompts) if isinstance(row, Mapping)]


@dataclass(frozen=True)
class _NoBoxes(SceneBoxes):
    """Boxes of any object, all empty: official files are read without boxes, which scoring alone compares."""

    def row(self, scene: str, index: int, origin: str) -> np.ndarray:
        """Return an empty box, float64[6]."""
        return np.zeros(6)


@dataclass(frozen=True)
class _NoScenes(Scenes):
    """Scenes of which nothing is known, so that no proposal stands for an object."""

    def match(self, scene: str, target: int, origin: str) -> Match | None:
        """Return ``None``."""
        return None


NO_SCENES = _NoScenes({}, _NoBoxes({}, "no boxes"), _NoBoxes({}, "no boxes"))
"""Stands for prepared scenes where none are needed."""
