"""Spatial benchmarks: official rows with one true answer each, read and counted as the public scorers do.

One line: official row -> ``Asked`` (a question) -> answer -> ``Reading`` (parsed, score) -> ``Figures``. A benchmark
file states the first function and its ``Variant`` values, one for each public scorer; the first is the default.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.benchmark import Benchmark, ReadRecords, scores_by_row
from gpt4scene.benchmarks.judging import Judge, Judged, Verdict
from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.rows import QuestionRow
from gpt4scene.benchmarks.rules import Rules
from gpt4scene.benchmarks.wordings import Prompts
from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow, RowLike, read_rows
from gpt4scene.files.raw import Record
from gpt4scene.metrics.scores import Pooled, Report, Scores
from gpt4scene.metrics.texts import TextScores

Official = Mapping[str, Any]
"""An official row: its columns and their values. A column that is not there raises ``DataError`` with its place."""


class _Row(dict[str, Any]):
    """The columns of an official row; ``origin`` names its file and row."""

    def __init__(self, row: AnswerRow) -> None:
        super().__init__(row.official)
        self.origin = row.origin

    def __missing__(self, key: str) -> Any:
        raise DataError(
            f"{self.origin}: the official row has no '{key}' (found keys: {', '.join(map(str, self)) or 'none'}); it "
            "comes from the official file, by way of the question file or the predictions"
        )


OVERALL = "overall"
"""The figure that sums a spatial benchmark up."""


@dataclass(frozen=True)
class Asked:
    """An official row as a question: what is shown, asked and true.

    ``scene_id`` is the scene or the set of images that questions share. ``images`` are the row's own, as the official
    file names them, where it brings any.
    """

    scene_id: str
    prompt: str
    truth: str
    kind: str
    qid: str | int | None = None
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What a scorer took out of an answer, and what it gives for it.

    ``parsed`` is ``None`` where nothing could be read, ``score`` is 0 to 1, ``None`` where no rule decides.
    ``unreadable`` says that ``parsed`` is what stood in the answer but nothing that was asked for, such as a word in
    place of a number. ``why`` says in a few words what the score comes from, where it is not plain equality.
    """

    parsed: object
    score: float | None
    unreadable: bool = field(default=False, kw_only=True)
    why: str = field(default="", kw_only=True)

    @property
    def read(self) -> bool:
        """Whether the answer holds what was asked for."""
        return self.parsed is not None and not self.unreadable


@dataclass(frozen=True)
class Figures:
    """What a scorer makes of all readings.

    ``scores`` are 0 to 1 under our names, alike for all variants of a benchmark. ``public`` are the same figures under
    the names and in the units of the public scorer. ``values`` are the rows' values float64[B] of those scores that
    are means over rows (NaN: does not count), ``pooled`` those that are not: intervals come from both.
    """

    scores: Scores
    public: Mapping[str, float | str]
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    pooled: Mapping[str, Pooled] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variant:
    """A public scorer: its name in ``--rules``, a sentence with its source, how it reads one row and counts all."""

    name: str
    says: str
    read: Callable[[Official, str], Reading]
    figures: Callable[[Sequence[Official], Sequence[Reading]], Figures]


def column(official: Official, key: str) -> str:
    """Return the value under ``key`` of an official row as a text; ``DataError`` where there is none."""
    value = official.get(key)
    if value is None:
        raise DataError(f"the official row has no '{key}' (found keys: {', '.join(map(str, official))})")
    return str(value)


def values_by(groups: Sequence[str], readings: Sequence[Reading]) -> dict[str, np.ndarray]:
    """Return ``group -> float64[B]``: the scores of its rows, NaN elsewhere; groups in the order they first occur."""
    scores_B = np.array([math.nan if one.score is None else one.score for one in readings], dtype=np.float64)
    groups_B = np.array(groups, dtype=object)
    return {group: np.where(groups_B == group, scores_B, math.nan) for group in dict.fromkeys(groups)}


def mean(value_B: np.ndarray) -> float:
    """Return the mean of the rows that count; NaN where none does."""
    kept = value_B[~np.isnan(value_B)]
    return float(kept.mean()) if len(kept) else math.nan


def pooled_means(values: Mapping[str, np.ndarray], combine: Callable[[Mapping[str, np.ndarray]], np.ndarray]) -> Pooled:
    """Return the pooled figure that ``combine`` makes of the means of ``values`` (float64[...] each, NaN: no row)."""
    names = list(values)
    stacked_BT = np.stack([values[name] for name in names], axis=1)
    there_BT = ~np.isnan(stacked_BT)
    statistics_BS = np.concatenate([np.where(there_BT, stacked_BT, 0.0), there_BT.astype(np.float64)], axis=1)

    def score(sums: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            means = sums[..., : len(names)] / sums[..., len(names) :]
        return combine({name: means[..., place] for place, name in enumerate(names)})

    return Pooled(statistics_BS, score)


def spatial_benchmark(
    *,
    name: str,
    title: str,
    raw_files: tuple[str, ...],
    asked: Callable[[Record], Asked],
    variants: Sequence[Variant],
    read: ReadRecords | None = None,
    left_out: Iterable[str] = (),
    own_images: bool = False,
    **more: Any,
) -> Benchmark:
    """Return the benchmark that the functions describe; ``more`` are further fields of ``Benchmark``.

    ``left_out`` are columns of the official row that neither prompt nor score needs, such as the bytes of images.
    """
    first, *others = [_rules(name, variant) for variant in variants]
    dropped = frozenset(left_out)

    def references(record: Record) -> Iterator[QuestionRow]:
        question = asked(record)
        yield {
            "scene_id": question.scene_id,
            "qid": question.qid,
            "prompt": question.prompt,
            "ref_captions": [question.truth],
            "type_info": question.kind,
            "source": {key: value for key, value in record.values.items() if key not in dropped},
        }

    def question_rows(record: Record, scenes: Scenes, prompts: Prompts) -> Iterator[QuestionRow]:
        return references(record)

    fields: dict[str, Any] = {} if read is None else {"read": read}
    return Benchmark(
        name=name,
        title=title,
        main_metric=OVERALL,
        raw_files=raw_files,
        question_rows=question_rows,
        training_rows=None,
        references=references,
        report=first.report,
        judge=first.judge,
        rules=first.name,
        rules_say=first.says,
        variants=tuple(others),
        needs=("source",),
        prompts=("{question}",),
        own_images=own_images,
        reads_thoughts=True,
        image_list=f"images_{name}_{{split}}.json",
        **fields,
        **more,
    )


def _rules(name: str, variant: Variant) -> Rules:
    def report(rows: Sequence[AnswerRow], annotation: Annotation, texts: Mapping[str, TextScores]) -> Report:
        return spatial_report(name, variant, rows)

    return Rules(variant.name, variant.says, report, judge=_judge(variant))


def spatial_report(name: str, variant: Variant, rows: Iterable[RowLike]) -> Report:
    """Return the report of ``rows`` as ``variant`` counts them; each row has its official row under ``source``."""
    read = read_rows(rows, name, ("source",))
    officials = [_Row(row) for row in read]
    readings = [read_answer(variant, row) for row in read]
    figures = variant.figures(officials, readings)
    counts = {"answers": len(read), "unreadable answers": sum(not one.read for one in readings)}
    score_B = np.array([math.nan if one.score is None else one.score for one in readings], dtype=np.float64)
    kinds = {"type": tuple(str(row.type_info) for row in read)}
    by_row = scores_by_row(read, kinds, {"score": score_B, **figures.values}, figures.pooled)
    return Report(
        name,
        figures.scores,
        counts | dict(figures.counts),
        figures.notes,
        by_row,
        public=figures.public,
        rules=variant.name,
        parsed=tuple(one.parsed for one in readings),
    )


def read_answer(variant: Variant, row: AnswerRow) -> Reading:
    """Return what ``variant`` reads in the answer of ``row``; ``DataError`` naming the row where it can't be scored."""
    try:
        return variant.read(_Row(row), row.pred)
    except DataError as error:
        said = str(error)
        raise DataError(said if said.startswith(row.origin) else f"{row.origin}: {said}") from None


def _judge(variant: Variant) -> Judge:
    def judge(row: AnswerRow, figures: Mapping[str, float], annotation: Annotation) -> Judged:
        reading = read_answer(variant, row)
        score = math.nan if reading.score is None else reading.score
        verdict: Verdict = "" if math.isnan(score) else "right" if score >= 1 else "partly" if score > 0 else "wrong"
        truth = tuple(row.texts)
        offered = _options_of(row.official, truth)
        compared = truth if offered != truth else None
        if reading.parsed is None:
            said = "; ".join(filter(None, ["nothing could be read", reading.why]))
            return Judged(row, verdict, said, offered, compared=compared)
        reason = reading.why or ("not what was asked for" if reading.unreadable else "")
        return Judged(row, verdict, reason, offered, str(reading.parsed), compared)

    return judge


def _options_of(official: Official, truth: tuple[str, ...]) -> tuple[str, ...]:
    """Return the true letters with the options that they stand for, where the row lists its options."""
    options = official.get("options")
    listed = [str(option) for option in options] if isinstance(options, list) else []
    return tuple(next((option for option in listed if option.startswith(f"{letter}.")), letter) for letter in truth)
