"""SQA3D: questions from a described place in a scene, one answer each, six question types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gpt4scene.benchmarks.benchmark import PUBLISHED_RULES, Benchmark, scores_by_row
from gpt4scene.benchmarks.comparing import (
    AS_CHAT_SCENE_BOTH,
    AS_LLAVA_3D,
    CLEANED_ONLY,
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
from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow, RowLike, read_rows, require_all, with_references
from gpt4scene.files.raw import Record, read_records
from gpt4scene.metrics.scores import Report
from gpt4scene.metrics.texts import TextGroup, TextScores, score_groups

NAME = "sqa3d"
NEEDS = ("ref_captions", "type_info")
"""What an answer needs to be scored."""

SINGLE = ("ref_captions",)
"""Needed, but a row that lacks it is counted and left out."""

TYPES = ("what", "is", "how", "can", "which", "other")
"""Question types; a type's position is its number in ``sqa_type``."""

VAL_QUESTIONS = 3261
"""Questions of the val split; test has 3,519."""

_COUNT_START = 1e-10
"""The public scorer starts its counts of questions per type here; figures carry it."""


WAYS = {
    PUBLISHED_RULES: AS_CHAT_SCENE_BOTH,
    RAW: CLEANED_ONLY,
    STRICT: STRICTLY,
    LLAVA3D: replace(AS_LLAVA_3D, said=None),
}
"""Name of rules -> how answers are compared under them."""

SAYS = {
    PUBLISHED_RULES: "Answers and references are cleaned and types go by a question's first letters, as in "
    "Chat-Scene's scorer and the public GPT4Scene one (April 2025).",
    RAW: "Answers and references are cleaned alike and exact match alone is counted, as in Video-3D-LLM's scorer "
    "(June 2025), which 3DRS shares.",
    STRICT: "Answers and references are cleaned alike, EM1_refined compares whole words, and types are plain means; "
    "our own.",
    LLAVA3D: "Answers and references are cleaned alike, types go by a question's whole first word (What's is other), "
    "and an empty answer counts in EM1_refined, as in LLaVA-3D's scorer (October 2025), which 3D-LLaVA shares.",
}


def text_groups(rows: Iterable[RowLike], rules: str = PUBLISHED_RULES) -> dict[str, TextGroup]:
    """Return the texts that BLEU and the like compare under ``rules``; none where these have exact match alone."""
    rows, _ = _checked(rows)
    return texts_of(rows, WAYS[checked_name(rules, WAYS, NAME)])


def report(rows: Iterable[RowLike], texts: Mapping[str, TextScores], rules: str = PUBLISHED_RULES) -> Report:
    """Return the report of ``rows`` with the text metrics already computed (``score_groups(text_groups(rows))``)."""
    rows, without = _checked(rows)
    changed, found = Changed(), texts.get("", TextScores({}, {}))
    values = matches(rows, WAYS[checked_name(rules, WAYS, NAME)], changed)
    strict = {}
    if rules == PUBLISHED_RULES:
        strict = {f"strict {name}": right_B for name, right_B in matches(rows, STRICTLY, changed).items()}
    kind_B, unsure = _kinds(rows, by_first_word=rules == LLAVA3D)
    scores = {name: float(right_B.mean()) for name, right_B in values.items()}
    counts = {"answers": len(rows) + without} | ({"questions without a reference": without} if without else {})
    counts["empty answers"] = empty_answers(rows, changed)
    start = _COUNT_START if rules in (PUBLISHED_RULES, LLAVA3D) else 0.0
    for kind, name in enumerate(TYPES):
        members_B = kind_B == kind
        counts[f"type{kind} ({name})"] = int(members_B.sum())
        if members_B.any():
            for metric, right_B in values.items():
                label = metric.replace("EM1", "EM")
                scores[f"{label}_type{kind}"] = float(right_B[members_B].sum() / (members_B.sum() + start))
    scores |= found.scores | {name: float(right_B.mean()) for name, right_B in strict.items()}
    notes = (*found.notes, *unsure)
    kinds = {"question": tuple(TYPES[kind] for kind in kind_B)}
    by_row = scores_by_row(rows, kinds, {**values, **strict, **found.rows}, found.pooled)
    return Report(NAME, scores, counts, notes, by_row, rules=rules)


def score(rows: Iterable[RowLike], rules: str = PUBLISHED_RULES) -> Report:
    """Return EM1, EM1_refined, both per question type, and the text metrics of ``rows`` (public prediction keys).

    ``type_info`` is the number of the question's type (``TYPES``); a type without questions has no figure. ``rules`` is
    one of ``WAYS``. Rows without a reference are counted and left out. Raises ``DataError`` for a row that can't be
    read or has an unknown type, ``ConfigError`` for unknown rules.
    """
    rows = list(rows)
    groups = text_groups(rows, rules)
    return report(rows, score_groups(groups) if groups else {}, rules)


def _checked(rows: Iterable[RowLike]) -> tuple[list[AnswerRow], int]:
    """Return the rows that can be scored, and how many have no reference."""
    read = read_rows(rows, NAME)
    require_all(read, NEEDS, SINGLE)
    for row in read:
        _kind(row)
    return with_references(read, NAME)


def _kind(row: AnswerRow) -> int:
    """Return the number of the question's type, however it is written; raise ``DataError`` for any other value."""
    said = row.type_info
    text = str(int(said)) if isinstance(said, float) and said.is_integer() else str(said).strip()
    if text not in {str(kind) for kind in range(len(TYPES))}:
        raise DataError(f"{row.origin}: 'type_info' must be 0 to {len(TYPES) - 1}, found {said!r}")
    return int(text)


def _kinds(rows: Sequence[AnswerRow], *, by_first_word: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the number of each question's type, int[B], and a note where it could not be told ``by_first_word``."""
    kinds = [_kind(row) for row in rows]
    if not by_first_word:
        return np.array(kinds), ()
    other = len(TYPES) - 1
    pairs = list(zip(rows, kinds, strict=True))
    whole = [True if kind == other else starts_with_word(row.prompt, TYPES[kind]) for row, kind in pairs]
    unsure = sum(one is None for one in whole)
    note = f"the first word of {unsure} questions could not be told from their prompts; their types go by first letters"
    told = [other if one is False else kind for one, kind in zip(whole, kinds, strict=True)]
    return np.array(told), (note,) * bool(unsure)


def starts_with_word(prompt: str, word: str) -> bool | None:
    """Return whether the question in ``prompt``, which starts with the letters of ``word``, starts with that word.

    ``None`` where it can't be told: the prompt holds the situation too, and perhaps an instruction. The question is
    the last sentence with these first letters; where none starts so, all words that do must agree.
    """
    letters = re.escape(word)
    found = re.findall(rf"(?:^|[.!?:\"\n])\s*({letters}[^\s?]*)", prompt, re.IGNORECASE)
    if found:
        return found[-1].lower() == word
    anywhere = {said.lower() == word for said in re.findall(rf"(?<!\S)({letters}[^\s?]*)", prompt, re.IGNORECASE)}
    return anywhere.pop() if len(anywhere) == 1 else None


def question_type(question: str) -> int:
    """Return the number of the type that the question's first letters name (``TYPES``), 5 for other."""
    start = question.strip().lower()
    return next((kind for kind, word in enumerate(TYPES[:-1]) if start.startswith(word)), len(TYPES) - 1)


def type_of_prompt(prompt: str) -> int:
    """Return the type of the question in a prompt: of its last sentence that asks, else of its last one."""
    sentences = re.split(r"(?<=[.!?:])\s+|[\n\"]+", prompt.strip())
    asking = [sentence for sentence in sentences if sentence.rstrip().endswith("?")]
    return question_type((asking or sentences)[-1])


def joined(questions: Iterable[Record], annotations: Iterable[Record]) -> list[Record]:
    """Return the records of the official question file with ``answers`` from the annotation file, by question id.

    Raises ``DataError`` for a question without id or annotation, an id that stands twice in either file, and an
    annotation about another scene.
    """
    found, asked = _by_id(annotations), _by_id(questions)
    records = []
    for key, record in asked.items():
        if key not in found:
            raise DataError(
                f"{record.origin}: question {key} has no answers in the annotation file of the same split; download "
                "both files again"
            )
        answer = found[key]
        scenes = (record.values.get("scene_id"), answer.values.get("scene_id"))
        if scenes[1] is not None and scenes[0] != scenes[1]:
            raise DataError(
                f"{answer.origin}: question {key} is about scene '{scenes[1]}' here, and about '{scenes[0]}' in "
                f"{record.origin}; download both files again"
            )
        said = [one.get("answer") if isinstance(one, dict) else one for one in answer.items("answers")]
        checked = Record({"answers": said}, answer.origin).texts("answers")
        records.append(Record({**record.values, "answers": checked}, record.origin))
    return records


def _by_id(records: Iterable[Record]) -> dict[str | int | float, Record]:
    found: dict[str | int | float, Record] = {}
    for record in records:
        key = record.name("question_id")
        if key is None:
            raise DataError(f"{record.origin}: 'question_id' is missing, by which questions find their answers")
        if key in found:
            raise DataError(f"{record.origin}: 'question_id' is {key!r}, as in {found[key].origin}; remove one")
        found[key] = record
    return found


def question_rows(record: Record, scenes: Scenes, prompts: Prompts) -> Iterator[QuestionRow]:
    """Make one row of a joined record, with its first situation."""
    question = record.text("question")
    yield {
        "scene_id": record.text("scene_id"),
        "obj_id": 0,
        "qid": record.name("question_id"),
        "prompt": prompts.fill(situation=record.text("situation"), question=question),
        "ref_captions": record.texts("answers"),
        "sqa_type": question_type(question),
    }


def training_rows(record: Record, scenes: Scenes, prompts: Prompts) -> Iterator[TrainingRow | Dropped]:
    """Make one row of a joined record, its situation drawn from the record's versions of it."""
    answer = next((text for text in record.texts("answers") if text.strip()), "")
    if not answer:
        yield Dropped(EMPTY)
        return
    others = record.values.get("alternative_situation")
    situations = [record.text("situation"), *(record.texts("alternative_situation") if others else ())]
    situation = prompts.choice([text.strip() for text in situations if text.strip()])
    prompt = prompts.fill(situation=situation, question=record.text("question"))
    yield TrainingRow(record.text("scene_id"), prompt, spoken(answer))


def published_split(report: Report) -> str:
    """Return the split that was asked, told by its size: papers report test, and val is smaller."""
    asked = report.counts["answers"] + report.counts.get("missing questions", 0)
    return "test" if asked > VAL_QUESTIONS else "val"


def _judge(rules: str) -> Judge:
    return short_answer_judge(WAYS[rules].answer, WAYS[rules].reference)


def _rules(name: str) -> Rules:
    texts = (lambda rows, annotation: text_groups(rows, name)) if WAYS[name].said else None
    return Rules(name, SAYS[name], lambda rows, annotation, texts: report(rows, texts, name), texts, judge=_judge(name))


BENCHMARK = Benchmark(
    name=NAME,
    title="SQA3D",
    main_metric="EM1",
    raw_files=("v1_balanced_questions_{split}_scannetv2.json", "v1_balanced_sqa_annotations_{split}_scannetv2.json"),
    read=lambda paths: joined(read_records(paths[0], "questions"), read_records(paths[1], "annotations")),
    type_key="sqa_type",
    type_of=type_of_prompt,
    question_rows=question_rows,
    training_rows=training_rows,
    text_groups=lambda rows, annotation: text_groups(rows),
    report=lambda rows, annotation, texts: report(rows, texts),
    needs=NEEDS,
    single=SINGLE,
    judge=_judge(PUBLISHED_RULES),
    published_split=published_split,
    rules_say=SAYS[PUBLISHED_RULES],
    variants=tuple(map(_rules, (RAW, STRICT, LLAVA3D))),
)
