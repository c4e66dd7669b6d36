"""Answers as HTML pages: score tables, and a page a scene with its images, questions and answers.

``gpt4scene report --predictions DIR --annotation_dir DIR --out DIR``. The pages need no network and no script.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gpt4scene.benchmarks.answers import unanswered_tasks
from gpt4scene.benchmarks.chosen import under_rules
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.score import score_folder
from gpt4scene.errors import DataError
from gpt4scene.files.whole import whole_folder, write_text
from gpt4scene.metrics.scores import Report
from gpt4scene.report.arguments import ReportArguments
from gpt4scene.report.judging import by_scene, judge_all
from gpt4scene.report.rendering import render
from gpt4scene.report.run_page import write_run_page
from gpt4scene.report.scene_pages import scene_pages, write_scenes
from gpt4scene.report.score_table import score_table

INDEX = "index.html"
MARK = '<meta name="generator" content="gpt4scene report">'
"""Stands in the first page; a folder whose first page lacks it is never replaced."""
_OURS = frozenset({INDEX, "scenes", "images", "pictures"})


def report(
    predictions: str | Path,
    annotation_dir: str | Path | None,
    out: str | Path,
    media_dir: str | Path | None = None,
    *,
    reports: Mapping[str, Report] | None = None,
    rules: str = "",
    references: str = "",
    boxes: str | Path | None = None,
) -> Path:
    """Write the pages about the answers in ``predictions`` and return the first, ``out/index.html``.

    Images are found as inference finds them (``media_dir`` as well); those that are missing are named on the page.
    ``reports`` are those of ``score_folder``, under the same ``rules``, where the caller has them. ``references`` are
    official files and ``boxes`` the true ones as there. ``out`` appears whole or not at all. Pages of an earlier call
    are replaced; a folder that holds anything else raises ``DataError``, as do missing, broken and contradicting files.
    """
    predictions, out = Path(predictions), Path(out).absolute()
    folder = None if annotation_dir is None else Path(annotation_dir)
    _check_ours(out)
    reports = reports or score_folder(predictions, folder, rules=rules, references=references, boxes=boxes)
    benchmarks = under_rules(reports, rules)
    judged = {
        task: judge_all(benchmarks[task], found.answers, found, found.annotation) for task, found in reports.items()
    }
    pages = scene_pages(by_scene(judged), reports)
    with whole_folder(out, replace=True) as partial:
        media = Path(media_dir) if media_dir else None
        missing = write_scenes(pages, benchmarks, reports, folder, media, partial)
        tables = {task: score_table(found, BENCHMARKS[task].main_metric) for task, found in reports.items()}
        absent = {} if folder is None else unanswered_tasks(folder, list(reports))
        text = render(
            INDEX,
            name=predictions.name,
            reports=reports,
            tables=tables,
            pages=pages,
            missing=missing,
            absent=absent,
            counted=benchmarks,
        )
        write_text(partial / INDEX, text)
    return out / INDEX


def _check_ours(out: Path) -> None:
    if out.is_dir():
        entries = {path.name for path in out.iterdir()}
        index = out / INDEX
        if not entries or (entries <= _OURS and index.is_file() and MARK in index.read_text(errors="replace")[:2000]):
            return
        foreign = sorted(entries - _OURS) or sorted(entries)
        raise DataError(f"{out}: holds '{foreign[0]}', which no report wrote; choose another --out or empty the folder")
    if out.exists():
        raise DataError(f"{out}: is a file; --out names a folder")


def main(arguments: ReportArguments) -> int:
    """Write the pages as the arguments say; return 0 when done."""
    if arguments.run is not None:
        print(write_run_page(arguments.run))
        return 0
    print(
        report(
            arguments.predictions,
            arguments.annotation_dir,
            arguments.out,
            arguments.media_dir,
            rules=arguments.rules,
            references=arguments.references,
            boxes=arguments.boxes,
        )
    )
    return 0
