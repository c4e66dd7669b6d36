"""Answers as everybody has them: the id of a question, and what was said to it, in JSON, JSON lines, CSV, TSV, parquet.

``{id: answer}`` in one object, or rows with a column of each. Which names columns have stands in the tables here and
nowhere else. Rows with ``scene_id`` and ``pred`` are of the public form, which ``files.predictions`` reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.files.raw import Record, read_official
from gpt4scene.files.whole import read_json

PLACES = ("index", "doc_id")
"""Columns that hold the place of the question in its file, counted from 0."""

IDS = ("qid", "question_id", "item_id", "sample_id", "uid", "id")
"""Columns that hold the question's own id."""

PARTS = ("scene_id", "object_id", "ann_id")
"""Columns that make up the id where there is none of ``IDS``: those of them that are there, joined by ``_``."""

BOXES = ("pred_box", "pred_boxes", "pred_bbox", "pred_bboxes", "box", "boxes", "bbox", "bboxes")
"""Columns that hold boxes as the answer, in the forms of ``metrics.answer_boxes``."""

SCORES = ("scores", "pred_scores", "confidences", "score", "confidence")
"""Columns that hold how sure the model was of each of the boxes beside them."""

ANSWERS = (
    *BOXES,
    *("prediction", "pred", "predicted_answer", "model_prediction", "pred_response", "pred_answer", "answer_pred"),
    *("response", "model_response", "output", "model_output", "generated_text", "generation", "model_answer"),
    *("filtered_resps", "cogmap_gen_answer"),
)
"""Columns that hold what a model said and nothing else. A row may have one of them."""

DOUBTFUL = ("text", "answer")
"""Columns that hold what a model said in some files and the truth in others; taken where no better one is there."""

BEHIND = {
    "resps": "filtered_resps",
    "cogmap_answer": "cogmap_gen_answer",
}
"""Column -> the better one beside which it is not read; alone it is as good."""

SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".parquet")
"""Files that can hold answers."""

_SHOWN = 6


@dataclass(frozen=True)
class NamedAnswer:
    """One answer: ``qid`` or the ``place`` of its question in the file, and the ``value`` that stands there.

    ``value`` is a text, a number, a list, or ``None`` where nothing was said. ``origin`` names file and row. ``scores``
    say how sure the model was of each of several boxes.
    """

    qid: str | int | float | None
    place: int | None
    value: Any
    origin: str
    scores: tuple[float, ...] | None = None


@dataclass(frozen=True)
class NamedAnswers:
    """The answers of one file, and sentences about how it was read."""

    rows: list[NamedAnswer]
    notes: tuple[str, ...] = ()


def read_named(path: Path) -> NamedAnswers:
    """Return the answers in ``path``. ``DataError`` says which columns were wanted and which are there."""
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: answers can't be read from '{path.suffix}' files; write {', '.join(SUFFIXES)}")
    if path.suffix.lower() == ".json":
        content = read_json(path, "file of predictions")
        if isinstance(content, dict):
            return NamedAnswers(_by_id(content, str(path)))
    return named_in(read_official(path), str(path))


def named_of(answers: Mapping[Any, Any] | Iterable[Mapping[str, Any]], name: str) -> NamedAnswers:
    """Return ``{id: answer}``, or rows with a column of each, as answers; ``name`` stands for the file in errors."""
    if isinstance(answers, Mapping):
        return NamedAnswers(_by_id(answers, name))
    rows = list(answers)
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise DataError(f"{name}, row {number}: expected an object with keys, found a {type(row).__name__}")
    return named_in([Record(row, f"{name}, row {number}") for number, row in enumerate(rows)], name)


def is_public(row: Mapping[str, Any]) -> bool:
    """Return whether a row is of the public form: it has ``scene_id``, and ``pred`` or else nothing that names it."""
    return "scene_id" in row and ("pred" in row or not any(column in row for column in (*PLACES, *IDS, *PARTS[1:])))


def _by_id(content: Mapping[Any, Any], name: str) -> list[NamedAnswer]:
    if not content:
        raise DataError(f"{name}: holds no answers")
    columns = {*PLACES, *IDS, *PARTS}
    is_row = columns & content.keys() and {*ANSWERS, *DOUBTFUL} & content.keys()
    rows_inside = any(isinstance(value, list) and value and isinstance(value[0], Mapping) for value in content.values())
    if is_row or rows_inside:
        raise DataError(f"{name}: found a dict with the keys {_some(content)}; write the rows as one list")
    rows = []
    for key, value in content.items():
        if isinstance(value, Mapping) and any(column in value for column in BOXES):
            rows.append(_boxes(key, value, f"{name}, '{key}'"))
            continue
        if isinstance(value, Mapping):
            raise DataError(
                f"{name}, '{key}': the answer is an object with the keys {_some(value)}; write {{id: answer}}, or a "
                "list of rows"
            )
        rows.append(NamedAnswer(key, None, _plain(value, f"{name}, '{key}'"), f"{name}, '{key}'"))
    return rows


def _boxes(key: Any, value: Mapping[Any, Any], origin: str) -> NamedAnswer:
    """Return the answer of an object that holds boxes, and their scores where it has any."""
    columns = [column for column in BOXES if column in value]
    scored = [column for column in SCORES if column in value]
    if len(columns) > 1 or len(scored) > 1:
        raise DataError(f"{origin}: holds {_some(value)}; keep one list of boxes and one of scores")
    scores = _scores(value[scored[0]], origin) if scored else None
    return NamedAnswer(key, None, _plain(value[columns[0]], origin), origin, scores)


def _scores(value: Any, origin: str) -> tuple[float, ...]:
    if isinstance(value, str) and value.strip().startswith("["):
        value = value.strip().strip("[]").split(",")
    try:
        return tuple(float(one) for one in (value if isinstance(value, list | tuple) else [value]))
    except (TypeError, ValueError):
        raise DataError(f"{origin}: a score must be a number, found {value!r}") from None


def named_in(records: Sequence[Record], name: str) -> NamedAnswers:
    """Return the answers of rows that name question and answer in columns."""
    if not records:
        raise DataError(f"{name}: holds no answers")
    columns = dict.fromkeys(key for record in records for key in record.values)
    identity = _identity(columns, name)
    answer = _answer(columns, records, name)
    scored = [column for column in SCORES if column in columns] if answer[0] in BOXES else []
    if len(scored) > 1:
        raise DataError(f"{name}: {' and '.join(map(repr, scored))} both may be scores of boxes; keep one of them")
    rows = [_row(record, identity, answer, scored) for record in records]
    unread = [column for column in columns if column not in (*identity, *answer, *scored)]
    what = " or ".join(map(repr, answer)) + "".join(f", the best by '{column}'," for column in scored)
    said = f"read {what} of the questions in {' and '.join(map(repr, identity))}"
    left = f"; not read: {_some(unread)}" if unread else ""
    return NamedAnswers(rows, (f"{name}: {said}{left}",))


def _identity(columns: Iterable[str], name: str) -> tuple[str, ...]:
    """Return the columns that say which question is answered: at most one place and one id."""
    places = [column for column in PLACES if column in columns]
    ids = [column for column in IDS if column in columns]
    parts = tuple(column for column in PARTS if column in columns)
    if not places and not ids and len(parts) > 1 and parts[0] == PARTS[0]:
        return parts
    if not places and not ids:
        raise DataError(
            f"{name}: no column says which question a row answers (wanted: one of {', '.join((*IDS, *PLACES))}, or "
            f"{', '.join(PARTS)}; found: "
            f"{_some(columns)})"
        )
    for found in (places, ids):
        if len(found) > 1 and found != ["question_id", "id"]:
            raise DataError(f"{name}: {' and '.join(map(repr, found))} both may name the question; keep one of them")
    return (*places, *ids[:1])


def _answer(columns: Iterable[str], records: Sequence[Record], name: str) -> tuple[str, ...]:
    """Return the columns that hold what was said, the best first: a row's answer is the first that it has."""
    columns = list(columns)
    better = [column for column in columns if column in ANSWERS or column in BEHIND]
    firsts = [column for column in better if BEHIND.get(column) not in columns]
    if len(firsts) > 1:
        raise DataError(
            f"{name}: {' and '.join(map(repr, firsts))} both may be what the model said; keep one of these columns"
        )
    if firsts:
        behind = [column for column in better if column not in firsts]
        also = [column for column in DOUBTFUL if column in columns and "cogmap_gen_answer" in firsts]
        return (*firsts, *behind, *also) if firsts[0] == "cogmap_gen_answer" else (firsts[0],)
    doubtful = [column for column in DOUBTFUL if column in columns]
    if len(doubtful) > 1:
        raise DataError(
            f"{name}: {' and '.join(map(repr, doubtful))} both may be what the model said; call that 'prediction'"
        )
    if not doubtful:
        raise DataError(
            f"{name}: no column holds what the model said (wanted: one of {', '.join((*ANSWERS, *DOUBTFUL))}; found: "
            f"{_some(columns)})"
        )
    return tuple(doubtful)


def _row(record: Record, identity: Sequence[str], answer: Sequence[str], scored: Sequence[str] = ()) -> NamedAnswer:
    place = qid = None
    if identity[0] == PARTS[0]:
        said = [record.name(column) for column in identity]
        qid, identity = "_".join(str(one) for one in said if one is not None), ()
    for column in identity:
        if column in PLACES:
            place = record.whole(column) if record.values.get(column) not in (None, "") else None
        else:
            qid = record.name(column)
    if place is None and qid is None:
        raise DataError(f"{record.origin}: {' and '.join(map(repr, identity))} say nothing; name the question")
    said = [column for column in answer if column in record.values]
    if not said:
        raise DataError(
            f"{record.origin}: has no {' or '.join(map(repr, answer))}, which other rows have (found keys: "
            f"{_some(record.values)})"
        )
    value, scores = _plain(record.values[said[0]], record.origin), None
    if scored and record.values.get(scored[0]) is not None and value not in (None, "", []):
        scores = _scores(record.values[scored[0]], record.origin)
    return NamedAnswer(qid, place, value, record.origin, scores)


def _plain(value: Any, origin: str) -> Any:
    """Return a text, a number, a list, or ``None``; lists that wrap one text are that text."""
    while isinstance(value, list | tuple) and len(value) == 1 and isinstance(value[0], str | list | tuple):
        if not isinstance(value[0], str) and value[0] and not isinstance(value[0][0], str | list | tuple):
            break  # a box in a list of boxes
        value = value[0]
    if isinstance(value, float) and math.isnan(value):
        return None
    if value is None or (isinstance(value, str | int | float | list | tuple) and not isinstance(value, bool)):
        return value
    raise DataError(f"{origin}: the answer must be a text, a number or a list, found {value!r}")


def _some(names: Iterable[Any]) -> str:
    found = list(map(str, names))
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more if found else "none"
