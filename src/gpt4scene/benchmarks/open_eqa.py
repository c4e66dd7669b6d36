"""OpenEQA: free questions about a walk through a place; a language model marks every answer from 1 to 5."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.benchmark import Benchmark, scores_by_row
from gpt4scene.benchmarks.judging import Judged, Verdict
from gpt4scene.benchmarks.marking import Marking, Message, Prompts, Told, marked
from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.rows import QuestionRow
from gpt4scene.benchmarks.spatial import OVERALL, mean, values_by
from gpt4scene.benchmarks.spatial import Reading as Marks
from gpt4scene.benchmarks.wordings import Prompts as Wordings
from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow, RowLike, read_rows
from gpt4scene.files.raw import Record, read_records
from gpt4scene.metrics.scores import Report

NAME = "open_eqa"
TAG = "Your mark:"
"""What stands before the mark in the judge's words."""

LEAST, MOST = 1, 5
"""Marks beyond these count as these."""

PROMPT, PROMPT_OF_SEVERAL = "mmbench.txt", "mmbench-extra.txt"
_SCANNET = re.compile(r"scene\d{4}_\d{2}")


def read(paths: Sequence[Path]) -> list[Record]:
    """Return the official rows, each with the scene of its episode under ``scene_id``."""
    return [
        Record({**record.values, "scene_id": scene_of(record.text("episode_history"))}, record.origin)
        for path in paths
        for record in read_records(path)
    ]


def scene_of(episode: str) -> str:
    """Return ScanNet's name of the scene of an episode, or the last part of the episode's own name."""
    found = _SCANNET.search(episode)
    return found[0] if found else episode.rstrip("/").rpartition("/")[2]


def references(record: Record) -> Iterator[QuestionRow]:
    """Make the row of an official record (``question_id, question, answer, category, episode_history``)."""
    yield {
        "scene_id": scene_of(record.text("episode_history")),
        "qid": record.text("question_id"),
        "prompt": record.text("question"),
        "ref_captions": [str(record.name("answer")), *map(str, record.values.get("extra_answers") or ())],
        "type_info": record.text("category"),
        "source": {key: value for key, value in record.values.items() if key != "scene_id"},
    }


def question_rows(record: Record, scenes: Scenes, prompts: Wordings) -> Iterator[QuestionRow]:
    """Make the row of an official record with a prompt that asks for a short answer."""
    for row in references(record):
        yield {**row, "prompt": prompts.fill(question=row["prompt"])}


def as_sent(answer: str) -> str:
    """Return an answer as the judge sees it: without what follows its last full stop."""
    end = answer.rfind(".")
    return answer if end < 0 else answer[: end + 1]


def told(row: AnswerRow) -> Told | None:
    """Return what the judge is told; ``None`` for an answer that is null, which has mark 0 unasked."""
    if row.null:
        return None
    official = row.official
    try:
        said = {"question": official["question"], "answer": official["answer"], "prediction": as_sent(row.pred)}
    except KeyError as error:
        raise DataError(f"{row.origin}: the official row has no {error}; give the official file") from None
    several = official.get("extra_answers")
    return said if several is None else {**said, "extra_answers": several}


def messages(prompts: Prompts, said: Told) -> list[Message]:
    """Return the one message of the user, by the prompt for one accepted answer or for several."""
    return prompts.fill(PROMPT_OF_SEVERAL if "extra_answers" in said else PROMPT, said)


def read_mark(output: str) -> int | None:
    """Return the mark in a judge's words; ``None`` where the public script stops.

    Digits alone are the mark, else the whole number between the first ``Your mark:`` and the end of its line.
    """
    if not output.isdigit():
        start = output.find(TAG)
        if start < 0:
            return None
        output = output[start:].partition("\n")[0].replace(TAG, "")
    try:
        return int(output)
    except ValueError:
        return None


MARKING = Marking(
    told=told,
    prompts={
        PROMPT: "52d45f6ab14192af88903d43f2d83f83f1a77b5b6350e9878a8e2fdb640e1cdf",
        PROMPT_OF_SEVERAL: "6bd42d3f018277b8cded4b94892032cae1dd828d6a09d64918475b4530c7ce67",
    },
    messages=messages,
    read=read_mark,
    fields=("question", "answer", "prediction", "extra_answers"),
    settings={"temperature": 0.2, "seed": 1234, "max_tokens": 32},
    model="gpt-4-1106-preview",
)


def score_of(mark: int) -> float:
    """Return what a mark is worth, 0 to 1."""
    return (min(max(mark, LEAST), MOST) - LEAST) / (MOST - LEAST)


def final_score(marks: Iterable[int]) -> float:
    """Return the public figure, 0 to 100: the mean over all ``marks`` of a file, those of other questions included."""
    return float(np.mean([100.0 * score_of(mark) for mark in marks]))


def mark_of(row: AnswerRow) -> int | None:
    """Return the mark of an answer, ``None`` where there is none; without any, 0 where the answer is null."""
    return row.judged.mark if row.judged else 0 if row.null else None


def report(rows: Iterable[RowLike]) -> Report:
    """Return the report of ``rows`` that have their official row under ``source`` and their mark under ``judged``.

    Answers without a mark are counted and left out of the figures; without any mark there are none.
    """
    read = read_rows(rows, NAME, ("source",))
    known = marked(read, MARKING, NAME)
    marks = [mark_of(row) for row in read]
    readings = [Marks(mark, None if mark is None else score_of(mark)) for mark in marks]
    categories = [str(row.official.get("category", row.type_info)) for row in read]
    places = [str(row.official.get("episode_history", "unknown")).partition("/")[0] for row in read]
    score_B = np.array([math.nan if one.score is None else one.score for one in readings], dtype=np.float64)
    values = {OVERALL: score_B, **values_by(categories, readings), **values_by(places, readings)}
    values = {name: value_B for name, value_B in values.items() if not np.isnan(value_B).all()}
    if not known.parts and all(mark is None or row.null for mark, row in zip(marks, read, strict=True)):
        values = {} if known.counts["answers that a judge marks"] else values
    said = [mark for mark in marks if mark is not None]
    public = {"final_score": final_score(said)} if known.complete else {}
    empty = sum(not row.pred.strip() for row in read)
    by_row = scores_by_row(read, {"type": tuple(categories), "dataset": tuple(places)}, values)
    return Report(
        NAME,
        {name: mean(value_B) for name, value_B in values.items()},
        {"answers": len(read), "empty answers": empty, **known.counts},
        (*known.notes, *_null(read)),
        by_row,
        warnings=known.warnings,
        public=public,
        parsed=tuple(marks),
        signature_parts=known.parts,
    )


def _null(rows: Sequence[AnswerRow]) -> tuple[str, ...]:
    null = sum(row.null for row in rows)
    return (f"{null:,} answers are null: mark 0 without a judge",) if null else ()


def judge(row: AnswerRow, figures: Mapping[str, float], annotation: Annotation) -> Judged:
    """Return the verdict by the mark: 5 is right, 2 to 4 partly right, less wrong; none without a mark."""
    mark = mark_of(row)
    if mark is None:
        reason = "no mark yet" if row.judged is None else f"no mark in the judge's words '{row.judged.text}'"
        return Judged(row, "", reason, tuple(row.texts))
    score = score_of(mark)
    verdict: Verdict = "right" if score >= 1 else "partly" if score > 0 else "wrong"
    sent = "" if row.null or as_sent(row.pred) == row.pred else f"; the judge saw '{as_sent(row.pred)}'"
    reason = "no answer (null)" if row.null and not row.judged else f"mark {mark}{sent}"
    return Judged(row, verdict, reason, tuple(row.texts))


BENCHMARK = Benchmark(
    name=NAME,
    title="OpenEQA",
    main_metric=OVERALL,
    raw_files=("open-eqa-v0.json",),
    read=read,
    question_rows=question_rows,
    training_rows=None,
    references=references,
    image_list=f"images_{NAME}_{{split}}.json",
    report=lambda rows, annotation, texts: report(rows),
    rules="official",
    rules_say="the mean of marks from 1 to 5 as the public script has it (facebookresearch/open-eqa, 2024)",
    needs=("source",),
    prompts=("{question} Answer with one word or a short phrase.",),
    judge=judge,
    marking=MARKING,
)
