"""Published figures beside ours under the same rules: read from ``published.yaml``, each with its paper and table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import yaml

from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.metrics.scores import Report

OWN, UNKNOWN = "own", "unknown"
"""Rules of papers that are none of ours: those of a public scorer, and those that nobody can know."""

_WHY = {OWN: "rules of their own", UNKNOWN: "unknown rules"}
_LEAST_WIDTH = 130
_SCANNET = re.compile(r"scene\d{4}_\d{2}")


@dataclass(frozen=True)
class Published:
    """Figures (times 100) of a model on one split of one task, and the ``rules`` that they follow.

    ``seen`` says where that was read; ``rules`` may be ``OWN`` or ``UNKNOWN``.
    """

    model: str
    task: str
    split: str
    arxiv: str
    table: str
    rules: str
    seen: str
    figures: Mapping[str, float]


def published_figures() -> list[Published]:
    """Return all figures of ``published.yaml`` in its order."""
    content = yaml.safe_load(
        resources.files("gpt4scene.benchmarks").joinpath("published.yaml").read_text(encoding="utf-8")
    )
    found = []
    for entry in content["entries"]:
        source, scorer = content["sources"][entry.pop("source")], content["rules"][entry["model"]]
        rules = scorer["rules"] if isinstance(scorer["rules"], str) else scorer["rules"][entry["task"]]
        found.append(Published(**entry, **source, rules=rules, seen=scorer["seen"]))
    return found


def split_of(report: Report) -> str | None:
    """Return the split whose questions ``report`` answers, ``None`` where published figures are of other questions.

    Only scenes of ScanNet have published figures.
    """
    if not report.rows.scenes or not all(_SCANNET.fullmatch(scene) for scene in report.rows.scenes):
        return None
    return BENCHMARKS[report.task].published_split(report)


def counted_as(task: str, rules: str) -> str:
    """Return the name of the first rules of ``task`` that give the figures of ``rules``; the default's for none."""
    if rules in _WHY:
        return rules
    return BENCHMARKS[task].under(rules or BENCHMARKS[task].rules).same_as or rules or BENCHMARKS[task].rules


def beside(report: Report) -> list[Published]:
    """Return the published figures on the split that ``report`` answers, under the same rules."""
    return _by_rules(report)[0]


def left_out(report: Report) -> list[Published]:
    """Return the published figures on the same split that other rules count, or rules that nobody knows."""
    return _by_rules(report)[1]


def _by_rules(report: Report) -> tuple[list[Published], list[Published]]:
    """Return the published figures on the split of ``report`` under the same rules, and those under others.

    Of the first, those that hold a metric of the report: with ``--metrics em`` many hold none.
    """
    split, ours = split_of(report), counted_as(report.task, report.rules)
    entries = [entry for entry in published_figures() if (entry.task, entry.split) == (report.task, split)]
    same = [entry for entry in entries if counted_as(entry.task, entry.rules) == ours]
    shown = [entry for entry in same if entry.figures.keys() & report.scores.keys()]
    return shown, [entry for entry in entries if entry not in same]


def left_out_line(entries: Sequence[Published]) -> str:
    """Return the line that says whose figures are left out, why, and the flag that would show them."""
    by_rules: dict[str, list[str]] = {}
    for entry in entries:
        models = by_rules.setdefault(counted_as(entry.task, entry.rules), [])
        models += [entry.model] if entry.model not in models else []
    parts = [
        f"{', '.join(models)} ({_WHY.get(rules) or f'--rules {rules} shows them'})"
        for rules, models in by_rules.items()
    ]
    count = sum(map(len, by_rules.values()))
    said = "1 published model is" if count == 1 else f"{count} published models are"
    return f"{said} left out, since other rules count them or nobody knows which: {'; '.join(parts)}"


def print_beside(report: Report, *, stderr: bool = False) -> None:
    """Print ``report`` and the published figures on the same split under the same rules as one table.

    A line below says whose figures are left out; nothing where there are none.
    """
    from rich.console import Console
    from rich.table import Table

    entries, others = _by_rules(report)
    console = Console(highlight=False, stderr=stderr)
    console.width = max(console.width, _LEAST_WIDTH)
    if entries:
        metrics = [name for name in report.scores if any(name in entry.figures for entry in entries)]
        table = Table(title=f"{report.task} beside published figures", title_justify="left", title_style="bold")
        for name in ("model", *metrics, "split", "rules", "source"):
            table.add_column(name, justify="right" if name in metrics else "left")
        ours = [f"{100 * report.scores[name]:.2f}" for name in metrics]
        rules = report.rules or BENCHMARKS[report.task].rules
        table.add_row("these answers", *ours, entries[0].split, rules, report.summary)
        for entry in entries:
            figures = [f"{entry.figures[name]:.1f}" if name in entry.figures else "" for name in metrics]
            table.add_row(entry.model, *figures, entry.split, entry.rules, f"arXiv:{entry.arxiv}, {entry.table}")
        console.print(table)
    if others:
        console.print(left_out_line(others), markup=False, soft_wrap=True)
