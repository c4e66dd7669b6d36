"""Scoring a folder of predictions, all tasks together, and the command behind ``gpt4scene score``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from gpt4scene.benchmarks import multi3dref, scan2cap, scanqa, scanrefer, sqa3d, tables
from gpt4scene.benchmarks.questions import QUESTION_FILES, question_file
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.annotation import GROUND_TRUTH, PROPOSALS, read_attributes, read_corpus, read_lookup
from gpt4scene.files.predictions import Predictions, read_predictions, tasks_in
from gpt4scene.files.questions import read_question_rows
from gpt4scene.metrics.boxes import SceneBoxes
from gpt4scene.metrics.scores import Report
from gpt4scene.metrics.texts import TextGroup, TextScorer, TextScores
from gpt4scene.registry import nearest
from gpt4scene.settings.arguments import Arguments, key
from gpt4scene.types import TASKS

BOXED = ("scanrefer", "multi3dref", "scan2cap")
_NO_BOXES = (SceneBoxes({}, "none"), SceneBoxes({}, "none"))


def task_names(words: str | Sequence[str]) -> list[str] | None:
    """Return the tasks that ``words`` name (``all`` gives ``None``; commas or ``#`` separate), in published order.

    Raises ``ConfigError`` for an unknown name, with the nearest one.
    """
    if isinstance(words, str):
        words = words.replace("#", ",").split(",")
    words = [word.strip() for word in words if word.strip()]
    if "all" in words or not words:
        return None
    for word in words:
        if word not in TASKS:
            known = f"(known: {', '.join(TASKS)}, all)"
            raise ConfigError(f"task '{word}' is not known{nearest(word, list(TASKS))} {known}")
    return [task for task in TASKS if task in words]


def score_folder(
    predictions: str | Path, annotation_dir: str | Path, tasks: Sequence[str] | str | None = None
) -> dict[str, Report]:
    """Return the report of every task, in published order.

    ``predictions`` holds journals or public prediction files, ``annotation_dir`` boxes, corpus and lookup and, if
    missing questions are to be counted, the question files. ``tasks`` are names, or ``None`` for all that have
    answers. Raises ``DataError`` for missing, broken or contradicting files.
    """
    return score_folders({"": (predictions, annotation_dir)}, tasks)[""]


def score_folders(
    folders: Mapping[str, tuple[str | Path, str | Path]], tasks: Sequence[str] | str | None = None
) -> dict[str, dict[str, Report]]:
    """Return ``score_folder`` of several folders: name -> (predictions, annotation_dir) becomes name -> reports.

    Texts of all folders share one tokenizer run and one METEOR, which works while boxes are compared.
    """
    named = {name: _tasks(Path(place), tasks) for name, (place, _) in folders.items()}
    with ExitStack() as stack:
        spoken = any(task not in BOXED[:2] for found in named.values() for task in found)
        scorer = stack.enter_context(TextScorer()) if spoken else None
        opened = {name: _opened(Path(folders[name][0]), Path(folders[name][1]), found) for name, found in named.items()}
        places = {
            f"{name}\n{task}\n{suffix}": (name, task, suffix)
            for name, folder in opened.items()
            for task, groups in folder.groups.items()
            for suffix in groups
        }
        if scorer:
            scorer.ask({key: opened[name].groups[task][suffix] for key, (name, task, suffix) in places.items()})
        boxed = {(name, task): folder.report(task) for name, folder in opened.items() for task in folder.boxed}
        texts: dict[tuple[str, str], dict[str, TextScores]] = {}
        for key, scores in (scorer.scores() if scorer else {}).items():
            name, task, suffix = places[key]
            texts.setdefault((name, task), {})[suffix] = scores
    return {
        name: {task: boxed.get((name, task)) or folder.report(task, texts[name, task]) for task in folder.answers}
        for name, folder in opened.items()
    }


@dataclass(frozen=True)
class _Folder:
    """What one folder of predictions holds, read and checked."""

    annotation_dir: Path
    answers: dict[str, Predictions]
    boxes: tuple[SceneBoxes, SceneBoxes]
    corpus: Mapping[str, Sequence[str]]
    groups: dict[str, dict[str, TextGroup]]

    @property
    def boxed(self) -> list[str]:
        """The tasks that are scored without texts."""
        return [task for task in self.answers if task not in self.groups]

    def report(self, task: str, texts: dict[str, TextScores] | None = None) -> Report:
        """Return the report of ``task``; ``texts`` holds its text metrics by suffix."""
        report = _report(task, self.answers[task], self.annotation_dir, self.boxes, self.corpus, texts or {})
        return _with_missing(report, self.answers[task], self.annotation_dir)


def _tasks(predictions: Path, tasks: Sequence[str] | str | None) -> list[str]:
    if not predictions.is_dir():
        raise DataError(f"{predictions}: there is no such folder of predictions")
    names = (task_names(tasks) if tasks is not None else None) or tasks_in(predictions, TASKS)
    if not names:
        raise DataError(f"{predictions}: no answers here; expected files such as {TASKS[0]}.jsonl or {TASKS[0]}.json")
    return names


def _opened(predictions: Path, annotation_dir: Path, names: Sequence[str]) -> _Folder:
    answers = {task: read_predictions(predictions, task) for task in names}
    boxes = _boxes(annotation_dir) if any(task in BOXED for task in names) else _NO_BOXES
    corpus = read_corpus(annotation_dir / scan2cap.CORPUS) if "scan2cap" in names else {}
    groups: dict[str, dict[str, TextGroup]] = {}
    for task in names:
        rows = answers[task].rows
        if task == "scan2cap":
            groups[task] = scan2cap.text_groups(rows, *boxes, corpus)
        elif task in ("scanqa", "sqa3d"):
            groups[task] = (scanqa if task == "scanqa" else sqa3d).text_groups(rows)
    return _Folder(annotation_dir, answers, boxes, corpus, groups)


def _boxes(annotation_dir: Path) -> tuple[SceneBoxes, SceneBoxes]:
    return (
        read_attributes(annotation_dir / PROPOSALS.format(split="val")),
        read_attributes(annotation_dir / GROUND_TRUTH.format(split="val")),
    )


def _report(
    task: str,
    answers: Predictions,
    annotation_dir: Path,
    boxes: tuple[SceneBoxes, SceneBoxes],
    corpus: Mapping[str, Sequence[str]],
    texts: dict[str, TextScores],
) -> Report:
    rows = answers.rows
    if task == "scanqa":
        return scanqa.report(rows, texts)
    if task == "sqa3d":
        return sqa3d.report(rows, texts)
    if task == "scan2cap":
        return scan2cap.report(rows, *boxes, corpus, texts)
    if task == "multi3dref":
        return multi3dref.score(rows, *boxes)
    lookup = annotation_dir / scanrefer.LOOKUP
    return scanrefer.score(rows, *boxes, read_lookup(lookup) if lookup.is_file() else None)


def _with_missing(report: Report, answers: Predictions, annotation_dir: Path) -> Report:
    path = question_file(annotation_dir, report.task)
    if path is None:
        wanted = annotation_dir / QUESTION_FILES[report.task].format(split="val")
        note = f"missing questions are not counted: {wanted} is not there"
        return replace(report, notes=(*answers.notes, *report.notes, note))
    counts = {"missing questions": missing_questions(answers, read_question_rows(path), path), **report.counts}
    return replace(report, counts=counts, notes=(*answers.notes, *report.notes))


def missing_questions(answers: Predictions, questions: Sequence[Mapping], path: Path) -> int:
    """Return how many of ``questions`` (the rows of the file ``path``) have no answer.

    Answers find their question by ``index``, or, in the public form, by scene and objects. Raises ``DataError`` for
    an answer to a question that the file doesn't hold.
    """
    indices = [row.index for row in answers.rows if row.index is not None]
    if len(indices) == len(answers.rows):
        for index, row in zip(indices, answers.rows, strict=True):
            if not 0 <= index < len(questions) or questions[index]["scene_id"] != row.scene_id:
                raise DataError(
                    f"{row.origin}: question {index} of scene '{row.scene_id}' is not in {path} "
                    f"({len(questions)} rows); the answers belong to another question file"
                )
        return len(questions) - len(answers.rows)
    open_questions = Counter((row["scene_id"], _id(row, "obj_id"), _id(row, "pred_id")) for row in questions)
    for row in answers.rows:
        key = (row.scene_id, row.gt_id, row.pred_id)
        if not open_questions[key]:
            raise DataError(
                f"{row.origin}: there are more answers about scene '{row.scene_id}', object {row.gt_id} than questions "
                f"in {path}; rows are repeated or belong to another question file"
            )
        open_questions[key] -= 1
    return open_questions.total()


def _id(question: Mapping, key: str) -> int:
    value = question.get(key, 0)
    return int(value) if isinstance(value, (int, str)) and str(value).lstrip("-").isdecimal() else 0


@dataclass(frozen=True)
class ScoreArguments(Arguments):
    """What to score; every field is a flag of ``gpt4scene score``."""

    annotation_dir: str = key("folder of boxes and question files")
    predictions: str | None = key("folder of journals or public prediction files", None)
    compare: tuple[str, str] | None = key("two such folders: paired differences instead", None)
    tasks: str = key("names separated by commas, or all", "all")
    json: str | None = key("write {task: {metric: value}} (or the differences) to this file", None)
    details: str | None = key("write intervals, counts, breakdowns (of the second of two) to this JSON file", None)

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders of answers."""
        return self.compare or ((self.predictions,) if self.predictions else ())

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems()
        if bool(self.predictions) == bool(self.compare):
            wrong.append("give either --predictions DIR or --compare DIR DIR")
        for folder in (*self.folders, self.annotation_dir):
            if folder and not Path(folder).is_dir():
                wrong.append(f"{folder}: there is no such folder")
        try:
            task_names(self.tasks)
        except ValueError as error:
            wrong.append(str(error))
        return wrong


def main(arguments: ScoreArguments) -> int:
    """Score as the arguments say; return 0 when done."""
    tasks, annotation_dir = task_names(arguments.tasks), arguments.annotation_dir
    places = {f"{number} {folder}": (folder, annotation_dir) for number, folder in enumerate(arguments.folders)}
    runs = list(score_folders(places, tasks).values())
    if arguments.compare:
        found = tables.compare(runs[0], runs[1])
        tables.print_comparison(found)
        if arguments.json:
            tables.write_comparison(found, arguments.json)
    else:
        tables.print_reports(runs[0])
        if arguments.json:
            tables.write_scores(runs[0], arguments.json)
    if arguments.details:
        tables.write_details(runs[-1], arguments.details)
    return 0
