"""A page a scene: its images, questions and answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.benchmarks.judging import Judged
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.files.whole import write_text
from gpt4scene.metrics.scores import Report, breakdown
from gpt4scene.report.images import Listed, copy_scene, missing_reasons, own_videos
from gpt4scene.report.judging import tally
from gpt4scene.report.plan import RoomPlan
from gpt4scene.report.rendering import render


@dataclass(frozen=True)
class ScenePage:
    """A scene's page: its file under the report's folder, its answers by task, and its main figures by task."""

    scene: str
    file: str
    tasks: Mapping[str, Sequence[Judged]]
    figures: Mapping[str, float]


def write_scenes(
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
    for place, page in enumerate(pages):
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


def scene_pages(scenes: Mapping[str, Mapping[str, list[Judged]]], reports: Mapping[str, Report]) -> list[ScenePage]:
    """Return the page of every scene, in the order of ``scenes``."""
    names = scene_files(scenes)
    figures = {task: breakdown(found.rows, "scene") for task, found in reports.items()}
    pages = []
    for scene, tasks in scenes.items():
        values = {task: figures[task].get(scene, {}).get(BENCHMARKS[task].main_metric) for task in tasks}
        pages.append(ScenePage(scene, names[scene], tasks, {task: v for task, v in values.items() if v is not None}))
    return pages
