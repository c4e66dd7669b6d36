"""Judged answers counted and grouped, as pages show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from gpt4scene.benchmarks.judged_rows import judge_all
from gpt4scene.benchmarks.judging import Judged

__all__ = ["by_scene", "judge_all", "tally"]


def tally(judged: Sequence[Judged]) -> dict[str, int]:
    """Return how many answers got each verdict that occurs, best first."""
    counts = Counter(item.verdict for item in judged)
    return {verdict: counts[verdict] for verdict in ("right", "partly", "wrong") if counts[verdict]}


def by_scene(judged: Mapping[str, Sequence[Judged]]) -> dict[str, dict[str, list[Judged]]]:
    """Return ``scene -> task -> answers``, scenes by name, answers in their order."""
    scenes: dict[str, dict[str, list[Judged]]] = {}
    for task, items in judged.items():
        for item in items:
            scenes.setdefault(item.row.scene_id, {}).setdefault(task, []).append(item)
    return dict(sorted(scenes.items()))
