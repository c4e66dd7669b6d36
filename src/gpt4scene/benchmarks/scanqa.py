"""ScanQA: free-form questions about a room, one or more accepted answers each."""

from __future__ import annotations

import random
from collections.abc import Iterable

import numpy as np

from gpt4scene.benchmarks.matching import NO_IMAGES, Made, Rooms, TrainingRow, spoken, wordings
from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow, RowLike, read_rows, row_keys
from gpt4scene.files.raw import Record
from gpt4scene.metrics import exact_match
from gpt4scene.metrics.scores import Report, RowScores
from gpt4scene.metrics.texts import TextGroup, TextScores, score_groups

NAME = "scanqa"
QUESTION_WORDS = ("what", "where", "how", "which", "is", "who")
"""First words by which answers are broken down."""


def text_groups(rows: Iterable[RowLike]) -> dict[str, TextGroup]:
    """Return the texts that BLEU and the like compare: cleaned answers against references as they are."""
    rows = _checked(rows)
    return {
        "": TextGroup(
            tuple(exact_match.clean(exact_match.trim(row.pred)) for row in rows),
            tuple(tuple(text.strip() for text in row.texts) for row in rows),
        )
    }


def report(rows: Iterable[RowLike], texts: dict[str, TextScores]) -> Report:
    """Return the report of ``rows`` with the text metrics already computed (``score_groups(text_groups(rows))``)."""
    rows = _checked(rows)
    cleaned = [exact_match.clean(exact_match.trim(row.pred)) for row in rows]
    pairs = list(zip(cleaned, rows, strict=True))
    hits = [exact_match.exact(text, row.texts) for text, row in pairs]
    near = [exact_match.refined(text, row.texts) for text, row in pairs]
    strict = [
        exact_match.exact(text, [exact_match.clean(exact_match.trim(ref)) for ref in row.texts]) for text, row in pairs
    ]
    scores = {"EM1": sum(hits) / len(rows), "EM1_refined": sum(near) / len(rows), **texts[""].scores}
    scores["strict EM1"] = sum(strict) / len(rows)
    counts = {"answers": len(rows), "empty answers": sum(not text for text in cleaned)}
    values = {"EM1": hits, "EM1_refined": near, "strict EM1": strict, **texts[""].rows}
    by_row = RowScores(
        row_keys(rows),
        tuple(row.scene_id for row in rows),
        {"question": tuple(first_word(row.prompt) for row in rows)},
        {metric: np.array(value, dtype=np.float64) for metric, value in values.items()},
        texts[""].pooled,
    )
    return Report(NAME, scores, counts, texts[""].notes, by_row)


def first_word(question: str) -> str:
    """Return the question's first word in small letters, ``other`` where it is none of ``QUESTION_WORDS``."""
    word = question.strip().partition(" ")[0].lower()
    return word if word in QUESTION_WORDS else "other"


def score(rows: Iterable[RowLike]) -> Report:
    """Return EM1, EM1_refined and the text metrics of ``rows`` (public prediction keys; ``ref_captions``: answers).

    The published rule cleans the prediction and leaves the references as they are; ``strict EM1`` cleans both.
    Raises ``DataError`` for a row that can't be read or has no reference.
    """
    rows = _checked(rows)
    return report(rows, score_groups(text_groups(rows)))


def _checked(rows: Iterable[RowLike]) -> list[AnswerRow]:
    read = read_rows(rows, NAME)
    for row in read:
        if not row.ref_captions:
            raise DataError(f"{row.origin}: 'ref_captions' holds no accepted answer")
    return read


def questions(records: Iterable[Record], rooms: Rooms) -> Made:
    """Return the question-file rows of official ScanQA records (``question_id, question, answers, object_ids``)."""
    made, words = Made(), wordings(NAME)
    for record in records:
        scene = record.text("scene_id")
        if not rooms.images.get(scene):
            made.dropped[NO_IMAGES] += 1
            continue
        objects = record.wholes("object_ids") if "object_ids" in record.values else []
        made.rows.append(
            {
                "scene_id": scene,
                "obj_id": objects[0] if objects else 0,
                "qid": record.values.get("question_id"),
                "prompt": words.choose(None, question=record.text("question")),
                "ref_captions": [str(answer) for answer in record.items("answers")],
            }
        )
    return made


def training(records: Iterable[Record], rooms: Rooms, generator: random.Random) -> Made:
    """Return one training row for every different answer of official ScanQA records."""
    made, words = Made(), wordings(NAME)
    for record in records:
        scene = record.text("scene_id")
        if not rooms.images.get(scene):
            made.dropped[NO_IMAGES] += 1
            continue
        for answer in dict.fromkeys(str(answer).strip() for answer in record.items("answers")):
            if not answer:
                made.dropped["empty answer"] += 1
                continue
            prompt = words.choose(generator, question=record.text("question"))
            made.rows.append(TrainingRow(scene, prompt, spoken(answer)))
    return made
