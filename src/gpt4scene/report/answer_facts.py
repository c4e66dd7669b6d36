"""What the files of predictions say about the run that wrote them: settings, dates, and answers that were cut off."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gpt4scene.files.journal import read_journal
from gpt4scene.files.predictions import answer_files
from gpt4scene.metrics.scores import Report

LONGEST = "length"
"""How a journal says that an answer was cut at the longest length."""


@dataclass(frozen=True)
class TaskRun:
    """The run behind the answers of one task.

    ``settings`` are those of its journal, ``None`` where no journal says them. ``written`` is when the newest file of
    answers was changed. ``journal`` says whether inference can go on there. ``cut_off`` are the rows of questions whose
    answers were cut at the longest length. ``model`` is the name of a local model, empty where no journal says it.
    """

    settings: Mapping[str, Any] | None
    written: datetime
    journal: bool
    cut_off: frozenset[int] = frozenset()
    model: str = ""


def read_run(predictions: Path, task: str) -> TaskRun:
    """Return what the files of ``task`` say; the answers in them must have been read before without an error."""
    form, files = next(iter(answer_files(predictions, task).items()))
    written = datetime.fromtimestamp(max(path.stat().st_mtime for path in files), timezone.utc)
    if form not in ("journal", "journal file"):
        return TaskRun(None, written, False)
    contents = [read_journal(path) for path in files]
    settings = next((content.settings for content in contents if content.settings is not None), None)
    cut_off = frozenset(
        row["index"]
        for content in contents
        for _, row in content.rows
        if row.get("finish_reason") == LONGEST and type(row.get("index")) is int
    )
    model = next((content.model for content in contents if content.model), "")
    return TaskRun(settings, written, settings is not None, cut_off, model)


@dataclass(frozen=True)
class Gap:
    """What is incomplete about one task.

    ``missing`` counts questions without an answer, ``None`` where nobody knows; ``cut_off`` counts answers. ``says``
    are sentences about both, and the warnings of reading and scoring.
    """

    task: str
    missing: int | None
    cut_off: int
    says: tuple[str, ...]


def gaps(reports: Mapping[str, Report], runs: Mapping[str, TaskRun], absent: Mapping[str, int]) -> list[Gap]:
    """Return what is incomplete, one entry a task; ``absent`` counts the questions of tasks without any answer."""
    found = []
    for task, report in reports.items():
        cut_off = len(runs[task].cut_off)
        if report.warnings or cut_off:
            found.append(Gap(task, report.counts.get("missing questions"), cut_off, report.warnings))
    none = [Gap(task, count, 0, (f"none of {count:,} questions has an answer",)) for task, count in absent.items()]
    return [*found, *none]


def go_on(predictions: Path, annotation_dir: Path | None, gaps: Iterable[Gap], runs: Mapping[str, TaskRun]) -> str:
    """Return the command that asks what has no answer; empty where nothing is missing or inference can't go on there.

    Only what the files say is in it: MODEL stands for the model, and further flags must be those of the run.
    """
    tasks = [gap.task for gap in gaps if gap.missing and (gap.task not in runs or runs[gap.task].journal)]
    if not tasks or annotation_dir is None or not predictions.is_dir() or not any(run.journal for run in runs.values()):
        return ""
    words = ["gpt4scene", "infer", "--model", "MODEL", "--annotation_dir", str(annotation_dir)]
    words += ["--output_dir", str(predictions), "--tasks", ",".join(tasks)]
    return shlex.join(words)


@dataclass(frozen=True)
class RunFacts:
    """What stands on top of the report about all tasks together.

    ``shared`` are the settings that all journals have in common, ``own`` those that differ, by task. ``model`` is what
    the journals say about it, empty where they say nothing. ``silent`` are the tasks whose files say no settings.
    """

    model: str
    written: str
    shared: Mapping[str, str]
    own: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    silent: tuple[str, ...] = ()


def run_facts(runs: Mapping[str, TaskRun]) -> RunFacts:
    """Return the facts of ``runs``, task by task."""
    said = {task: {k: _shown(v) for k, v in run.settings.items()} for task, run in runs.items() if run.settings}
    models = list(dict.fromkeys(_model(one, runs[task].model) for task, one in said.items() if "model" in one))
    names = list(dict.fromkeys(name for one in said.values() for name in one if name != "model"))
    shared, own = {}, {task: {} for task in said}
    for name in names:
        values = [one.get(name) for one in said.values()]
        if values[0] is not None and all(value == values[0] for value in values):
            shared[name] = values[0]
        else:
            for task, one in said.items():
                own[task] |= {name: one[name]} if name in one else {}
    days = sorted(run.written for run in runs.values())
    written = (
        _minute(days[0]) if _minute(days[0]) == _minute(days[-1]) else f"{_minute(days[0])} to {_minute(days[-1])}"
    )
    silent = tuple(task for task in runs if task not in said)
    return RunFacts(", ".join(models), written, shared, {task: one for task, one in own.items() if one}, silent)


def _model(settings: Mapping[str, str], name: str) -> str:
    """Return what a journal says about the model: a server's name for it, or a local one's ``name`` and fingerprint."""
    if settings.get("engine") != "local":
        return settings["model"]
    said = f"checkpoint {settings['model']} (fingerprint of its files)"
    return f"{name}, {said}" if name else said


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)
