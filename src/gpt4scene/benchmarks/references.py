"""Questions and true answers from official files alone: no scene is prepared, no question file written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.rows import QuestionRow
from gpt4scene.benchmarks.wordings import Prompts
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.questions import questions_of
from gpt4scene.files.raw import OFFICIAL, Record
from gpt4scene.metrics.boxes import scene_boxes
from gpt4scene.types import Question


@dataclass(frozen=True)
class References:
    """The questions of one task as its official files have them; ``place`` names the files in messages."""

    task: str
    questions: tuple[Question, ...]
    place: Path


def reference_files(words: str | Sequence[str], tasks: Sequence[str] | None) -> dict[str, list[Path]]:
    """Return task -> official files. ``words`` are files, or ``task=FILE``; commas separate those of a text.

    A file without a task is of the one task asked for, else of the task whose official file has its name. Raises
    ``ConfigError`` for all files at once that can't be told or are not there.
    """
    if isinstance(words, str):
        words = [word.strip() for word in words.split(",") if word.strip()]
    found: dict[str, list[Path]] = {}
    wrong = []
    for word in words:
        task, given, name = word.partition("=")
        if not given or task not in BENCHMARKS:
            task, name = _task_of(Path(word), tasks), word
        path = Path(name)
        if not path.is_file():
            wrong.append(f"--references {name}: there is no such file")
        elif path.suffix.lower() not in OFFICIAL:
            wrong.append(
                f"--references {name}: '{path.suffix}' files can't be read; write one of {', '.join(OFFICIAL)}"
            )
        elif task is None:
            first = next(iter(BENCHMARKS))
            wrong.append(f"--references {name}: say of which task it is, such as {first}={name}, or by --tasks")
        elif tasks is not None and task not in tasks:
            wrong.append(f"--references {name}: is of '{task}', which --tasks leaves out")
        else:
            found.setdefault(task, []).append(path)
    if wrong:
        raise ConfigError(*wrong)
    return found


def _task_of(path: Path, tasks: Sequence[str] | None) -> str | None:
    if tasks is not None and len(tasks) == 1:
        return tasks[0]
    named = [task for task, benchmark in BENCHMARKS.items() if any(_fits(name, path) for name in benchmark.raw_files)]
    return named[0] if len(named) == 1 else None


def _fits(pattern: str, path: Path) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\{split\}", r"\w+").replace(r"\*", ".*"), path.name) is not None


def read_references(task: str, paths: Sequence[Path]) -> References:
    """Return the questions in the official files of ``task``; ``DataError`` names file and row of what is wrong."""
    benchmark = BENCHMARKS[task]
    place = Path(", ".join(map(str, paths)))
    return References(task, tuple(references_of(benchmark, _in_order(benchmark, paths), str(place))), place)


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
    rows = [(record.origin, row) for record in records for row in _rows_of(benchmark, record)]
    if not rows:
        raise DataError(f"{place}: holds no question of {benchmark.name}")
    return questions_of(rows, benchmark.name, benchmark.type_key)


def _rows_of(benchmark: Benchmark, record: Record) -> Iterable[QuestionRow]:
    if benchmark.references is not None:
        return benchmark.references(record)
    if benchmark.about_objects or benchmark.question_rows is None:
        raise ConfigError(
            f"{benchmark.name}: official files alone say nothing about boxes; give --annotation_dir with its question "
            "file, which `gpt4scene annotate` writes"
        )
    rows = benchmark.question_rows(record, _no_scenes(), Prompts(benchmark.wordings()))
    return [row for row in rows if isinstance(row, Mapping)]


def _no_scenes() -> Scenes:
    nothing = scene_boxes({}, "no boxes")
    return Scenes({}, nothing, nothing)
