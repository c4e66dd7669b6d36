"""Scoring a folder of predictions, all tasks together, and the command behind ``gpt4scene score``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from gpt4scene import talk
from gpt4scene.benchmarks import tables
from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.answers import Answered, answered, read_answered, unanswered_tasks
from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.benchmarks.chosen import rule_words, under_rules
from gpt4scene.benchmarks.references import References, read_references, reference_files, references_in
from gpt4scene.benchmarks.registry import BENCHMARKS, task_names
from gpt4scene.benchmarks.signature import boxes_hash, questions_hash, signature_of
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.boxes import boxes_by_number, read_boxes
from gpt4scene.files.predictions import lies_there, predictions_of, tasks_in, wanted
from gpt4scene.files.raw import Record
from gpt4scene.metrics.boxes import SceneBoxes
from gpt4scene.metrics.scores import Report
from gpt4scene.metrics.texts import CHOICES, TextGroup, TextScorer, TextScores, chosen_metrics
from gpt4scene.progress import track
from gpt4scene.settings.arguments import Arguments, key

STDOUT = "-"
"""The name of the JSON file that is standard output; tables then go to standard error."""

INPUTS = (".json", ".jsonl", ".pt", ".csv", ".tsv", ".parquet")
"""Suffixes of the files that scoring reads."""


Boxes: TypeAlias = str | Path | Mapping[str, Any]
"""True boxes: a file (``files.boxes``), or ``{scene: {object id: box}}``."""


def score_folder(
    predictions: str | Path,
    annotation_dir: str | Path | None = None,
    tasks: Sequence[str] | str | None = None,
    rules: Sequence[str] | str = "",
    references: Sequence[str] | str = "",
    metrics: Sequence[str] | str = "",
    boxes: Boxes | None = None,
) -> dict[str, Report]:
    """Return the report of every task, in published order.

    ``predictions`` holds answers in any form, ``annotation_dir`` boxes, companion files and, if
    missing questions are to be counted, the question files. ``tasks`` are names, or ``None`` for all that have
    answers. ``rules`` are names of rules; a task counts by the first that it has, else by its own. ``references`` are
    official files (``reference_files``), which stand for question files. ``metrics`` choose among those of texts
    (``chosen_metrics``); ``em`` alone starts neither tokenizer nor METEOR. ``boxes`` are the true ones where the folder
    has none. Raises ``DataError`` for missing, broken or contradicting files.
    """
    return score_folders({"": (predictions, annotation_dir)}, tasks, rules, references, metrics, boxes)[""]


def score_files(
    predictions: str | Path,
    references: str | Path | Sequence[str | Path],
    task: str,
    rules: Sequence[str] | str = "",
    metrics: Sequence[str] | str = "",
    boxes: Boxes | None = None,
) -> Report:
    """Return the report of one ``task``: a file of answers in any form against the official files ``references``."""
    paths = [references] if isinstance(references, str | Path) else references
    words = [f"{task}={path}" for path in paths]
    return score_folder(predictions, None, [task], rules, words, metrics, boxes)[task]


def score_answers(
    answers: Mapping[Any, Any] | Iterable[Mapping[str, Any]],
    references: Iterable[Mapping[str, Any]],
    task: str,
    rules: Sequence[str] | str = "",
    metrics: Sequence[str] | str = "",
    boxes: Boxes | None = None,
) -> Report:
    """Return the report of one ``task`` without any file: ``{id: answer}`` or rows, against official rows.

    Rows of answers have the columns that files have. Raises ``DataError`` by the number of the row.
    """
    (task,) = task_names([task]) or [task]
    counted = under_rules([task], rules)
    records = [_record(row, f"references, row {number}") for number, row in enumerate(references)]
    asked = references_in(BENCHMARKS[task], records, Path("references"))
    found = answered(predictions_of(answers, task), None, asked, "answers")
    annotation = Annotation(None, truth=_true_boxes(boxes, counted))
    with _scorer(counted, metrics) as scorer:
        report = _reports({"": _folder({task: found}, annotation, counted, {task: asked})}, scorer)[""][task]
    return _with_note(report, counted[task], metrics)


def _with_note(report: Report, benchmark: Benchmark, metrics: Sequence[str] | str) -> Report:
    """Return ``report``, with a note where text ``metrics`` were chosen and its rules have none."""
    if not metrics or benchmark.text_groups:
        return report
    said = f"the choice of metrics changes nothing here: {report.task} has no metrics of texts by these rules"
    return replace(report, notes=(*report.notes, said))


def _record(row: Any, origin: str) -> Record:
    if not isinstance(row, Mapping):
        raise DataError(f"{origin}: expected an official row, an object with keys, found a {type(row).__name__}")
    return Record(row, origin)


def score_folders(
    folders: Mapping[str, tuple[str | Path, str | Path | None]],
    tasks: Sequence[str] | str | None = None,
    rules: Sequence[str] | str = "",
    references: Sequence[str] | str = "",
    metrics: Sequence[str] | str = "",
    boxes: Boxes | None = None,
) -> dict[str, dict[str, Report]]:
    """Return ``score_folder`` of several folders: name -> (predictions, annotation_dir) becomes name -> reports.

    Texts of all folders share one tokenizer run and one METEOR, which works while boxes are compared.
    """
    official = reference_files(references, None if tasks is None else task_names(tasks))
    chosen_metrics(metrics)
    named = {name: _tasks(Path(place), tasks, list(official)) for name, (place, _) in folders.items()}
    counted = under_rules(dict.fromkeys(task for found in named.values() for task in found), rules)
    with _scorer(counted, metrics) as scorer:
        read = {task: read_references(task, paths) for task, paths in official.items() if task in counted}
        truth = _true_boxes(boxes, counted)
        opened = {}
        for name, tasks_here in named.items():
            place, annotation_dir = folders[name]
            answers = {task: read_answered(place, annotation_dir, task, read.get(task), read) for task in tasks_here}
            annotation = Annotation(None if annotation_dir is None else Path(annotation_dir), truth)
            opened[name] = _folder(answers, annotation, {task: counted[task] for task in tasks_here}, read)
        found = _reports(opened, scorer)
    return {
        name: {task: _with_note(report, counted[task], metrics) for task, report in reports.items()}
        for name, reports in found.items()
    }


def _true_boxes(boxes: Boxes | None, benchmarks: Mapping[str, Benchmark]) -> SceneBoxes | None:
    """Return the true boxes; raise ``ConfigError`` where none of the tasks looks at boxes."""
    if boxes is None:
        return None
    if not any(benchmark.about_objects for benchmark in benchmarks.values()):
        raise ConfigError(f"--boxes is for answers about objects, and {', '.join(benchmarks)} compares no boxes")
    return boxes_by_number(boxes, "the true boxes") if isinstance(boxes, Mapping) else read_boxes(boxes)


def _scorer(benchmarks: Mapping[str, Benchmark], metrics: Sequence[str] | str) -> AbstractContextManager[TextScorer]:
    """Return the scorer of texts, which gets ready while answers are read; one of no metrics where no task has texts.

    Raises ``ConfigError`` for an unknown metric.
    """
    chosen = chosen_metrics(metrics)
    return TextScorer(chosen if any(benchmark.text_groups for benchmark in benchmarks.values()) else ())


def _reports(opened: Mapping[str, _Folder], scorer: TextScorer) -> dict[str, dict[str, Report]]:
    """Return the reports of every folder; texts of all of them go through ``scorer``."""
    places = {
        f"{name}\n{task}\n{suffix}": (name, task, suffix)
        for name, folder in opened.items()
        for task, groups in folder.groups.items()
        for suffix in groups
    }
    scorer.ask({key: opened[name].groups[task][suffix] for key, (name, task, suffix) in places.items()})
    for folder in opened.values():
        folder.hash_questions()
    ready = {
        (name, task): folder.report(task, {})
        for name, folder in opened.items()
        for task in track([task for task in folder.answers if task not in folder.groups], "tasks")
    }
    texts: dict[tuple[str, str], dict[str, TextScores]] = {}
    for place, scores in scorer.scores().items():
        name, task, suffix = places[place]
        texts.setdefault((name, task), {})[suffix] = scores
    return {
        name: {
            task: ready.get((name, task)) or folder.report(task, texts[name, task])
            for task in track(folder.answers, "tasks")
        }
        for name, folder in opened.items()
    }


@dataclass(frozen=True)
class _Folder:
    """What one folder of predictions holds, read and checked; ``groups`` are the texts of tasks that compare texts."""

    benchmarks: dict[str, Benchmark]
    annotations: dict[str, Annotation]
    answers: dict[str, Answered]
    groups: dict[str, dict[str, TextGroup]]
    hashes: dict[str, dict[str, str]] = field(default_factory=dict)

    def hash_questions(self) -> None:
        """Find what signatures say of questions and boxes, which takes a while and needs no texts."""
        for task, answers in self.answers.items():
            benchmark, asked = self.benchmarks[task], answers.asked or answers.rows
            self.hashes[task] = {
                "questions": questions_hash(asked, benchmark.needs),
                "boxes": boxes_hash(benchmark, self.annotations[task], (question.scene_id for question in asked)),
            }

    def report(self, task: str, texts: Mapping[str, TextScores]) -> Report:
        """Return the report of ``task``; ``texts`` holds the scores of its groups."""
        answers = self.answers[task]
        benchmark = self.benchmarks[task]
        annotation = self.annotations[task]
        report = replace(benchmark.report(answers.rows, annotation, texts), rules=benchmark.rules)
        if benchmark.names_objects and annotation.marked is None and annotation.folder is None:
            said = f"no file of proposals: numbers in answers mean the objects of {annotation.proposals.source}"
            report = replace(report, notes=(said, *report.notes))
        if benchmark.rules != BENCHMARKS[task].rules:
            said = f"counted by the rules {benchmark.rules}: {benchmark.rules_say}"
            report = replace(report, notes=(said, *report.notes))
        if not report.scores and benchmark.text_groups:
            nothing = "no figure is left: all of this benchmark are metrics of texts that were not chosen"
            report = replace(report, warnings=(nothing, *report.warnings))
        told = answers.told(report)
        signature = signature_of(benchmark, told, texts, split=answers.split, **self.hashes[task])
        return replace(told, signature=str(signature), annotation=annotation)


def _tasks(predictions: Path, tasks: Sequence[str] | str | None, official: Sequence[str] = ()) -> list[str]:
    """Return the tasks to score: those asked for, else those of the answers, else the one that has references."""
    if not predictions.exists():
        raise DataError(f"{predictions}: there is no such folder of predictions")
    asked = task_names(tasks) if tasks is not None else None
    if asked is None and predictions.is_file() and not tasks_in(predictions, BENCHMARKS):
        asked = list(official)
    if predictions.is_file() and len(asked or tasks_in(predictions, BENCHMARKS)) != 1:
        raise DataError(
            f"{predictions}: a file holds the answers of one task; say which with --tasks (one of "
            f"{', '.join(BENCHMARKS)}), or give a folder"
        )
    names = asked or tasks_in(predictions, BENCHMARKS)
    if not names:
        raise DataError(f"{predictions}: no answers here ({wanted('<task>')}); {lies_there(predictions, BENCHMARKS)}")
    return names


def _folder(
    answers: dict[str, Answered],
    annotation: Annotation,
    benchmarks: dict[str, Benchmark],
    references: Mapping[str, References],
) -> _Folder:
    seen = {}
    for task, found in answers.items():
        asked = references.get(task)
        here = annotation if asked is None else replace(annotation, beside=asked.files, made=asked.made)
        if asked is not None and here.truth is not None and not here.truth.labels:
            here = replace(here, truth=replace(here.truth, labels=asked.labels))
        seen[task] = found.seen_in(here)
    groups = {
        task: benchmark.text_groups(answers[task].rows, seen[task])
        for task, benchmark in benchmarks.items()
        if benchmark.text_groups
    }
    return _Folder(benchmarks, seen, answers, groups)


@dataclass(frozen=True)
class ScoreArguments(Arguments):
    """What to score; every field is a flag of ``gpt4scene score``."""

    annotation_dir: str | None = key("folder of boxes and question files", None)
    predictions: str | None = key("folder of answers in any form, or one file of them", None)
    references: str = key(
        "official files instead of question files, separated by commas; task=FILE where the name does not say", ""
    )
    boxes: str | None = key("true boxes: an attributes .pt file, or {scene: {object id: box}} in JSON", None)
    compare: tuple[str, str] | None = key("two such folders: paired differences instead", None)
    tasks: str = key("names separated by commas, or all", "all")
    rules: str = key(
        "how to count, such as raw, strict, official; a task takes the first that it has, else its own", ""
    )
    metrics: str = key(f"which metrics of texts to compute: names of {', '.join(CHOICES)}; em alone needs no Java", "")
    json: str | None = key("write {task: {metric: value}} (or the differences) to this file; - is stdout", None)
    details: str | None = key(
        "write intervals, counts, breakdowns (of the second of two) to this JSON file, or -", None
    )
    require_complete: bool = key(
        "exit 1 unless every question of every task is known to have its answer, and its mark where a judge marks",
        False,
    )

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders of answers."""
        return self.compare or ((self.predictions,) if self.predictions else ())

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems()
        if bool(self.predictions) == bool(self.compare):
            wrong.append("give either --predictions DIR or --compare DIR DIR")
        wrong += [f"{place}: there is no such folder or file" for place in self.folders if not Path(place).exists()]
        if self.annotation_dir is None and not self.references:
            wrong.append("give --annotation_dir DIR with question files, or --references FILES, or both")
        if self.annotation_dir is not None and not Path(self.annotation_dir).is_dir():
            wrong.append(f"{self.annotation_dir}: there is no such folder; --annotation_dir names one")
        if self.boxes is not None and not Path(self.boxes).is_file():
            wrong.append(f"--boxes {self.boxes}: there is no such file")
        for read, words in ((task_names, self.tasks), (rule_words, self.rules), (chosen_metrics, self.metrics)):
            try:
                read(words)
            except ValueError as error:
                wrong.append(str(error))
        if not wrong and self.references:
            try:
                reference_files(self.references, task_names(self.tasks))
            except ValueError as error:
                wrong.append(str(error))
        return [*wrong, *self._output_problems()]

    def _output_problems(self) -> list[str]:
        """Return a sentence for every file to write that has no name, that of the other, or that of an input."""
        named = {flag: getattr(self, flag) for flag in ("json", "details") if getattr(self, flag) is not None}
        wrong = [
            f"--{flag} is empty; name a file, or - for standard output" for flag, name in named.items() if not name
        ]
        if self.json and self.json == self.details:
            wrong.append(f"--json and --details both go to {self.json}; name two files")
        inputs = (*((self.annotation_dir,) if self.annotation_dir else ()), *self.folders)
        folders = {Path(place).resolve() for place in inputs}
        official = {Path(self.boxes).resolve()} if self.boxes else set()
        official |= {Path(word.rpartition("=")[2]).resolve() for word in self.references.split(",") if word.strip()}
        for flag, name in named.items():
            path = Path(name).resolve()
            places = (path, path.parent, path.parent.parent if path.name.startswith("predictions_chunk_") else path)
            an_input = path in official or (path.suffix in INPUTS and not folders.isdisjoint(places))
            if name != STDOUT and an_input and path.is_file() and not tables.holds_scores(path):
                wrong.append(
                    f"--{flag} {name}: holds something else than scores, which would be lost; name another file"
                )
        return wrong


def main(arguments: ScoreArguments) -> int:
    """Score as the arguments say; return 0 when done, 1 where answers are missing that must be there."""
    tasks, annotation_dir = task_names(arguments.tasks), arguments.annotation_dir
    places = {f"{number} {folder}": (folder, annotation_dir) for number, folder in enumerate(arguments.folders)}
    runs = list(
        score_folders(places, tasks, arguments.rules, arguments.references, arguments.metrics, arguments.boxes).values()
    )
    to_stdout = STDOUT in (arguments.json, arguments.details)
    if to_stdout and talk.as_json():
        raise ConfigError("--json without a file is standard output, and - is as well; name a file for one of them")
    absent = [
        unanswered_tasks(annotation_dir, list(run)) if tasks is None and Path(folder).is_dir() else {}
        for run, folder in zip(runs, arguments.folders, strict=True)
    ]
    shows = not (talk.as_json() or (to_stdout and talk.quiet()))
    if arguments.compare:
        found = tables.compare(runs[0], runs[1])
        if shows:
            tables.print_comparison(found, runs, absent, stderr=to_stdout)
        if arguments.json:
            tables.write_comparison(found, arguments.json, runs)
        talk.result(**tables.comparison_content(found, runs))
    else:
        if shows:
            tables.print_reports(runs[0], absent[0], stderr=to_stdout)
        if arguments.json:
            tables.write_scores(runs[0], arguments.json, absent[0])
        talk.result(**tables.scores_content(runs[0], absent[0]))
    if arguments.details:
        tables.write_details(runs[-1], arguments.details)
    return _refuse_parts(runs, absent, arguments.folders) if arguments.require_complete else 0


def _refuse_parts(
    runs: Sequence[Mapping[str, Report]], absent: Sequence[Mapping[str, int]], folders: Sequence[str]
) -> int:
    """Return 0 where every question has its answer and its mark, else raise ``DataError`` with the counts."""
    wrong = []
    for run, missing, folder in zip(runs, absent, folders, strict=True):
        wrong += [f"{folder}: {task}: {_lack(report)}" for task, report in run.items() if not report.complete]
        wrong += [f"{folder}: {task}: none of {count:,} questions has an answer" for task, count in missing.items()]
    if wrong:
        raise DataError("\n".join(wrong))
    return 0


def _lack(report: Report) -> str:
    if report.complete is None:
        return f"{report.counts['answers']:,} answers, and no question file says of how many questions"
    missing = report.counts["missing questions"]
    lacks = [f"{missing:,} of {report.counts['questions']:,} questions have no answer"] if missing else []
    lacks += [f"{report.unmarked:,} answers have no mark by a judge"] if report.unmarked else []
    return " and ".join(lacks)
