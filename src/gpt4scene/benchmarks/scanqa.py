"""ScanQA: free-form questions about a scene, one or more accepted answers each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from gpt4scene.benchmarks.benchmark import Benchmark, scores_by_row
from gpt4scene.benchmarks.judging import judge_short_answer
from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.rows import EMPTY, Dropped, QuestionRow, TrainingRow
from gpt4scene.benchmarks.wordings import Prompts, spoken
from gpt4scene.data.templates import ALL_MARKS
from gpt4scene.files.answers import AnswerRow, RowLike, read_rows, require_all, with_references
from gpt4scene.files.raw import Record
from gpt4scene.metrics import exact_match
from gpt4scene.metrics.scores import Report
from gpt4scene.metrics.texts import TextGroup, TextScores, score_groups

NAME = "scanqa"
NEEDS = ("ref_captions",)
"""What an answer needs to be scored."""

SINGLE = ("ref_captions",)
"""Needed, but a row that lacks it is counted and left out."""

QUESTION_WORDS = ("what", "where", "how", "which", "is", "who")
"""First words by which answers are broken down."""


def text_groups(rows: Iterable[RowLike]) -> dict[str, TextGroup]:
    """Return the texts that BLEU and the like compare: cleaned answers against references as they are."""
    rows, _ = _checked(rows)
    return {
        "": TextGroup(
            tuple(exact_match.clean(exact_match.trim(row.pred)) for row in rows),
            tuple(tuple(text.strip() for text in row.texts) for row in rows),
        )
    }


def report(rows: Iterable[RowLike], texts: Mapping[str, TextScores]) -> Report:
    """Return the report of ``rows`` with the text metrics already computed (``score_groups(text_groups(rows))``)."""
    rows, without = _checked(rows)
    cleaned = [exact_match.clean(exact_match.trim(row.pred)) for row in rows]
    pairs = list(zip(cleaned, rows, strict=True))
    hits = [exact_match.exact(text, row.texts) for text, row in pairs]
    near = [exact_match.refined(text, row.texts) for text, row in pairs]
    strict = exact_match.strict_matches(cleaned, [row.texts for row in rows])
    scores = {"EM1": sum(hits) / len(rows), "EM1_refined": sum(near) / len(rows), **texts[""].scores}
    scores |= {metric: sum(right) / len(rows) for metric, right in strict.items()}
    counts = {"answers": len(rows) + without} | ({"questions without a reference": without} if without else {})
    counts["empty answers"] = sum(not exact_match.says_something(text) for text in cleaned)
    values = {"EM1": hits, "EM1_refined": near, **strict, **texts[""].rows}
    questions = {"question": tuple(first_word(row.prompt) for row in rows)}
    arrays = {metric: np.array(value, dtype=np.float64) for metric, value in values.items()}
    by_row = scores_by_row(rows, questions, arrays, texts[""].pooled)
    return Report(NAME, scores, counts, texts[""].notes, by_row)


def first_word(question: str) -> str:
    """Return the question's first word in small letters, ``other`` where it is none of ``QUESTION_WORDS``."""
    word = ALL_MARKS.question(question).strip().partition(" ")[0].lower()
    return word if word in QUESTION_WORDS else "other"


def score(rows: Iterable[RowLike]) -> Report:
    """Return EM1, EM1_refined and the text metrics of ``rows`` (public prediction keys; ``ref_captions``: answers).

    The published rule cleans the prediction and leaves the references as they are; the strict figures clean both.
    Rows without a reference are counted and left out. Raises ``DataError`` for a row that can't be read.
    """
    rows = list(rows)
    return report(rows, score_groups(text_groups(rows)))


def _checked(rows: Iterable[RowLike]) -> tuple[list[AnswerRow], int]:
    """Return the rows that can be scored, and how many have no reference."""
    read = read_rows(rows, NAME)
    require_all(read, NEEDS, SINGLE)
    return with_references(read, NAME)


def question_rows(record: Record, scenes: Scenes, prompts: Prompts) -> Iterator[QuestionRow]:
    """Make one row of an official record (``question_id, question, answers, object_ids``)."""
    objects = record.wholes("object_ids") if "object_ids" in record.values else []
    yield {
        "scene_id": record.text("scene_id"),
        "obj_id": objects[0] if objects else None,
        "qid": record.name("question_id"),
        "prompt": prompts.fill(question=record.text("question")),
        "ref_captions": record.texts("answers"),
    }


def training_rows(record: Record, scenes: Scenes, prompts: Prompts) -> Iterator[TrainingRow | Dropped]:
    """Make one row of every different answer of an official record."""
    for answer in dict.fromkeys(text.strip() for text in record.texts("answers") or [""]):
        if not answer:
            yield Dropped(EMPTY)
            continue
        prompt = prompts.fill(question=record.text("question"))
        yield TrainingRow(record.text("scene_id"), prompt, spoken(answer))


BENCHMARK = Benchmark(
    name=NAME,
    title="ScanQA",
    main_metric="EM1",
    raw_files=("ScanQA_v1.0_{split}.json",),
    question_rows=question_rows,
    training_rows=training_rows,
    text_groups=lambda rows, annotation: text_groups(rows),
    report=lambda rows, annotation, texts: report(rows, texts),
    needs=NEEDS,
    single=SINGLE,
    judge=judge_short_answer,
)
