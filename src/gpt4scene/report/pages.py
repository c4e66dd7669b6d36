"""Answers as HTML pages: score tables, and a page a scene with its images, questions and answers.

``gpt4scene report --predictions DIR --annotation_dir DIR --out DIR``. The pages need no network. The table of all
answers on the first one needs scripts; everything else, the pages of the scenes too, does without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from gpt4scene import __version__, talk
from gpt4scene.benchmarks.answers import unanswered_tasks
from gpt4scene.benchmarks.chosen import under_rules
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.score import score_folders
from gpt4scene.errors import DataError
from gpt4scene.files.whole import whole_folder, write_text
from gpt4scene.metrics.scores import Report
from gpt4scene.report.answer_data import FOLDER, write_data
from gpt4scene.report.answer_facts import gaps, go_on, read_run, run_facts
from gpt4scene.report.answer_rows import AnswerLine, answer_lines
from gpt4scene.report.arguments import ReportArguments
from gpt4scene.report.compare import Side, compare_runs
from gpt4scene.report.compare_pages import FOLDER as COMPARE_FOLDER
from gpt4scene.report.compare_pages import PAGE as COMPARE_PAGE
from gpt4scene.report.compare_pages import write_comparison
from gpt4scene.report.grouping import by_label, by_type
from gpt4scene.report.images import missing_reasons
from gpt4scene.report.judging import by_scene, judge_all
from gpt4scene.report.plots import Plot, accuracy_by_type, iou_histogram, length_histogram
from gpt4scene.report.rendering import render
from gpt4scene.report.run_page import write_run_page
from gpt4scene.report.scene_pages import scene_pages, write_scenes
from gpt4scene.report.scene_records import given_records
from gpt4scene.report.score_table import score_table
from gpt4scene.training.manifest import git_commit

INDEX = "index.html"
MARK = '<meta name="generator" content="gpt4scene report">'
"""Stands in the first page; a folder whose first page lacks it is never replaced."""
_OURS = frozenset({INDEX, "scenes", FOLDER, "images", "pictures", COMPARE_PAGE, COMPARE_FOLDER})


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
    scenes: str | None = None,
    compare: str | Path | None = None,
) -> Path:
    """Write the pages about the answers in ``predictions`` and return the first, ``out/index.html``.

    Images are found as inference finds them (``media_dir`` as well); those that are missing are named on the page.
    ``reports`` are those of ``score_folder``, under the same ``rules``, where the caller has them. ``references`` are
    official files and ``boxes`` the true ones as there. ``scenes`` are prepared scenes, separated by commas,
    whose cameras say where boxes lie in images; without it those are taken in whose folder the images lie.
    ``compare`` is another folder of answers to the same questions, whose comparison is on a page of its own. ``out``
    appears whole or not at all. Pages of an earlier call are replaced; a folder that holds anything else raises
    ``DataError``, as do missing, broken and contradicting files.
    """
    predictions, out = Path(predictions), Path(out).absolute()
    folder = None if annotation_dir is None else Path(annotation_dir)
    _check_ours(out)
    given = given_records(scenes)
    places = [*([] if reports else [predictions]), *([Path(compare)] if compare else [])]
    scored = score_folders({str(p): (p, folder) for p in places}, None, rules, references, "", boxes) if places else {}
    reports = reports or scored[str(predictions)]
    benchmarks = under_rules(reports, rules)
    judged = {task: judge_all(benchmarks[task], one.answers, one, one.annotation) for task, one in reports.items()}
    runs = {task: read_run(predictions, task) for task in reports}
    absent = {} if folder is None else unanswered_tasks(folder, list(reports))
    pages = scene_pages(by_scene(judged), reports)
    lines = answer_lines(judged, reports, benchmarks, runs)
    this = Side(predictions.name, reports, lines, runs)
    other = Side.of(Path(compare), scored[str(Path(compare))], rules) if compare else None
    compared = compare_runs(other, this, benchmarks) if other else None
    with whole_folder(out, replace=True) as partial:
        media = Path(media_dir) if media_dir else None
        images = write_scenes(pages, benchmarks, reports, folder, media, partial, given)
        written = write_data(partial, lines, pages, images)
        text = render(
            INDEX,
            name=predictions.name,
            made=_made(predictions, folder),
            **_run_values(predictions, folder, this, absent),
            reports=reports,
            tables={task: score_table(found, BENCHMARKS[task].main_metric) for task, found in reports.items()},
            pages=pages,
            missing=sum(bool(missing_reasons(shown)) for shown in images.values()),
            counted=benchmarks,
            written=written,
            plots=_plots(lines),
            labels=by_label(lines),
            compare=write_comparison(partial, compared, benchmarks, pages) if compared else "",
        )
        write_text(partial / INDEX, text)
    return out / INDEX


def _run_values(predictions: Path, folder: Path | None, run: Side, absent: Mapping[str, int]) -> dict[str, object]:
    """Return what the first page says of the run: facts, what is incomplete, and the command that goes on."""
    lacking = gaps(run.reports, run.runs, absent)
    going_on = go_on(predictions, folder, lacking, run.runs)
    return {"facts": run_facts(run.runs), "gaps": lacking, "go_on": going_on}


def _made(predictions: Path, annotation_dir: Path | None) -> dict[str, str]:
    """Return of what, when and by what the report is made, as the page shows it."""
    git = git_commit()
    commit = f", commit {git['commit'][:12]}{' with changes' if git['changed'] else ''}" if git else ""
    return {
        "Answers": str(predictions),
        "Annotation": "none" if annotation_dir is None else str(annotation_dir),
        "Report made": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC by gpt4scene {__version__}{commit}",
    }


def _plots(lines: Sequence[AnswerLine]) -> list[Plot]:
    """Return those of the plots that the answers have figures for."""
    titles = {task: benchmark.title for task, benchmark in BENCHMARKS.items()}
    found = (accuracy_by_type(by_type(lines), titles), iou_histogram(lines), length_histogram(lines))
    return [plot for plot in found if plot is not None]


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
        page = write_run_page(arguments.run)
        talk.result(str(page), page=str(page), pages=1)
        return 0
    page = report(
        arguments.predictions,
        arguments.annotation_dir,
        arguments.out,
        arguments.media_dir,
        rules=arguments.rules,
        references=arguments.references,
        boxes=arguments.boxes,
        scenes=arguments.scenes,
        compare=arguments.compare,
    )
    talk.result(str(page), page=str(page), pages=sum(1 for _ in page.parent.rglob("*.html")))
    return 0
