"""The pages about two runs: ``compare.html``, and ``compare/`` where more changed than one page holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.files.whole import write_text
from gpt4scene.metrics.intervals import Difference
from gpt4scene.report.compare import Comparison, Pair, Side, TaskComparison
from gpt4scene.report.rendering import render, signed
from gpt4scene.report.scene_pages import ScenePage

PAGE, FOLDER = "compare.html", "compare"
FIRST, MORE = 25, 400
"""Questions of a kind on the first page, and on each of the further ones."""
LISTED = 20
"""Questions of one run only that are named."""
CHANGES = {"worse": "got worse", "better": "got better", "reworded": "other words, the same verdict"}


@dataclass(frozen=True)
class ChangePage:
    """A page of questions with one change: its place under the report's folder, and the pairs that it holds.

    ``first`` is the number of its first question, counted from 1, of ``count``.
    """

    file: str
    task: str
    change: str
    pairs: Sequence[Pair]
    first: int
    count: int


def write_comparison(
    out: Path, found: Comparison, benchmarks: Mapping[str, Benchmark], pages: Sequence[ScenePage]
) -> str:
    """Write the pages about two runs under ``out``; return the place of the first one there.

    ``pages`` are the scenes' pages of this run, to which questions lead.
    """
    files = {page.scene: page.file for page in pages}
    names = _names(found)
    more = {(one.task, change): _pages(one, change) for one in found.tasks for change in CHANGES}
    shared = {"names": names, "files": files, "labels": _Labels(found.this), "changes": CHANGES}
    for chain in more.values():
        for at, page in enumerate(chain):
            around = (chain[at - 1] if at else None, chain[at + 1] if at + 1 < len(chain) else None)
            write_text(out / page.file, render("changes.html", page=page, around=around, **shared))
    text = render(
        PAGE,
        found=found,
        more={key: chain[0].file for key, chain in more.items() if chain},
        counted=benchmarks,
        first=FIRST,
        listed=LISTED,
        interval=interval,
        sure=sure,
        **shared,
    )
    write_text(out / PAGE, text)
    return PAGE


def _pages(found: TaskComparison, change: str) -> list[ChangePage]:
    """Return the further pages of a change; none where the first page holds all."""
    pairs = found.changed(change)  # type: ignore[arg-type]
    if len(pairs) <= FIRST:
        return []
    starts = range(0, len(pairs), MORE)
    stem = f"{FOLDER}/{found.task}-{change}"
    return [
        ChangePage(f"{stem}-{at + 1}.html", found.task, change, pairs[start : start + MORE], start + 1, len(pairs))
        for at, start in enumerate(starts)
    ]


def _names(found: Comparison) -> dict[str, str]:
    """Return what the runs are called on the pages: by their folders, or by their part where those are alike."""
    other, this = found.other.name, found.this.name
    return {"other": other, "this": this} if other != this else {"other": f"{other} (other)", "this": f"{this} (this)"}


def interval(gain: Difference) -> str:
    """Return the interval of a difference times 100; empty where there is none."""
    low, high = gain.interval
    return "" if math.isnan(low) else f"{signed(low)} to {signed(high)}"


def sure(gain: Difference) -> bool:
    """Return whether the interval of a difference leaves 0 out."""
    low, high = gain.interval
    return not math.isnan(low) and (low > 0 or high < 0)


class _Labels:
    """The labels of marked objects, each scene's read once."""

    def __init__(self, run: Side) -> None:
        self._run = run
        self._known: dict[tuple[str, str], dict[int, str]] = {}

    def __call__(self, pair: Pair) -> dict[int, str]:
        """Return the labels by number of the scene of ``pair``; none where its answer is about no box."""
        line = pair.this
        if line.judged.pointed is None:
            return {}
        key = line.task, line.scene
        if key not in self._known:
            self._known[key] = self._run.reports[line.task].annotation.labels(line.scene)
        return self._known[key]
