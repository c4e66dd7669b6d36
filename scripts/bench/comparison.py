"""What the benchmarks of this folder share: one line for each size of the work, the report, its table and its file."""

from __future__ import annotations

import os
import platform
import statistics
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gpt4scene.files.whole import write_json


def line_of(questions: int, usual_s: list[float], ours_s: list[float], equal: bool, digits: int = 3) -> dict[str, Any]:
    """Return one line of the report: median seconds of both sides, their ratio, and the larger relative spread."""
    usual, ours = statistics.median(usual_s), statistics.median(ours_s)
    return {
        "questions": questions,
        "usual_s": round(usual, digits),
        "ours_s": round(ours, digits),
        "ratio": round(usual / ours, 1),
        "spread": round(max((max(side) - min(side)) / statistics.median(side) for side in (usual_s, ours_s)), 3),
        "equal": equal,
    }


def finish(
    bench: str,
    where: dict[str, str],
    packages: tuple[str, ...],
    sizes: dict[str, Any],
    lines: list[dict[str, Any]],
    path: Path | None,
) -> int:
    """Print the lines as a table and write the report to ``path`` if given; 1 where the two sides disagree.

    ``where`` is what to say about the machine beside its kind and cores; ``packages`` are those whose versions count.
    """
    print(f"{'work':10}{'questions':>10}{'usual s':>12}{'ours s':>12}{'ratio':>10}{'spread':>8}  equal")
    for line in lines:
        figures = f"{line['usual_s']:12.3f}{line['ours_s']:12.4f}{line['ratio']:10.1f}{line['spread']:8.2f}"
        print(f"{line.get('work', bench):10}{line['questions']:10d}{figures}  {line['equal']}")
    report = {
        "bench": bench,
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count(), **where},
        "versions": {name: version(name) for name in packages},
        "sizes": sizes,
        "results": lines,
    }
    if path:
        write_json(path, report, indent=2)
    return 0 if all(line["equal"] for line in lines) else 1
