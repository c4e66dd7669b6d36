"""A benchmark as one value: its files, the rows made of its records, its figures, its judge."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.judging import Judge, judge_by
from gpt4scene.benchmarks.marking import Marking
from gpt4scene.benchmarks.matching import NO_IMAGES, NO_OWN_IMAGES, Scenes
from gpt4scene.benchmarks.rows import (
    AnnotatedRows,
    Arrange,
    FromScenes,
    QuestionRow,
    RowsOf,
    SceneRecords,
    TrainingRow,
    as_they_are,
    make_rows,
    make_rows_by_scene,
)
from gpt4scene.benchmarks.rules import MakeReport, Rules, TextGroups
from gpt4scene.benchmarks.wordings import Prompts, read_wordings
from gpt4scene.errors import ConfigError
from gpt4scene.files.answers import AnswerRow, row_keys
from gpt4scene.files.named_answers import NamedAnswer
from gpt4scene.files.raw import Record, read_official
from gpt4scene.metrics.scores import Pooled, Report, RowScores
from gpt4scene.registry import nearest
from gpt4scene.types import Question

ReadRecords = Callable[[Sequence[Path]], list[Record]]
RecordsOfScenes = Callable[[Path, Sequence[str], FromScenes], SceneRecords]
Companions = Callable[[list[Record], "Callable[[], Path | None]", "Callable[[str], None]"], Mapping[str, Any]]

PublicAnswers = Callable[[Sequence[Record], Sequence[Question]], list[NamedAnswer]]

PUBLISHED_RULES = "gpt4scene"
"""The rules of the published figures of the five benchmarks: Chat-Scene's scorer."""


def read_all(paths: Sequence[Path]) -> list[Record]:
    """Return the records of official files of one form, one file after the other."""
    return [record for path in paths for record in read_official(path)]


def published_on_val(report: Report) -> str | None:
    """Return ``val``, the split that published figures are of."""
    return "val"


@dataclass(frozen=True)
class Benchmark:
    """Everything that the commands know about a benchmark; a simple one states the first seven fields.

    Files: ``name`` is the task in flags and file names, ``title`` stands on pages. ``raw_files`` are the official
    files' names with ``{split}``, ``read`` makes records of them. ``question_file`` is the name of the question file
    (``<name>_{split}.json`` when empty), ``type_key`` the key of its rows that holds the question's type,
    and ``type_of`` tells it from a prompt, for rows that do not say it.
    ``from_scenes`` makes records of a folder's prepared scenes, where there are no official files, and counts what was
    dropped.
    ``companions`` makes further files of the records, file name -> content; it can ask for ScanNet's label map.

    Rows: ``question_rows`` and ``training_rows`` make the rows of one record. ``question_rows`` is ``None`` where
    there are training rows only. ``question_records`` and ``training_records`` arrange all records beforehand.
    ``about_objects`` says that questions or answers name objects, so that scenes need boxes; ``names_objects`` that
    answers are numbers of objects. ``prompts`` are the
    wordings; when empty, those of ``wordings.yaml``. ``form`` is the benchmark in whose form the rows come, where
    that is another.

    Figures: ``needs`` are the keys (``gt_id``, ``pred_id``, ``ref_captions``, ``type_info``) without which an answer
    can't be scored, ``single`` those of them that single rows may lack, which are counted. They come from the question
    file, or from the predictions where there is none, and a row without one is refused. ``own`` tells, by the form of
    types and references, that a row can be of this benchmark only. ``report`` takes the answers, and the scores of the
    ``text_groups`` where there are any.
    ``main_metric`` sums it up in one number, which is ``most`` at the end of a bar. ``score_keys`` are the keys of
    answers in the report's rows. ``judge`` decides on one answer; by the main metric where it is ``None``.
    ``unanswered`` says what the figures do with questions that have no answer. ``published_split`` returns the split
    whose published figures stand beside a report, or ``None``.

    Rules: ``rules`` names those that the fields above count by and ``rules_say`` describes them; ``variants`` are the
    others, and ``under`` gives the benchmark under one of them. ``same_as`` names rules that give the same figures.
    ``references`` makes question rows of an official
    record without any prepared scene, for scoring alone.

    Images: a question shows the images of its scene. ``own_images`` says that the official rows bring their own, so
    that no prepared scene is needed; each set of images then is a scene of its own. ``image_list`` is the name of a
    list of images for this benchmark alone, which goes before the one that all share.

    Marks: ``marking`` says how a language model marks answers, where the figures need that. ``beside`` is another
    task whose answers in the same folder the figures look at, and ``with_beside`` gives rows what they say.

    Foreign files: ``public_answers`` reads the rows of a prediction file in the benchmark's own public form, which has
    one of ``public_keys`` in its first row; ``files.named_answers`` reads all other forms. ``reads_thoughts`` says that
    its rules look at what a model wrote in ``<think>`` themselves; elsewhere thoughts are no part of an answer.
    """

    name: str
    title: str
    main_metric: str
    raw_files: tuple[str, ...]
    question_rows: RowsOf[QuestionRow] | None
    training_rows: RowsOf[TrainingRow] | None
    report: MakeReport
    needs: tuple[str, ...] = ("ref_captions",)
    single: tuple[str, ...] = ()
    own: Callable[[AnswerRow], bool] | None = None
    read: ReadRecords = read_all
    question_file: str = ""
    type_key: str | None = None
    type_of: Callable[[str], str | int] | None = None
    companions: Companions | None = None
    from_scenes: RecordsOfScenes | None = None
    question_records: Arrange = as_they_are
    training_records: Arrange = as_they_are
    about_objects: bool = False
    names_objects: bool = False
    prompts: tuple[str, ...] = ()
    form: Benchmark | None = None
    text_groups: TextGroups | None = None
    most: float = 1.0
    score_keys: Callable[[Sequence[AnswerRow]], Sequence[object]] = row_keys
    judge: Judge | None = None
    unanswered: str = "the figures leave them out"
    published_split: Callable[[Report], str | None] = published_on_val
    references: Callable[[Record], Iterable[QuestionRow]] | None = None
    rules: str = PUBLISHED_RULES
    rules_say: str = ""
    variants: tuple[Rules, ...] = ()
    same_as: str = ""
    own_images: bool = False
    image_list: str = ""
    marking: Marking | None = None
    public_keys: tuple[str, ...] = ()
    public_answers: PublicAnswers | None = None
    beside: str = ""
    with_beside: Callable[[Sequence[AnswerRow], Sequence[AnswerRow], Annotation], list[AnswerRow]] | None = None
    reads_thoughts: bool = False

    @property
    def rule_names(self) -> tuple[str, ...]:
        """The names of all rules that answers can be counted by, the default first."""
        return (self.rules, *(rules.name for rules in self.variants))

    def under(self, name: str) -> Benchmark:
        """Return the benchmark as ``name`` counts it; ``ConfigError`` with the known names for another."""
        if name == self.rules:
            return self
        rules = next((rules for rules in self.variants if rules.name == name), None)
        if rules is None:
            known = ", ".join(self.rule_names)
            raise ConfigError(
                f"'{self.name}' has no rules '{name}'{nearest(name, list(self.rule_names))} (known: {known})"
            )
        return replace(
            self,
            rules=name,
            rules_say=rules.says,
            variants=(),
            same_as=rules.same_as,
            report=rules.report,
            text_groups=rules.text_groups,
            judge=rules.judge or self.judge,
            main_metric=rules.main_metric or self.main_metric,
        )

    def raw_names(self, split: str) -> list[str]:
        """Return the names of the official files of ``split``."""
        return [name.format(split=split) for name in self.raw_files]

    def question_name(self, split: str) -> str:
        """Return the name of the question file of ``split``."""
        return (self.question_file or f"{self.name}_{{split}}.json").format(split=split)

    def wordings(self) -> tuple[str, ...]:
        """Return the wordings of the prompts; question files take the first."""
        return self.prompts or read_wordings(self.form.name if self.form else self.name)

    def judge_of_answers(self) -> Judge:
        """Return ``judge``, or the one by the main metric."""
        return self.judge or judge_by(self.main_metric)

    def make_questions(self, records: Iterable[Record], scenes: Scenes) -> AnnotatedRows[QuestionRow]:
        """Return the rows of the question file."""
        assert self.question_rows is not None, f"{self.name} makes training rows only"
        by_scene = self.references is not None and not self.about_objects
        if by_scene and self.question_records is as_they_are:
            reason = NO_OWN_IMAGES if self.own_images else NO_IMAGES
            return make_rows_by_scene(records, self.question_rows, scenes, Prompts(self.wordings()), reason)
        arranged = self.question_records(list(records), scenes)
        return make_rows(arranged, self.question_rows, scenes, Prompts(self.wordings()), boxes=self.about_objects)

    def make_training(
        self, records: list[Record], scenes: Scenes, generator: random.Random, most_wordings: int = 0
    ) -> AnnotatedRows[TrainingRow]:
        """Return the training rows; ``generator`` draws among the first ``most_wordings`` (0: all) of each choice."""
        assert self.training_rows is not None, f"{self.name} makes questions only"
        prompts = Prompts(self.wordings(), generator, most_wordings)
        arranged = self.training_records(records, scenes)
        return make_rows(arranged, self.training_rows, scenes, prompts, boxes=self.about_objects)


def further_source(
    form: Benchmark, *, name: str, title: str, raw_file: str, read: ReadRecords, question_records: Arrange | None = None
) -> Benchmark:
    """Return a source of rows that come in the form of another benchmark and are asked and scored as its rows.

    Without ``question_records`` it makes training rows only.
    """
    return replace(
        form,
        name=name,
        title=title,
        form=form,
        raw_files=(raw_file,),
        read=read,
        question_file=form.question_file or f"{form.name}_{{split}}.json",
        question_rows=form.question_rows if question_records else None,
        question_records=question_records or as_they_are,
        companions=None,
    )


def scores_by_row(
    rows: Sequence[AnswerRow],
    groups: Mapping[str, tuple[str, ...]],
    values: Mapping[str, Any],
    pooled: Mapping[str, Pooled] | None = None,
) -> RowScores:
    """Return the scores of ``rows``, one a row: ``groups`` by name of a breakdown, ``values`` float64[B] by metric."""
    return RowScores(row_keys(rows), tuple(row.scene_id for row in rows), groups, values, pooled or {})
