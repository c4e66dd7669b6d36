"""Answers as HTML pages: score tables, and a page a scene with its images, questions and answers.

``gpt4scene report --predictions DIR --annotation_dir DIR --out DIR``. The pages need no network and no script.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt4scene import talk
from gpt4scene.benchmarks.answers import unanswered_tasks
from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.benchmarks.chosen import rule_words, under_rules
from gpt4scene.benchmarks.judging import Judged
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.score import score_folder
from gpt4scene.errors import DataError
from gpt4scene.files.whole import whole_folder, write_text
from gpt4scene.metrics.intervals import intervals
from gpt4scene.metrics.scores import Report, breakdown
from gpt4scene.progress import track
from gpt4scene.report.images import Listed, copy_scene, missing_reasons, own_videos
from gpt4scene.report.judging import by_scene, judge_all, tally
from gpt4scene.report.plan import RoomPlan
from gpt4scene.report.rendering import render
from gpt4scene.settings.arguments import Arguments, key

INDEX = "index.html"
MARK = '<meta name="generator" content="gpt4scene report">'
"""Stands in the first page; a folder whose first page lacks it is never replaced."""
_OURS = frozenset({INDEX, "scenes", "images", "pictures"})


@dataclass(frozen=True)
class Metric:
    """A line of a score table; ``interval`` is empty where there is none."""

    name: str
    value: float
    interval: str
    main: bool


@dataclass(frozen=True)
class ScenePage:
    """A scene's page: its file under the report's folder, its answers by task, and its main figures by task."""

    scene: str
    file: str
    tasks: Mapping[str, Sequence[Judged]]
    figures: Mapping[str, float]


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
    pages = _scene_pages(by_scene(judged), reports)
    with whole_folder(out, replace=True) as partial:
        media = Path(media_dir) if media_dir else None
        missing = _write_scenes(pages, benchmarks, reports, folder, media, partial)
        tables = {task: _table(found, BENCHMARKS[task].main_metric) for task, found in reports.items()}
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


def _write_scenes(
    pages: Sequence[ScenePage],
    benchmarks: Mapping[str, Benchmark],
    reports: Mapping[str, Report],
    folder: Path | None,
    media_dir: Path | None,
    out: Path,
) -> int:
    """Write images and page of every scene; return the number of scenes that lack images."""
    lists = {name: Listed.read(folder, name) for name in {one.image_list for one in benchmarks.values()}}
    videos = own_videos(folder, list(benchmarks))
    lacking = 0
    for place, page in enumerate(track(pages, "scenes")):
        listed = _list_of(page, [lists[benchmarks[task].image_list] for task in page.tasks], videos)
        images = copy_scene(listed, page.scene, media_dir, out, f"images/{Path(page.file).stem}")
        missing = missing_reasons(images)
        lacking += bool(missing)
        pointing = [task for task, items in page.tasks.items() if any(item.pointed for item in items)]
        labels = [reports[task].annotation.labels(page.scene) for task in pointing]
        text = render(
            "scene.html",
            page=page,
            around=(pages[place - 1] if place else None, pages[place + 1] if place + 1 < len(pages) else None),
            images=images,
            missing=missing,
            counts={task: tally(items) for task, items in page.tasks.items()},
            labels=next(filter(None, labels), {}),
            counted=benchmarks,
            rooms={task: RoomPlan.of(reports[task].annotation, page.scene) for task in pointing},
        )
        write_text(out / page.file, text)
    return lacking


def _list_of(page: ScenePage, lists: Sequence[Listed], videos: Sequence[Listed]) -> Listed:
    """Return what names the images of the page's scene: its questions, else the lists, the first where none has it."""
    return next((listed for listed in (*videos, *lists) if page.scene in listed.scenes), lists[0])


def scene_files(scenes: Iterable[str]) -> dict[str, str]:
    """Return ``scene -> file`` for page names that no file system refuses or takes for one another."""
    found: dict[str, str] = {}
    for scene in scenes:
        stem = re.sub(r"[^A-Za-z0-9_-]+", "_", scene)[:80]
        taken = {file.lower() for file in found.values()}
        names = (f"scenes/{stem}{f'_{number}' if number else ''}.html" for number in range(len(found) + 1))
        found[scene] = next(name for name in names if name.lower() not in taken)
    return found


def _scene_pages(scenes: Mapping[str, Mapping[str, list[Judged]]], reports: Mapping[str, Report]) -> list[ScenePage]:
    names = scene_files(scenes)
    figures = {task: breakdown(found.rows, "scene") for task, found in reports.items()}
    pages = []
    for scene, tasks in scenes.items():
        values = {task: figures[task].get(scene, {}).get(BENCHMARKS[task].main_metric) for task in tasks}
        pages.append(ScenePage(scene, names[scene], tasks, {task: v for task, v in values.items() if v is not None}))
    return pages


def _table(found: Report, main: str) -> list[Metric]:
    bounds = intervals(found.rows)
    return [Metric(name, value, _range(bounds.get(name)), name == main) for name, value in found.scores.items()]


def _range(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None or math.isnan(bounds[0]) else f"{100 * bounds[0]:.1f} – {100 * bounds[1]:.1f}"


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


@dataclass(frozen=True)
class ReportArguments(Arguments):
    """What to show; every field is a flag of ``gpt4scene report``."""

    predictions: str = key("folder of answers in any form, or one file of them")
    out: str = key("folder for the pages; an earlier report there is replaced")
    annotation_dir: str | None = key("boxes, question files and the list of images", None)
    media_dir: str | None = key("folder that holds the images, where the list does not lead to them", None)
    rules: str = key("names of rules to count by, as for score", "")
    references: str = key("official files in place of question files, as for score", "")
    boxes: str | None = key("true boxes, as for score", None)

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        named = {name: getattr(self, name) for name in ("predictions", "annotation_dir", "media_dir")}
        wrong = {name: folder for name, folder in named.items() if folder and not Path(folder).is_dir()}
        if Path(self.predictions).is_file():
            del wrong["predictions"]
        problems = [*super().problems(), *(_no_folder(name, Path(folder)) for name, folder in wrong.items())]
        if self.annotation_dir is None and not self.references:
            problems.append("give --annotation_dir DIR with question files, or --references FILES, or both")
        if self.boxes is not None and not Path(self.boxes).is_file():
            problems.append(f"--boxes {self.boxes}: there is no such file")
        try:
            rule_words(self.rules)
        except ValueError as error:
            problems.append(str(error))
        return problems


def _no_folder(name: str, path: Path) -> str:
    if path.exists():
        return f"{path}: is a file; --{name} names a folder, such as {path.parent}"
    return f"{path}: there is no such folder; --{name} names one"


def main(arguments: ReportArguments) -> int:
    """Write the pages as the arguments say; return 0 when done."""
    page = report(
        arguments.predictions,
        arguments.annotation_dir,
        arguments.out,
        arguments.media_dir,
        rules=arguments.rules,
        references=arguments.references,
        boxes=arguments.boxes,
    )
    talk.result(str(page), page=str(page), pages=sum(1 for _ in page.parent.rglob("*.html")))
    return 0
