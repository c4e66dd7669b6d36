"""Beacon-3D: questions about objects and descriptions of them, and training rows in the form of Multi3DRefer.

An object passes when all its questions do, and is found when the finest texts of its three chains are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gpt4scene.benchmarks import beacon3d_grounding as grounding
from gpt4scene.benchmarks import beacon3d_qa as qa
from gpt4scene.benchmarks import multi3dref
from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.benchmark import Benchmark, further_source
from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.object_chains import read_descriptions, read_questions
from gpt4scene.benchmarks.rows import QuestionRow
from gpt4scene.benchmarks.rules import Rules
from gpt4scene.benchmarks.spatial import OVERALL
from gpt4scene.benchmarks.wordings import Prompts
from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow
from gpt4scene.files.named_answers import NamedAnswer
from gpt4scene.files.raw import Record, read_records
from gpt4scene.types import Question

QA_NAME, GROUNDING_NAME = "beacon3d_qa", "beacon3d_grounding"
IOU, LOW_IOU = 0.5, 0.25
"""Least IoU of a marked object's box with one that the description fits."""

SAID = ("response_pred", "answer_pred", "text", "answer_top10", "pred_response", "pred")
"""Columns in which the public script looks for an answer, the first first."""


def read(paths: Sequence[Path]) -> list[Record]:
    """Return the rows of the official file as Multi3DRefer's records; ``DataError`` for a file of other keys."""
    return [_record(record) for record in read_records(paths[0])]


def _record(record: Record) -> Record:
    values = {"scene_id": record.text("scan_id"), "object_ids": record.wholes("target_id")}
    return Record({**values, "description": record.text("utterance")}, record.origin)


def qa_rows(record: Record) -> Iterator[QuestionRow]:
    """Make the row of a question, with its uses under ``source``."""
    identity = record.text("question_id")
    yield {
        "scene_id": record.text("scene_id"),
        "qid": identity,
        "prompt": record.text("question"),
        "ref_captions": record.texts("answers"),
        "type_info": identity.lower().split("_")[-2:][0],
        "source": dict(record.values),
    }


def qa_question_rows(record: Record, scenes: Scenes, prompts: Prompts) -> Iterator[QuestionRow]:
    """Make the row of a question with a prompt that asks for a short answer."""
    for row in qa_rows(record):
        yield {**row, "prompt": prompts.fill(question=row["prompt"])}


def grounding_rows(record: Record) -> Iterator[QuestionRow]:
    """Make the row of a description, with its uses under ``source``."""
    identity = record.text("item_id")
    yield {
        "scene_id": record.text("scene_id"),
        "qid": identity,
        "prompt": record.text("utterance"),
        "ref_captions": record.wholes("target_id"),
        "type_info": identity.lower().split("_")[-1],
        "source": dict(record.values),
    }


def grounding_question_rows(record: Record, scenes: Scenes, prompts: Prompts) -> Iterator[QuestionRow]:
    """Make the row of a description with a prompt that asks for the object's mark."""
    for row in grounding_rows(record):
        yield {**row, "prompt": prompts.fill(description=row["prompt"].rstrip("."))}


def _by_position(rows: Sequence[Record], questions: Sequence[Question], scene_key: str) -> list[tuple[Record, int]]:
    """Return each row with the place of its question: by id where rows have one, else by position.

    As the public scripts do, the questions are taken by scene where the first scenes differ.
    """
    ids: dict[str, list[int]] = {}
    for question in questions:
        ids.setdefault(str(question.qid), []).append(question.index)
    named = [row.values.get("question_id", row.values.get("item_id")) for row in rows]
    if None not in named and list(map(str, named)) != [str(question.qid) for question in questions]:
        for row, name in zip(rows, named, strict=True):
            if len(ids.get(str(name), ())) != 1:
                raise DataError(
                    f"{row.origin}: '{name}' is the id of {len(ids.get(str(name), ())) or 'no'} question(s)"
                )
        return [(row, ids[str(name)][0]) for row, name in zip(rows, named, strict=True)]
    if len(rows) != len(questions):
        raise DataError(
            f"{rows[0].origin}: rows without ids answer the questions in their order, but there are {len(rows)} rows "
            f"and {len(questions)} questions; give each row its 'question_id' or 'item_id'"
        )
    order = list(questions)
    if rows[0].values.get(scene_key, order[0].scene_id) != order[0].scene_id:
        order.sort(key=lambda question: question.scene_id)
    for row, question in zip(rows, order, strict=True):
        scene = row.values.get(scene_key, question.scene_id)
        if scene != question.scene_id:
            raise DataError(
                f"{row.origin}: is about scene '{scene}', but the question at its place about "
                f"'{question.scene_id}'; give each row its 'question_id' or 'item_id'"
            )
    return [(row, question.index) for row, question in zip(rows, order, strict=True)]


def qa_answers(rows: Sequence[Record], questions: Sequence[Question]) -> list[NamedAnswer]:
    """Return the answers of a file as the public script reads it: the first known column, of a list the first."""
    found = []
    for row, place in _by_position(rows, questions, "scene_id"):
        value = next((row.values[key] for key in SAID if key in row.values), None)
        if isinstance(value, list | tuple) and value:
            value = value[0]
        silent = value is None and any(key in row.values for key in SAID)
        if not isinstance(value, str) and not silent:
            raise DataError(
                f"{row.origin}: no text under any of {', '.join(SAID)} (found keys: {', '.join(row.values)})"
            )
        found.append(NamedAnswer(None, place, value, row.origin))
    return found


def grounding_answers(rows: Sequence[Record], questions: Sequence[Question]) -> list[NamedAnswer]:
    """Return the answers of a file as the public script reads it: whether each is ``correct``."""
    found = []
    for row, place in _by_position(rows, questions, "scan_id"):
        value = row.values.get("correct")
        if value not in (True, False):
            raise DataError(f"{row.origin}: 'correct' must be true or false, found {value!r}")
        found.append(NamedAnswer(None, place, "true" if value else "false", row.origin))
    return found


def with_grounding(rows: Sequence[AnswerRow], grounded: Sequence[AnswerRow], annotation: Annotation) -> list[AnswerRow]:
    """Return the answers to questions, each told whether its objects are found in the ``grounded`` answers."""
    known = grounding.grounded_objects(grounded, annotation, IOU)
    found = []
    for row in rows:
        names = [use["entry"] for use in row.official.get("uses", ())]
        flags = {name: known[name] for name in names if name in known}
        found.append(replace(row, source={**row.official, "grounded": flags}))
    return found


def _grounding_rules(name: str, threshold: float) -> dict[str, Any]:
    def report(rows: Sequence[AnswerRow], annotation: Annotation, texts: Mapping[str, Any]) -> Any:
        return grounding.report(rows, annotation, GROUNDING_NAME, threshold)

    says = (
        "figures as the public script has them (beacon-3d/beacon-3d, 2025), which takes right and wrong as given; a "
        f"marked object is right from IoU {threshold} with one that the description fits"
    )
    return {"says": says, "report": report, "judge": partial(grounding.judge, threshold=threshold)}


_OFFICIAL = _grounding_rules("official", IOU)

QA = Benchmark(
    name=QA_NAME,
    title="Beacon-3D QA",
    main_metric=OVERALL,
    raw_files=("metadata_scannet_qa.json",),
    read=read_questions,
    question_rows=qa_question_rows,
    training_rows=None,
    references=qa_rows,
    image_list=f"images_{QA_NAME}_{{split}}.json",
    report=lambda rows, annotation, texts: qa.report(rows, QA_NAME),
    rules="official",
    rules_say="exact match, yes and no, and marks as the public script has them (beacon-3d/beacon-3d, 2025)",
    needs=("source",),
    prompts=("{question} Answer with one word or a short phrase.",),
    judge=qa.judge,
    marking=qa.MARKING,
    public_keys=SAID,
    public_answers=qa_answers,
    beside=GROUNDING_NAME,
    with_beside=with_grounding,
)

GROUNDING = Benchmark(
    name=GROUNDING_NAME,
    title="Beacon-3D grounding",
    main_metric=OVERALL,
    raw_files=("metadata_scannet_grounding.json",),
    about_objects=True,
    read=read_descriptions,
    question_rows=grounding_question_rows,
    training_rows=None,
    references=grounding_rows,
    report=_OFFICIAL["report"],
    rules="official",
    rules_say=_OFFICIAL["says"],
    variants=(Rules("iou_0.25", **_grounding_rules("iou_0.25", LOW_IOU)),),
    needs=("source",),
    prompts=('Which object does this describe? "{description}" Reply with its ID in the form <OBJxxx>.',),
    judge=_OFFICIAL["judge"],
    public_keys=("correct",),
    public_answers=grounding_answers,
)

SOURCE = further_source(
    multi3dref.BENCHMARK, name="beacon3d", title="Beacon-3D", raw_file="scannet_grounding.json", read=read
)
"""Training rows of descriptions, in the form of another benchmark."""
