"""What scoring leaves behind: tables on standard output, JSON files, the comparison of two runs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gpt4scene.benchmarks.published import print_beside
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.row_details import row_details
from gpt4scene.benchmarks.signature import check_comparable
from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json, write_json
from gpt4scene.metrics.intervals import Difference, differences, intervals
from gpt4scene.metrics.scores import Report, breakdown

if TYPE_CHECKING:
    from rich.console import Console

COUNTS = (
    *("answers", "questions", "missing questions", "questions without a reference"),
    *("objects", "objects without an answer"),
)
"""Counts that stand beside the metrics in JSON, where a report has them."""

RUNS = ("first", "second")
"""What the two runs of a comparison are called."""

NOTHING: Mapping[str, int] = MappingProxyType({})


def print_reports(reports: Mapping[str, Report], absent: Mapping[str, int] = NOTHING, *, stderr: bool = False) -> None:
    """Print a table a task (values times 100, as papers do), its counts and notes underneath, on standard output.

    Its title says of how many questions. Beside each metric stands its 95 % interval over scenes, where it has one.
    ``absent`` are tasks without answers and the number of their questions.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True, stderr=stderr)
    for task, report in reports.items():
        bounds = intervals(report.rows)
        console.print(f"{task}: {report.summary}", style="bold", markup=False)
        table = Table()
        for name in ("metric", "x 100", "95 % over scenes"):
            table.add_column(name, justify="left" if name == "metric" else "right", overflow="fold")
        for metric, value in report.scores.items():
            table.add_row(metric, f"{100 * value:.2f}", _range(bounds.get(metric)))
        console.print(table)
        console.print(", ".join(f"{name}: {count}" for name, count in report.counts.items()), markup=False)
        for warning in report.warnings:
            console.print(f"warning: {warning}", markup=False)
        for note in report.notes:
            console.print(f"note: {note}", markup=False)
        _print_signature(console, report)
        print_beside(report, stderr=stderr)
        console.print()
    _print_absent(console, absent)


def _print_signature(console: Console, report: Report, run: str = "") -> None:
    if report.signature:
        console.print(f"signature: {run}{report.signature}", markup=False)


def _print_absent(console: Console, absent: Mapping[str, int], run: str = "") -> None:
    for task, questions in absent.items():
        console.print(f"warning: {run}{task}: none of {questions:,} questions has an answer", markup=False)


def compare(first: Mapping[str, Report], second: Mapping[str, Report]) -> dict[str, dict[str, Difference]]:
    """Return the paired differences (second minus first) of every task that both runs answered.

    Raises ``DataError`` where there is no such task, and where the runs are counted by other rules.
    """
    if not first.keys() & second.keys():
        raise DataError(f"the two runs answer no task in common ({', '.join(first)} and {', '.join(second)})")
    for task in first:
        if task in second:
            check_comparable(first[task], second[task])
    return {task: differences(first[task].rows, second[task].rows) for task in first if task in second}


def print_comparison(
    found: Mapping[str, Mapping[str, Difference]],
    runs: Sequence[Mapping[str, Report]] = (),
    absent: Sequence[Mapping[str, int]] = (),
    *,
    stderr: bool = False,
) -> None:
    """Print a table a task: both means over the rows that both runs answered, their difference, its interval.

    ``runs`` are the reports compared, which say underneath of how many questions they are; ``absent`` as for
    ``print_reports``, of each run.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True, stderr=stderr)
    for task, metrics in found.items():
        common = max((gain.rows for gain in metrics.values()), default=0)
        console.print(f"{task}: {common:,} rows that both runs have", style="bold", markup=False)
        table = Table()
        for name in ("metric", "first", "second", "difference", "95 % over scenes", "rows"):
            table.add_column(name, justify="left" if name == "metric" else "right", overflow="fold")
        for metric, gain in metrics.items():
            values = (f"{100 * value:.2f}" for value in (gain.first, gain.second))
            table.add_row(metric, *values, f"{100 * gain.difference:+.2f}", _range(gain.interval), str(gain.rows))
        console.print(table)
        for name, run in zip(RUNS, runs, strict=bool(runs)):
            console.print(f"{name}: {run[task].summary}", markup=False)
            for warning in run[task].warnings:
                console.print(f"warning: {name}: {warning}", markup=False)
        for warning in check_comparable(*(run[task] for run in runs)) if runs else ():
            console.print(f"warning: {warning}", markup=False)
        notes = [(name, note) for name, run in zip(RUNS, runs, strict=bool(runs)) for note in run[task].notes]
        for name, note in notes:
            both = {(run, note) for run in RUNS} <= set(notes)
            if not both:
                console.print(f"note: {name}: {note}", markup=False)
            elif name == RUNS[0]:
                console.print(f"note: {note}", markup=False)
        for name, run in zip(RUNS, runs, strict=bool(runs)):
            _print_signature(console, run[task], f"{name}: ")
    for name, run, missing in zip(RUNS, runs, absent, strict=bool(runs)):
        _print_absent(console, missing, f"{name}: ")
        for task in run.keys() - found.keys():
            console.print(f"warning: {task} is answered in the {name} run only and not compared", markup=False)


def write_comparison(
    found: Mapping[str, Mapping[str, Difference]], path: str | Path, runs: Sequence[Mapping[str, Report]] = ()
) -> None:
    """Write ``comparison_content`` to ``path``, or to standard output where that is ``-``."""
    _write(path, comparison_content(found, runs))


def comparison_content(
    found: Mapping[str, Mapping[str, Difference]], runs: Sequence[Mapping[str, Report]] = ()
) -> dict[str, Any]:
    """Return ``{task: {metric: {first, second, difference, interval, rows}}}``, values 0 to 1, as JSON holds it.

    An interval is ``null`` where there is none. Beside the metrics stand the counts and signatures of ``write_scores``,
    those that the ``runs`` have: ``{first, second}``. A task that one run only answers has its counts and no metric.
    """
    content: dict[str, dict[str, Any]] = {}
    for task in dict.fromkeys(task for run in runs for task in run) or found:
        metrics = {name: asdict(gain) | {"interval": _bounds(gain)} for name, gain in found.get(task, {}).items()}
        counts = [_counts(run[task]) if task in run else {"answers": 0} for run in runs]
        names = dict.fromkeys(name for one in counts for name in one)
        both = {name: {run: one.get(name) for run, one in zip(RUNS, counts, strict=True)} for name in names}
        signed = {run: one[task].signature for run, one in zip(RUNS, runs, strict=bool(runs)) if task in one}
        content[task] = metrics | both | ({"signature": signed} if any(signed.values()) else {})
    return _plain(content)


def _bounds(gain: Difference) -> list[float] | None:
    return None if math.isnan(gain.interval[0]) else list(gain.interval)


def _counts(report: Report) -> dict[str, int]:
    """Return the counts that stand beside the metrics in JSON."""
    counts = {name: report.counts[name] for name in COUNTS if name in report.counts}
    return counts | {"unreadable answers": report.unreadable}


def write_scores(reports: Mapping[str, Report], path: str | Path, absent: Mapping[str, int] = NOTHING) -> None:
    """Write ``scores_content`` to ``path``, or to standard output where that is ``-``; a file appears whole."""
    _write(path, scores_content(reports, absent))


def scores_content(reports: Mapping[str, Report], absent: Mapping[str, int] = NOTHING) -> dict[str, Any]:
    """Return ``{task: {metric: value}}``, values 0 to 1, as JSON holds it.

    Beside the metrics stand ``answers``, ``unreadable answers``, what else of ``COUNTS`` the report has, and, a text,
    its ``signature``. A task in ``absent`` has its counts and no metric.
    """
    content = {}
    for task, report in reports.items():
        signed = {"signature": report.signature} if report.signature else {}
        content[task] = report.scores | _counts(report) | signed
    for task, questions in absent.items():
        content[task] = {"answers": 0, "questions": questions, "missing questions": questions}
    return _plain(content)


def holds_scores(path: Path) -> bool:
    """Return whether the file is empty or of the form that this module writes, ``{task: …}``."""
    try:
        content = read_json(path) if path.stat().st_size else {}
    except DataError:
        return False
    return isinstance(content, dict) and content.keys() <= set(BENCHMARKS)


def _write(path: str | Path, content: object) -> None:
    plain = _plain(content)
    if str(path) == "-":
        print(json.dumps(plain, indent=1, allow_nan=False))
    else:
        write_json(path, plain)


def write_details(reports: Mapping[str, Report], path: str | Path) -> None:
    """Write all that is known to ``path``: per task scores, 95 % intervals, counts, notes, breakdowns, and every row.

    Beside them stand rules, signature, and the ``public`` scorer's own figures where they have other names. A figure
    that there is none of is ``null``. Standard output where ``path`` is ``-``.
    """
    content = {}
    for task, report in reports.items():
        bounds = {m: list(b) for m, b in intervals(report.rows).items() if not math.isnan(b[0])}
        parts = {by: breakdown(report.rows, by) for by in (*report.rows.groups, "scene")}
        content[task] = {"scores": report.scores, "intervals": bounds, "counts": report.counts}
        content[task] |= {"rules": report.rules, "signature": report.signature, "public": report.public}
        content[task] |= {"warnings": list(report.warnings), "notes": list(report.notes), "by": parts}
        content[task] |= {"rows": row_details(report, BENCHMARKS[task])}
    _write(path, content)


def _plain(value: Any) -> Any:
    """Return ``value`` with ``None`` for numbers that JSON can't hold."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _range(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None or math.isnan(bounds[0]) else f"{100 * bounds[0]:.2f} to {100 * bounds[1]:.2f}"
