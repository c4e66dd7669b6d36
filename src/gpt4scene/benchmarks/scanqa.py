"""ScanQA: free-form questions about a scene, one or more accepted answers each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gpt4scene.benchmarks.benchmark import PUBLISHED_RULES, Benchmark, scores_by_row
from gpt4scene.benchmarks.comparing import (
    AS_CHAT_SCENE,
    AS_LLAVA_3D,
    AS_VIDEO_3D_LLM,
    LLAVA3D,
    RAW,
    STRICT,
    STRICTLY,
    Changed,
    checked_name,
    empty_answers,
    matches,
    texts_of,
)
from gpt4scene.benchmarks.judging import Judge, short_answer_judge
from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.rows import EMPTY, Dropped, QuestionRow, TrainingRow
from gpt4scene.benchmarks.rules import Rules
from gpt4scene.benchmarks.wordings import Prompts, spoken
from gpt4scene.data.templates import ALL_MARKS
from gpt4scene.files.answers import AnswerRow, RowLike, read_rows, require_all, with_references
from gpt4scene.files.raw import Record
from gpt4scene.metrics.scores import Report
from gpt4scene.metrics.texts import TextGroup, TextScores, score_groups

NAME = "scanqa"
NEEDS = ("ref_captions",)
"""What an answer needs to be scored."""

SINGLE = ("ref_captions",)
"""Needed, but a row that lacks it is counted and left out."""

QUESTION_WORDS = ("what", "where", "how", "which", "is", "who")
"""First words by which answers are broken down."""


WAYS = {
    PUBLISHED_RULES: AS_CHAT_SCENE,
    RAW: AS_VIDEO_3D_LLM,
    STRICT: STRICTLY,
    LLAVA3D: AS_LLAVA_3D,
}
"""Name of rules -> how answers are compared under them."""

SAYS = {
    PUBLISHED_RULES: "Answers are cleaned and references are not, as in Chat-Scene's scorer and the public GPT4Scene "
    "one (April 2025).",
    RAW: "Nothing is cleaned: an answer is right if it is an accepted one letter by letter, and words end at spaces, "
    "as in Video-3D-LLM's scorer (June 2025), which 3DRS and Spatial-MLLM share.",
    STRICT: "Answers and references are cleaned alike for all figures, and EM1_refined compares whole words; our own.",
    LLAVA3D: "Answers and references are cleaned alike, and an empty answer counts in EM1_refined, as in LLaVA-3D's "
    "scorer (October 2025), which 3D-LLaVA shares.",
}


def text_groups(rows: Iterable[RowLike], rules: str = PUBLISHED_RULES) -> dict[str, TextGroup]:
    """Return the texts that BLEU and the like compare under ``rules``."""
    rows, _ = _checked(rows)
    return texts_of(rows, WAYS[checked_name(rules, WAYS, NAME)])


def report(rows: Iterable[RowLike], texts: Mapping[str, TextScores], rules: str = PUBLISHED_RULES) -> Report:
    """Return the report of ``rows`` with the text metrics already computed (``score_groups(text_groups(rows))``)."""
    rows, without = _checked(rows)
    changed = Changed()
    values = matches(rows, WAYS[checked_name(rules, WAYS, NAME)], changed)
    strict = {}
    if rules == PUBLISHED_RULES:
        strict = {f"strict {name}": right_B for name, right_B in matches(rows, STRICTLY, changed).items()}
    scores = {name: float(right_B.mean()) for name, right_B in values.items()} | texts[""].scores
    scores |= {name: float(right_B.mean()) for name, right_B in strict.items()}
    counts = {"answers": len(rows) + without} | ({"questions without a reference": without} if without else {})
    counts["empty answers"] = empty_answers(rows, changed)
    questions = {"question": tuple(first_word(row.prompt) for row in rows)}
    by_row = scores_by_row(rows, questions, {**values, **strict, **texts[""].rows}, texts[""].pooled)
    return Report(NAME, scores, counts, texts[""].notes, by_row, rules=rules)


def first_word(question: str) -> str:
    """Return the question's first word in small letters, ``other`` where it is none of ``QUESTION_WORDS``."""
    word = ALL_MARKS.question(question).strip().partition(" ")[0].lower()
    return word if word in QUESTION_WORDS else "other"


def score(rows: Iterable[RowLike], rules: str = PUBLISHED_RULES) -> Report:
    """Return EM1, EM1_refined and the text metrics of ``rows`` (public prediction keys; ``ref_captions``: answers).

    ``rules`` is one of ``WAYS``; the raw ones have no EM1_refined. Rows without a reference are counted and left out.
    Raises ``DataError`` for a row that can't be read, ``ConfigError`` for unknown rules.
    """
    rows = list(rows)
    return report(rows, score_groups(text_groups(rows, rules)), rules)


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


def _judge(rules: str) -> Judge:
    return short_answer_judge(WAYS[rules].answer, WAYS[rules].reference)


def _rules(name: str) -> Rules:
    return Rules(
        name,
        SAYS[name],
        text_groups=lambda rows, annotation: text_groups(rows, name),
        report=lambda rows, annotation, texts: report(rows, texts, name),
        judge=_judge(name),
    )


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
    judge=_judge(PUBLISHED_RULES),
    rules_say=SAYS[PUBLISHED_RULES],
    variants=tuple(map(_rules, (RAW, STRICT, LLAVA3D))),
)
