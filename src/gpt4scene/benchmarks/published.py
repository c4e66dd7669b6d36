"""Published figures beside ours: read from ``published.yaml``, each with its paper and table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import yaml

from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.metrics.scores import Report

_LEAST_WIDTH = 130
_SCANNET = re.compile(r"scene\d{4}_\d{2}")


@dataclass(frozen=True)
class Published:
    """Figures (times 100) of a model on one split of one task. ``em`` is the variant of exact match they use."""

    model: str
    task: str
    split: str
    arxiv: str
    table: str
    em: str
    figures: Mapping[str, float]


def published_figures() -> list[Published]:
    """Return all figures of ``published.yaml`` in its order."""
    content = yaml.safe_load(
        resources.files("gpt4scene.benchmarks").joinpath("published.yaml").read_text(encoding="utf-8")
    )
    found = []
    for entry in content["entries"]:
        source = content["sources"][entry.pop("source")]
        found.append(Published(**entry, **source))
    return found


def split_of(report: Report) -> str | None:
    """Return the split whose questions ``report`` answers, ``None`` where published figures are of other questions.

    Only scenes of ScanNet have published figures.
    """
    if not report.rows.scenes or not all(_SCANNET.fullmatch(scene) for scene in report.rows.scenes):
        return None
    return BENCHMARKS[report.task].published_split(report)


def beside(report: Report) -> list[Published]:
    """Return the published figures on the split that ``report`` answers."""
    split = split_of(report)
    return [entry for entry in published_figures() if (entry.task, entry.split) == (report.task, split)]


def print_beside(report: Report, *, stderr: bool = False) -> None:
    """Print ``report`` and the published figures on the same split as one table; nothing where there are none."""
    from rich.console import Console
    from rich.table import Table

    entries = beside(report)
    if not entries:
        return
    metrics = [name for name in report.scores if any(name in entry.figures for entry in entries)]
    table = Table(title=f"{report.task} beside published figures", title_justify="left", title_style="bold")
    for name in ("model", *metrics, "split", "EM", "source"):
        table.add_column(name, justify="right" if name in metrics else "left")
    ours = [f"{100 * report.scores[name]:.2f}" for name in metrics]
    table.add_row("these answers", *ours, entries[0].split, "exact", report.summary)
    for entry in entries:
        figures = [f"{entry.figures[name]:.1f}" if name in entry.figures else "" for name in metrics]
        table.add_row(entry.model, *figures, entry.split, entry.em, f"arXiv:{entry.arxiv}, {entry.table}")
    console = Console(highlight=False, stderr=stderr)
    console.width = max(console.width, _LEAST_WIDTH)
    console.print(table)
