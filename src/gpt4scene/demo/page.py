"""The demo's page: what was learned, how it is known, what it does not prove. Its sentences follow from its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.score import score_folders
from gpt4scene.demo.kinds import read_kinds
from gpt4scene.errors import DataError
from gpt4scene.files.run_folder import PAGE, is_page, read_run
from gpt4scene.files.whole import read_json, whole_folder, write_text
from gpt4scene.report.calling import program, written
from gpt4scene.report.curve import Curve
from gpt4scene.report.images import FRAME_SIDE, TOP_SIDE, Listed, PageImage, shrink
from gpt4scene.report.pages import report
from gpt4scene.report.rendering import hundred, render
from gpt4scene.report.run_charts import loss_curve
from gpt4scene.report.scene_pages import scene_files

COLUMNS: Mapping[str, str] = {
    "before": "untrained",
    "after": "trained",
    "commonest": "commonest answer of the task",
    "wording": "commonest answer to the same wording",
    "swapped": "trained, shown another room's images",
    "held_out": "trained, rooms it has never seen",
}
"""Who was asked, as in ``summary.json`` -> what the page calls it."""
CONTROLS = ("commonest", "wording", "swapped")
ANSWERS = {"after": "annotation", "held_out": "annotation_held_out"}
"""Answers that get pages of their own -> folder of their questions."""
GROUPS = {"annotation": "training room", "annotation_held_out": "held out"}
LEVEL = 0.05
"""Two figures that differ by less are called level: 5 of the tables' points."""

Scores = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True)
class Finding:
    """What a comparison of columns says: ``verdict`` right, partly or wrong, a heading, and the figures behind it."""

    verdict: str
    title: str
    text: str


@dataclass(frozen=True)
class Comparison:
    """Tasks by how a column's main figure stands to the best of others: each a text with the two figures."""

    above: tuple[str, ...]
    level: tuple[str, ...]
    below: tuple[str, ...]

    @property
    def total(self) -> int:
        """Tasks that could be compared."""
        return len(self.above) + len(self.level) + len(self.below)

    @property
    def verdict(self) -> str:
        """``right`` where every task is above, ``wrong`` where none is."""
        return "right" if len(self.above) == self.total else "partly" if self.above else "wrong"

    @property
    def share(self) -> str:
        """How many tasks are above, for a sentence."""
        above = len(self.above)
        return f"all {above} tasks" if above == self.total else f"{above} of {self.total} tasks"

    def figures(self) -> str:
        """Return the figures as sentences."""
        parts = (("Above", self.above), ("Level", self.level), ("Below", self.below))
        return " ".join(f"{word}: {', '.join(tasks)}." for word, tasks in parts if tasks)


@dataclass(frozen=True)
class PageScene:
    """A scene on the page: its bird's-eye view, and its answers' page if there is one."""

    scene: str
    group: str
    image: PageImage
    page: str | None


def write_page(out: Path) -> Path:
    """Write ``out/index.html`` with ``out/images`` and ``out/answers`` from what the demo's steps left in ``out``.

    Raises ``DataError`` where ``summary.json`` is missing or broken, or answers can't be shown.
    """
    out = Path(out)
    summary = read_json(out / "summary.json", "demo's summary")
    if not isinstance(summary, dict) or not isinstance(summary.get("scores"), dict):
        raise DataError(f"{out / 'summary.json'}: holds no 'scores'; run the demo again")
    scores = {name: summary["scores"][name] for name in COLUMNS if name in summary["scores"]}
    asked = {name: (out / "predictions" / name, out / questions) for name, questions in ANSWERS.items()}
    asked = {name: folders for name, folders in asked.items() if folders[0].is_dir()}
    signatures = {}
    for name, reports in score_folders(asked).items():
        report(*asked[name], out / "answers" / name, reports=reports)
        signatures[name] = [found.signature for found in reports.values()]
    answers = {name: f"answers/{name}/index.html" for name in asked}
    rooms, example = _images(out)
    tasks = [task for task in BENCHMARKS if any(task in found for found in scores.values())]
    text = render(
        "demo.html",
        columns=COLUMNS,
        scores=scores,
        tasks=tasks,
        tables={task: _metrics(scores, task) for task in tasks},
        most={task: max([1.0, *_main(scores, task).values()]) for task in tasks},
        findings=findings(scores),
        level=hundred(LEVEL),
        answers=answers,
        signatures=signatures,
        kinds=read_kinds(out),
        rooms=rooms,
        example=example,
        curve=_losses(out),
        run_page=f"run/{PAGE}" if is_page(out / "run" / PAGE) else None,
        look=view_command(out),
        ask=chat_command(out, summary.get("settings", {})),
        wall=summary.get("wall_s", {}),
        facts=_facts(summary, rooms),
    )
    write_text(out / "index.html", text)
    return out / "index.html"


def view_command(out: Path) -> str:
    """Return the command that shows the demo's scenes in 3D, as a shell here takes it."""
    return f"{program()} {written('view', out / 'scenes')}"


def chat_command(out: Path, settings: Mapping[str, Any]) -> str:
    """Return the command that opens a page to ask the demo's model.

    Images are as large as it learned them, and the page begins with a wording that it learned: it knows no others.
    """
    wording = ("--task", next(iter(BENCHMARKS)))
    side = ["--image_resolution", str(settings["image_resolution"])] if "image_resolution" in settings else []
    return f"{program()} {written('chat', '--model', out / 'run', '--scenes', out / 'scenes', *side, *wording)}"


def _losses(out: Path) -> Curve | None:
    try:
        return loss_curve(read_run(out / "run").log)
    except DataError:
        return None


def findings(scores: Scores) -> list[Finding]:
    """Return what the columns of ``scores`` say by each task's main figure; a column that is not there says nothing."""
    found = []
    if {"before", "after"} <= scores.keys():
        by = compare(scores, "after", ("before",))
        title = f"Training lifts the figures in {by.share}." if by.above else "Training lifts no figure."
        found.append(Finding(by.verdict, title, by.figures()))
    frequency = tuple(name for name in ("commonest", "wording") if name in scores)
    if frequency and "after" in scores:
        by = compare(scores, "after", frequency)
        title = f"The trained model beats answers by frequency in {by.share}."
        if not by.above:
            title = "The trained model does not beat answers by frequency."
        found.append(Finding(by.verdict, title, f"Against the better of the two. {by.figures()}"))
    if {"after", "swapped"} <= scores.keys():
        found.append(_looking(compare(scores, "after", ("swapped",))))
    if "held_out" in scores and any(name in scores for name in CONTROLS):
        found.append(_held_out(compare(scores, "held_out", tuple(name for name in CONTROLS if name in scores)), scores))
    return found


def _looking(by: Comparison) -> Finding:
    title = f"It reads the images: shown another room's, it loses in {by.share}."
    means = "The questions are the same to the letter, so the answers depend on what is in the images."
    if by.verdict == "partly":
        title = f"It reads the images in {by.share}: there it loses when it is shown another room's."
        means = "Where it does not lose, nothing shows that it looked."
    elif by.verdict == "wrong":
        title = "Nothing here shows that it reads the images."
        means = "It answers as well when it is shown another room's."
    return Finding(by.verdict, title, f"{means} {by.figures()}")


def _held_out(by: Comparison, scores: Scores) -> Finding:
    against = f"Against the best of {len([name for name in CONTROLS if name in scores])} controls."
    caution = "The controls answered the training rooms' questions, so this comparison is a rough one."
    if by.verdict == "right":
        title = f"In rooms it has never seen it stands above the controls in {by.share}."
    elif by.verdict == "partly":
        title = f"In rooms it has never seen it stands above the controls in {by.share}; the others do not carry over."
    else:
        title = "In rooms it has never seen it is no better than the controls: what it learned does not carry over."
    lost = ""
    if "after" in scores:
        fall = compare(scores, "after", ("held_out",))
        lost = f" It is worse there than in the training rooms in {fall.share}." if fall.above else ""
    return Finding(by.verdict, title, f"{against}{lost} {by.figures()} {caution}")


def compare(scores: Scores, first: str, others: Sequence[str]) -> Comparison:
    """Return how the main figure of ``first`` stands to the highest one of ``others``, task by task."""
    found: dict[str, list[str]] = {"above": [], "level": [], "below": []}
    for task, benchmark in BENCHMARKS.items():
        values = _main(scores, task)
        rivals = [values[name] for name in others if name in values]
        if first not in values or not rivals:
            continue
        gain = values[first] - max(rivals)
        place = "level" if abs(gain) < LEVEL else "above" if gain > 0 else "below"
        found[place].append(f"{benchmark.title} ({hundred(values[first])} against {hundred(max(rivals))})")
    return Comparison(*(tuple(found[place]) for place in ("above", "level", "below")))


def _main(scores: Scores, task: str) -> dict[str, float]:
    """Return the task's main figure of every column that has it."""
    main = BENCHMARKS[task].main_metric
    return {name: found[task][main] for name, found in scores.items() if main in found.get(task, {})}


def _metrics(scores: Scores, task: str) -> list[str]:
    return list(dict.fromkeys(metric for found in scores.values() for metric in found.get(task, {})))


def _images(out: Path) -> tuple[list[PageScene], list[PageImage]]:
    """Write ``out/images`` anew; return all rooms, and bird's-eye view and fullest frame of the first one."""
    with whole_folder(out / "images", replace=True) as partial:
        return _images_in(partial, out)


def _images_in(partial: Path, out: Path) -> tuple[list[PageScene], list[PageImage]]:
    rooms, example = [], []
    for questions, group in GROUPS.items():
        listed = Listed.read(out / questions)
        pages = scene_files(sorted(listed.scenes))
        answers = next(name for name, folder in ANSWERS.items() if folder == questions)
        for number, scene in enumerate(sorted(listed.scenes)):
            assert listed.source is not None
            names = [listed.source.parent / written for written in listed.scenes[scene]]
            target = f"images/{questions}_{number:02d}"
            side = TOP_SIDE if not rooms else FRAME_SIDE // 2
            image = _shrunk(names[0], out, partial, f"{target}.jpg", side, "bird's-eye view")
            page = f"answers/{answers}/{pages[scene]}"
            if not rooms:
                frame = _fullest(names[1:], out / "scenes" / "scenes" / scene / "scene.json")
                example = [image]
                if frame is not None:
                    shown = f"frame {frame.stem}"
                    example.append(_shrunk(frame, out, partial, f"{target}_frame.jpg", FRAME_SIDE, shown))
            rooms.append(PageScene(scene, group, image, page if (out / page).is_file() else None))
    return rooms, example


def _shrunk(source: Path, out: Path, partial: Path, file: str, side: int, name: str) -> PageImage:
    made = shrink(source, partial, Path(file).name, side, name)
    return PageImage(name, file if made.file else None, made.width, made.height, made.missing)


def _fullest(frames: Sequence[Path], scene_file: Path) -> Path | None:
    """Return the frame with most numbers; the first one where ``scene.json`` is not there to tell."""
    if not frames or not scene_file.is_file():
        return frames[0] if frames else None
    content = read_json(scene_file)
    markers = {Path(frame["image"]).name: len(frame["markers"]) for frame in content["frames"]}
    return max(frames, key=lambda frame: markers.get(frame.name, 0))


def _facts(summary: Mapping[str, Any], rooms: Sequence[PageScene]) -> dict[str, str]:
    """Return the demo's sizes, name -> value, as far as the summary knows them."""
    settings, questions = summary.get("settings", {}), summary.get("questions", {})
    facts = {
        "training rooms": sum(room.group == GROUPS["annotation"] for room in rooms),
        "held-out rooms": sum(room.group == GROUPS["annotation_held_out"] for room in rooms),
        "images a room": settings["frames"] + 1 if "frames" in settings else None,
        "longest side the model sees": f"{settings['image_resolution']} px" if "image_resolution" in settings else None,
        "training rows": summary.get("training_rows"),
        "passes over them": f"{settings['epochs']:g}" if "epochs" in settings else None,
        "questions about training rooms": sum(questions.get("annotation", {}).values()) or None,
        "questions about held-out rooms": sum(questions.get("annotation_held_out", {}).values()) or None,
        "seed": settings.get("seed"),
    }
    return {name: str(value) for name, value in facts.items() if value is not None}
