"""What scoring leaves behind: tables on standard output, JSON files, the comparison of two runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from gpt4scene.benchmarks.published import print_beside
from gpt4scene.errors import DataError
from gpt4scene.files.whole import write_json
from gpt4scene.metrics.intervals import Difference, differences, intervals
from gpt4scene.metrics.scores import Report, breakdown


def print_reports(reports: Mapping[str, Report]) -> None:
    """Print a table a task (values times 100, as papers do), its counts and notes underneath, on standard output.

    Beside each metric stands its 95 % interval over scenes, where it has one.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    for task, report in reports.items():
        several = len(set(report.rows.scenes)) > 1  # one scene says nothing about the spread over scenes
        bounds = intervals(report.rows) if several else {}
        table = Table(title=task, title_justify="left", title_style="bold")
        for name in ("metric", "x 100", "95 % over scenes"):
            table.add_column(name, justify="left" if name == "metric" else "right")
        for metric, value in report.scores.items():
            table.add_row(metric, f"{100 * value:.2f}", _range(bounds.get(metric)))
        console.print(table)
        console.print(", ".join(f"{name}: {count}" for name, count in report.counts.items()), markup=False)
        for note in report.notes:
            console.print(f"note: {note}", markup=False)
        print_beside(report)
        console.print()


def compare(first: Mapping[str, Report], second: Mapping[str, Report]) -> dict[str, dict[str, Difference]]:
    """Return the paired differences (second minus first) of every task that both runs answered.

    Raises ``DataError`` where there is no such task.
    """
    if not first.keys() & second.keys():
        raise DataError(f"the two runs answer no task in common ({', '.join(first)} and {', '.join(second)})")
    return {task: differences(first[task].rows, second[task].rows) for task in first if task in second}


def print_comparison(found: Mapping[str, Mapping[str, Difference]]) -> None:
    """Print a table a task: both means over the rows that both runs answered, their difference, its interval."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    for task, metrics in found.items():
        table = Table(title=task, title_justify="left", title_style="bold")
        for name in ("metric", "first", "second", "difference", "95 % over scenes", "rows"):
            table.add_column(name, justify="left" if name == "metric" else "right")
        for metric, gain in metrics.items():
            values = (f"{100 * value:.2f}" for value in (gain.first, gain.second))
            table.add_row(metric, *values, f"{100 * gain.difference:+.2f}", _range(gain.interval), str(gain.rows))
        console.print(table)


def write_comparison(found: Mapping[str, Mapping[str, Difference]], path: str | Path) -> None:
    """Write ``{task: {metric: {first, second, difference, interval, rows}}}`` to ``path``, values 0 to 1."""
    write_json(path, {task: {name: asdict(gain) for name, gain in metrics.items()} for task, metrics in found.items()})


def write_scores(reports: Mapping[str, Report], path: str | Path) -> None:
    """Write ``{task: {metric: value}}`` (values 0 to 1) to ``path``; the file appears whole or not at all."""
    write_json(path, {task: report.scores for task, report in reports.items()})


def write_details(reports: Mapping[str, Report], path: str | Path) -> None:
    """Write all that is known to ``path``: per task scores, 95 % intervals, counts, notes, and every breakdown."""
    content = {}
    for task, report in reports.items():
        bounds = {m: list(b) for m, b in intervals(report.rows).items() if not math.isnan(b[0])}
        parts = {by: breakdown(report.rows, by) for by in (*report.rows.groups, "scene")}
        content[task] = {"scores": report.scores, "intervals": bounds, "counts": report.counts}
        content[task] |= {"notes": list(report.notes), "by": parts}
    write_json(path, content)


def _range(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None or math.isnan(bounds[0]) else f"{100 * bounds[0]:.2f} to {100 * bounds[1]:.2f}"
