"""The folder of a training run: the names of its files, and all of them read into one record.

Folders of LLaMA-Factory's runs, as the public project's, are read too: they have ``trainer_log.jsonl`` and
``trainer_state.json``, and no ``run.json``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json, read_text

RUN = "run.json"
LOG = "trainer_log.jsonl"
"""A line for every logged step."""
ANSWERS = "eval_answers.jsonl"
"""Answers to held-out questions."""
STATE = "trainer_state.json"
RESULTS = ("all_results.json", "train_results.json", "eval_results.json")
MARK = "batches.json"
"""File that a checkpoint gets last. Without it, the checkpoint was never finished."""
PAGE = "index.html"
"""The page about the run, once it has ended."""
PAGE_MARK = '<meta name="generator" content="gpt4scene train">'
"""Stands in every page of a run; another file of that name is never replaced."""

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_NOT_FIGURES = frozenset(
    {
        *("current_steps", "total_steps", "epoch", "percentage", "step", "total_flos", "eval_best_step"),
        *("eval_runtime", "eval_samples_per_second", "eval_steps_per_second"),
    }
)
"""Numbers of a line that say where it stands, or how long an evaluation took."""


@dataclass(frozen=True)
class LogLine:
    """A line of the log: its step, its epoch if it says one, its finite figures by name, and seconds since the start.

    ``broken`` are the names of figures that are no finite number.
    """

    step: int
    figures: Mapping[str, float]
    epoch: float | None = None
    elapsed: float | None = None
    broken: tuple[str, ...] = ()


@dataclass(frozen=True)
class SaidAnswer:
    """An answer that a model in training gave to a held-out question."""

    step: int
    task: str
    row: str
    question: str
    truth: str
    answer: str


@dataclass(frozen=True)
class RunRecord:
    """All that a folder says of its run. ``about`` is ``run.json``, empty where there is none.

    ``total_steps`` are those that were planned, 0 where nothing says so. ``results`` are the figures of the end.
    ``checkpoint`` is the newest complete one. ``notes`` say which files could not be read, and why.
    """

    folder: Path
    about: Mapping[str, Any]
    log: Sequence[LogLine]
    answers: Sequence[SaidAnswer]
    results: Mapping[str, float]
    total_steps: int
    checkpoint: Path | None
    notes: tuple[str, ...] = field(default=())

    def part(self, *keys: str) -> Mapping[str, Any]:
        """Return the object under these keys of ``run.json``, empty where there is none."""
        found: Any = self.about
        for name in keys:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else {}

    def items(self, *keys: str) -> list[Any]:
        """Return the list under these keys of ``run.json``, empty where there is none."""
        found = self.part(*keys[:-1]).get(keys[-1])
        return list(found) if isinstance(found, list) else []

    def count(self, *keys: str) -> int | None:
        """Return the whole number under these keys of ``run.json``, None where there is none."""
        found = self.part(*keys[:-1]).get(keys[-1])
        return found if isinstance(found, int) and not isinstance(found, bool) else None

    def word(self, *keys: str) -> str:
        """Return the text under these keys of ``run.json``, empty where there is none."""
        found = self.part(*keys[:-1]).get(keys[-1])
        return found if isinstance(found, str) else ""


def read_run(folder: str | Path) -> RunRecord:
    """Return what the folder says of its run.

    A file that is not there leaves its part empty, and one that can't be read leaves a note besides. Raises
    ``DataError`` where the folder is missing, or has neither figures of a run nor a ``run.json`` of training.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; name the output_dir of a training run")
    notes: list[str] = []
    about = _tried(lambda: _object(folder / RUN), {}, notes)
    log, total = _tried(lambda: _read_log(folder / LOG), ([], 0), notes)
    if not log:
        log, total = _tried(lambda: _read_state(_newest_state(folder)), ([], 0), notes)
    results: dict[str, float] = {}
    for name in RESULTS:
        results |= _finite(_tried(lambda name=name: _object(folder / name), {}, notes))
    if not (log or results or _of_training(about)):
        reason = f" ({notes[0]})" if notes else ""
        raise DataError(
            f"{folder}: holds no training run: no {RUN} of one, and neither {LOG} nor {STATE} nor {RESULTS[0]} has "
            f"figures{reason}; name the output_dir of a run"
        )
    answers = _tried(lambda: _read_answers(folder / ANSWERS), [], notes)
    return RunRecord(folder, about, log, answers, results, total, newest_checkpoint(folder), tuple(notes))


def is_page(file: Path) -> bool:
    """Return whether the file is the page of a run."""
    return file.is_file() and PAGE_MARK.encode() in file.read_bytes()[:2000]


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the complete checkpoint with the highest step, None where there is none."""
    found = [path for path in _checkpoints(folder) if (path / MARK).is_file()]
    return found[-1] if found else None


def seconds_of(written: object) -> float | None:
    """Return the seconds of ``1 day, 2:03:04``, None where it is something else."""
    found = re.fullmatch(r"(?:(\d+) days?, )?(\d+):(\d\d):(\d\d)(?:\.\d+)?", str(written))
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((24 * days + hours) * 60 + minutes) * 60 + seconds)


def _of_training(about: Mapping[str, Any]) -> bool:
    """Return whether a ``run.json`` is that of a training: it says how the run stands, and has settings."""
    return isinstance(about.get("status"), str) and isinstance(about.get("config"), Mapping)


def _checkpoints(folder: Path) -> list[Path]:
    named = [(found, path) for path in folder.iterdir() if (found := _CHECKPOINT.fullmatch(path.name))]
    return [path for _, path in sorted((int(found[1]), path) for found, path in named if path.is_dir())]


def _tried(read: Callable[[], Any], otherwise: Any, notes: list[str]) -> Any:
    """Return what ``read`` does; where a file is broken, ``otherwise``, with a note."""
    try:
        return read()
    except DataError as error:
        notes.append(str(error))
        return otherwise


def _object(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    content = read_json(file)
    if not isinstance(content, dict):
        raise DataError(f"{file}: holds no JSON object; write or download it again")
    return content


def _lines(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of JSON lines, without a torn last one."""
    if not file.is_file():
        return []
    text = read_text(file)
    found = []
    for number, line in enumerate(text[: text.rfind("\n") + 1].split("\n")[:-1], 1):  # splitlines() cuts at U+2028
        try:
            content = json.loads(line)
        except ValueError:
            raise DataError(f"{file}, line {number}: is not JSON; remove the line, or make the file again") from None
        if not isinstance(content, dict):
            raise DataError(f"{file}, line {number}: is no JSON object; remove the line, or make the file again")
        found.append(content)
    return found


def _read_log(file: Path) -> tuple[list[LogLine], int]:
    lines = _lines(file)
    totals = [line["total_steps"] for line in lines if isinstance(line.get("total_steps"), int)]
    return _log_lines(file, lines, "current_steps"), totals[-1] if totals else 0


def _newest_state(folder: Path) -> Path:
    """Return the file of the Trainer's state: the run's own, else that of its newest checkpoint."""
    files = [folder / STATE, *(path / STATE for path in reversed(_checkpoints(folder)))]
    return next((file for file in files if file.is_file()), files[0])


def _read_state(file: Path) -> tuple[list[LogLine], int]:
    content = _object(file)
    history = content.get("log_history") or []
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        raise DataError(f"{file}: 'log_history' is no list of objects; write or download it again")
    lines = [entry for entry in history if "train_runtime" not in entry]
    total = content.get("max_steps")
    return _log_lines(file, lines, "step"), total if isinstance(total, int) else 0


def _log_lines(file: Path, lines: Sequence[Mapping[str, Any]], step_key: str) -> list[LogLine]:
    found = []
    for number, line in enumerate(lines, 1):
        step, epoch = _step(file, number, line, step_key), line.get("epoch")
        numbers = {name: value for name, value in line.items() if _is_number(value) and name not in _NOT_FIGURES}
        figures = {"lr" if name == "learning_rate" else name: value for name, value in _finite(numbers).items()}
        broken = tuple(name for name, value in numbers.items() if not math.isfinite(value))
        passed = float(epoch) if _is_number(epoch) else None
        found.append(LogLine(step, figures, passed, seconds_of(line.get("elapsed_time")), broken))
    return found


def _step(file: Path, number: int, line: Mapping[str, Any], key: str) -> int:
    """Return the step that a line names; ``DataError`` where it is none."""
    step = line.get(key)
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        raise DataError(f"{file}, line {number}: '{key}' must be a step, not {step!r}")
    return step


def _read_answers(file: Path) -> list[SaidAnswer]:
    names = ("task", "row", "question", "truth", "answer")
    found = []
    for number, line in enumerate(_lines(file), 1):
        if missing := [name for name in ("step", *names) if name not in line]:
            raise DataError(f"{file}, line {number}: has no '{missing[0]}'; it is no file of answers of a training run")
        found.append(SaidAnswer(_step(file, number, line, "step"), *(str(line[name]) for name in names)))
    return found


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if _is_number(value) and math.isfinite(value)}


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
