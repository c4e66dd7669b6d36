"""Scoring a folder of predictions, all tasks together, and the command behind ``gpt4scene score``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from gpt4scene.benchmarks import multi3dref, scan2cap, scanqa, scanrefer, sqa3d, tables
from gpt4scene.files import answers as files
from gpt4scene.metrics.intervals import Report
from gpt4scene.metrics.texts import TextGroup, TextScorer, TextScores
from gpt4scene.registry import nearest
from gpt4scene.types import TASKS, DataError

BOXED = ("scanrefer", "multi3dref", "scan2cap")
_NO_BOXES = (files.SceneBoxes({}, "none"), files.SceneBoxes({}, "none"))


def task_names(words: str | Sequence[str]) -> list[str] | None:
    """Return the tasks that ``words`` name (``all`` gives ``None``; commas or ``#`` separate), in published order.

    Raises ``ValueError`` for an unknown name, with the nearest one.
    """
    if isinstance(words, str):
        words = words.replace("#", ",").split(",")
    words = [word.strip() for word in words if word.strip()]
    if "all" in words or not words:
        return None
    for word in words:
        if word not in TASKS:
            raise ValueError(f"task '{word}' is not known{nearest(word, list(TASKS))} (known: {', '.join(TASKS)}, all)")
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
    answers: dict[str, files.Predictions]
    boxes: tuple[files.SceneBoxes, files.SceneBoxes]
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
    names = (task_names(tasks) if tasks is not None else None) or files.tasks_in(predictions)
    if not names:
        raise DataError(f"{predictions}: no answers here; expected files such as {TASKS[0]}.jsonl or {TASKS[0]}.json")
    return names


def _opened(predictions: Path, annotation_dir: Path, names: Sequence[str]) -> _Folder:
    answers = {task: files.read_predictions(predictions, task) for task in names}
    boxes = _boxes(annotation_dir) if any(task in BOXED for task in names) else _NO_BOXES
    corpus = files.read_corpus(annotation_dir / files.CORPUS) if "scan2cap" in names else {}
    groups: dict[str, dict[str, TextGroup]] = {}
    for task in names:
        rows = answers[task].rows
        if task == "scan2cap":
            groups[task] = scan2cap.text_groups(rows, *boxes, corpus)
        elif task in ("scanqa", "sqa3d"):
            groups[task] = (scanqa if task == "scanqa" else sqa3d).text_groups(rows)
    return _Folder(annotation_dir, answers, boxes, corpus, groups)


def _boxes(annotation_dir: Path) -> tuple[files.SceneBoxes, files.SceneBoxes]:
    return (
        files.read_attributes(annotation_dir / files.PROPOSALS.format(split="val")),
        files.read_attributes(annotation_dir / files.GROUND_TRUTH.format(split="val")),
    )


def _report(
    task: str,
    answers: files.Predictions,
    annotation_dir: Path,
    boxes: tuple[files.SceneBoxes, files.SceneBoxes],
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
    lookup = annotation_dir / files.LOOKUP
    return scanrefer.score(rows, *boxes, files.read_lookup(lookup) if lookup.is_file() else None)


def _with_missing(report: Report, answers: files.Predictions, annotation_dir: Path) -> Report:
    path = files.question_file(annotation_dir, report.task)
    if not path.is_file():
        note = f"missing questions are not counted: {path} is not there"
        return replace(report, notes=(*answers.notes, *report.notes, note))
    counts = {"missing questions": missing_questions(answers, files.read_questions(path), path), **report.counts}
    return replace(report, counts=counts, notes=(*answers.notes, *report.notes))


def missing_questions(answers: files.Predictions, questions: Sequence[Mapping], path: Path) -> int:
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


def public_flags(argv: Sequence[str]) -> list[str]:
    """Return our flags for the public way of calling: a configuration file, then ``key value`` pairs.

    ``output_dir`` becomes ``--predictions``, ``anno_root`` ``--annotation_dir``, ``calculate_score_tag`` (else
    ``val_tag``) ``--tasks``; other pairs are passed over. A call that starts with a flag is returned as it is.
    """
    if not argv or argv[0].startswith("-"):
        return list(argv)
    pairs = dict(zip(argv[1::2], argv[2::2], strict=False))
    flags = {
        "--predictions": pairs.get("output_dir"),
        "--annotation_dir": pairs.get("anno_root"),
        "--tasks": pairs.get("calculate_score_tag") or pairs.get("val_tag"),
    }
    return [word for flag, value in flags.items() if value for word in (flag, value)]


def main(argv: Sequence[str], annotation_dir: str | Path | None = None) -> int:
    """Score as the flags say; return 0 when done, 1 when files are wrong, 2 when the call is.

    ``annotation_dir`` is the default of the flag of that name.
    """
    try:
        flags = _parser(annotation_dir).parse_args(public_flags(argv))
        tasks = task_names(flags.tasks)
        if bool(flags.predictions) == bool(flags.compare):
            raise ValueError("give either --predictions DIR or --compare DIR DIR")
        folders = flags.compare or [flags.predictions]
        for folder in (*folders, flags.annotation_dir):
            if not Path(folder).is_dir():
                raise ValueError(f"{folder}: there is no such folder")
    except SystemExit as stop:
        return int(stop.code or 0)
    except ValueError as error:
        print(f"gpt4scene score: {error}", file=sys.stderr)
        return 2
    try:
        places = {f"{number} {folder}": (folder, flags.annotation_dir) for number, folder in enumerate(folders)}
        runs = list(score_folders(places, tasks).values())
        if flags.compare:
            found = tables.compare(runs[0], runs[1])
            tables.print_comparison(found)
            if flags.json:
                tables.write_comparison(found, flags.json)
        else:
            tables.print_reports(runs[0])
            if flags.json:
                tables.write_scores(runs[0], flags.json)
        if flags.details:
            tables.write_details(runs[-1], flags.details)
    except (DataError, OSError, RuntimeError) as error:
        print(f"gpt4scene score: {error}", file=sys.stderr)
        return 1
    return 0


def _parser(annotation_dir: str | Path | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpt4scene score", description="Predictions to the published figures.")
    parser.add_argument("--predictions", help="folder of journals or public prediction files")
    parser.add_argument("--compare", nargs=2, metavar="DIR", help="two such folders: paired differences instead")
    parser.add_argument(
        "--annotation_dir", default=annotation_dir, required=annotation_dir is None, help="boxes and question files"
    )
    parser.add_argument("--tasks", default="all", help="names separated by commas, or all (default: %(default)s)")
    parser.add_argument("--json", help="write {task: {metric: value}} (or the differences) to this file")
    parser.add_argument(
        "--details", help="write intervals, counts, breakdowns (of the second of two) to this JSON file"
    )
    return parser
