"""The answers of a task as its scorer takes them: joined to the question file where there is one, and counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.benchmarks.joining import join
from gpt4scene.benchmarks.marking import with_marks
from gpt4scene.benchmarks.naming import answers_by_name
from gpt4scene.benchmarks.questions import question_file
from gpt4scene.benchmarks.references import References
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.signature import UNKNOWN, split_named
from gpt4scene.benchmarks.thoughts import named_without, rows_without
from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow, require_all
from gpt4scene.files.judgements import read_judgements
from gpt4scene.files.predictions import Predictions, answer_files, read_predictions
from gpt4scene.files.questions import read_question_rows, read_questions
from gpt4scene.metrics.answer_boxes import AnswerBoxes, Themselves
from gpt4scene.metrics.boxes import SceneBoxes
from gpt4scene.metrics.scores import Report
from gpt4scene.types import Question

NOTHING: Mapping[str, References] = MappingProxyType({})


@dataclass(frozen=True)
class Answered:
    """Answers of one task with what is needed to score them. ``questions`` is ``None`` where no file says how many.

    ``gaps`` are sentences about files and lines that are not there; ``notes`` what else a reader must know. ``asked``
    are all questions of that file, of the ``split`` that its name says. ``boxes`` are those that the answers bring
    themselves, ``None`` where they name objects by number.
    """

    task: str
    rows: list[AnswerRow]
    questions: int | None
    gaps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    asked: tuple[Question, ...] = ()
    split: str = UNKNOWN
    boxes: SceneBoxes | None = None

    def seen_in(self, annotation: Annotation) -> Annotation:
        """Return ``annotation`` with the boxes that the answers bring in the place of those of its files."""
        if self.boxes is None:
            return annotation
        truth = self.boxes if isinstance(self.boxes, Themselves) else annotation.truth
        return replace(annotation, marked=self.boxes, truth=truth)

    def told(self, report: Report) -> Report:
        """Return ``report`` with the counts of questions, and warnings where its figures are of a part."""
        counts = {"answers": report.counts["answers"]}
        if self.questions is not None:
            counts |= {"questions": self.questions, "missing questions": self.questions - len(self.rows)}
        warnings = [*self.gaps]
        missing = counts.get("missing questions", 0)
        if missing:
            rule = BENCHMARKS[self.task].unanswered
            warnings.insert(0, f"{missing:,} of {self.questions:,} questions have no answer; {rule}")
        told = replace(report, counts=counts | dict(report.counts), notes=(*self.notes, *report.notes))
        told = replace(told, answers=tuple(self.rows))
        if told.unreadable == len(self.rows):
            warnings.append("no answer could be read; the figures say nothing about the model")
        return replace(told, warnings=(*warnings, *report.warnings))


def read_answered(
    predictions: str | Path,
    annotation_dir: str | Path | None,
    task: str,
    references: References | None = None,
    others: Mapping[str, References] = NOTHING,
    *,
    alone: bool = False,
) -> Answered:
    """Return the answers of ``task`` in ``predictions``, with references, types and ids of the question file.

    ``references`` are the questions of official files, which stand for the question file where they are given. Without
    either the predictions must carry what the benchmark ``needs``. Marks beside the answers, and answers of the task
    that the benchmark looks at, come with them; ``others`` are its references. ``alone`` leaves both out. Raises
    ``DataError`` by file and row.
    """
    benchmark, place = BENCHMARKS[task], Path(predictions)
    read = read_predictions(place, task, benchmark.public_keys)
    found = answered(read, annotation_dir, references, str(predictions))
    if alone:
        return found
    found = _beside(found, place, annotation_dir, others)
    if benchmark.marking is None:
        return found
    rows, notes = with_marks(found.rows, benchmark.marking, read_judgements(place, task))
    return replace(found, rows=rows, notes=(*found.notes, *notes))


def _beside(
    found: Answered, predictions: Path, annotation_dir: str | Path | None, others: Mapping[str, References]
) -> Answered:
    """Return the answers with what those of another task in the same folder say about them, where there are any."""
    benchmark = BENCHMARKS[found.task]
    other = benchmark.beside
    known = other in others or (annotation_dir is not None and other and question_file(annotation_dir, other))
    if benchmark.with_beside is None or predictions.is_file() or not answer_files(predictions, other):
        return found
    if not known:
        note = f"the answers of {other} are not looked at: give its official files with --references too"
        return replace(found, notes=(*found.notes, note))
    seen = read_answered(predictions, annotation_dir, other, others.get(other))
    annotation = Annotation(None if annotation_dir is None else Path(annotation_dir))
    rows = benchmark.with_beside(found.rows, seen.rows, annotation)
    return replace(found, rows=rows, notes=(*found.notes, f"the answers of {other} beside these are looked at"))


def answered(
    found: Predictions, annotation_dir: str | Path | None, references: References | None, name: str
) -> Answered:
    """Return the answers that were ``found`` in the file or folder ``name`` as ``read_answered`` does."""
    task = found.task
    benchmark = BENCHMARKS[task]
    said = tuple(note for note in found.notes if note not in found.gaps)
    if not benchmark.reads_thoughts:
        rows, notes = rows_without(found.rows)
        found, said = replace(found, rows=rows), (*said, *notes)
    path = None if annotation_dir is None else question_file(annotation_dir, task)
    if references is not None:
        folder = None if annotation_dir is None else Path(annotation_dir)
        if any(folder is None or not (folder / name).is_file() for name in references.made):
            said = (*said, *references.notes)
        return _joined(found, references.questions, references.place, benchmark, said)
    if path is not None:
        return _joined(found, read_questions(path, task, benchmark.type_key, to_ask=False), path, benchmark, said)
    if found.named or found.own:
        wanted = benchmark.question_name("val")
        raise DataError(
            f"{name}: names its questions by id, and nothing here says what was asked; give --references with the "
            f"official files of {task}, or --annotation_dir with a folder that holds {wanted}"
        )
    _refuse_another(found.rows, benchmark, themselves=True)
    require_all(found.rows, benchmark.needs, benchmark.single)
    absent = benchmark.question_name("val")
    wanted = absent if annotation_dir is None else Path(annotation_dir) / absent
    note = f"missing questions are not counted, and the predictions' own references believed: no {wanted}"
    return Answered(task, found.rows, None, found.gaps, (*said, note, *_repeated(found.rows)))


def _joined(
    found: Predictions, questions: Sequence[Question], place: Path, benchmark: Benchmark, said: tuple[str, ...]
) -> Answered:
    """Return the answers with the truth of ``questions``, which ``place`` holds."""
    rows, named, boxes = found.rows, found.named, None
    if found.own and benchmark.public_answers is not None:
        named = tuple(benchmark.public_answers(found.own, questions))
    if named:
        whole = benchmark.reads_thoughts or found.own  # in its own public form, a text is what the public scorer sees
        named, left_out = (named, []) if whole else named_without(named)
        rows, notes, boxes = answers_by_name(named, questions, place, benchmark)
        said = (*said, *left_out, *notes)
    _refuse_another(rows, benchmark, themselves=False)
    before = {row.index: row.origin for row in rows}
    rows, notes = join(rows, questions, place, benchmark.needs)
    if isinstance(boxes, AnswerBoxes):  # rows say by now where their questions stand
        boxes = replace(boxes, own={row.origin: boxes.own[before[row.index]] for row in rows})
    require_all(rows, benchmark.needs, benchmark.single)
    split = split_named(place, benchmark)
    return Answered(benchmark.name, rows, len(questions), found.gaps, (*said, *notes), tuple(questions), split, boxes)


def _repeated(rows: Sequence[AnswerRow]) -> tuple[str, ...]:
    """Return a note where rows that nothing identifies ask what an earlier row asked."""
    unnamed = [replace(row, pred="", origin="") for row in rows if row.index is None and row.qid in (None, "", 0)]
    again = len(unnamed) - len(set(unnamed))
    if not again:
        return ()
    return (
        f"{again} answers without 'qid' and 'index' are to what an earlier one was asked; nothing here says whether it "
        "was asked twice",
    )


def _refuse_another(rows: Sequence[AnswerRow], benchmark: Benchmark, *, themselves: bool) -> None:
    """Raise ``DataError`` where rows are of another benchmark: by their own word or, ``themselves``, by their form.

    Only where no question file says better is the form of references and types asked.
    """
    for row in rows:
        if row.task in BENCHMARKS and row.task != benchmark.name:
            raise DataError(
                f"{row.origin}: answers a question of '{row.task}', not of '{benchmark.name}'; call the file by its "
                "own task, or choose that with --tasks"
            )
    if not themselves or (benchmark.own and any(map(benchmark.own, rows))):
        return
    for other in BENCHMARKS.values():
        if other.own and all(map(other.own, rows)):
            raise DataError(
                f"{rows[0].origin}: references and types here, and in all {len(rows)} rows, have the form of "
                f"'{other.name}', not of '{benchmark.name}'; call the file by its own task, or choose that with --tasks"
            )


def unanswered_tasks(annotation_dir: str | Path | None, answered: Sequence[str]) -> dict[str, int]:
    """Return the number of questions of every task that has a question file but no answers."""
    found: dict[str, int] = {}
    if annotation_dir is None:
        return found
    for task in BENCHMARKS:
        path = None if task in answered else question_file(annotation_dir, task)
        if path is not None:
            found[task] = len(read_question_rows(path))
    return found
