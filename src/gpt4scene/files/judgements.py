"""Marks that a judge gave to answers: the journal of ``gpt4scene judge``, and files of marks that others made.

``<task>.judged.jsonl`` beside the answers has the settings of the judge in its first line and a judgement in each
further one: ``question``, ``answer`` (a hash of what the judge was told), ``pred`` (the judge's words), ``mark``,
``model``. ``<task>.marks.json`` holds ``{question id: mark}``, or a list of rows with the keys of the public scorer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.files.journal import read_journal
from gpt4scene.files.whole import read_json
from gpt4scene.types import Judgement

TOLD = 16
"""Letters of the hashes of prompts and of what a judge was told."""


@dataclass(frozen=True)
class Judgements:
    """All judgements of a file, the last of each question. ``settings`` are the judge's, ``None`` for marks alone.

    ``notes`` are sentences about lines that were cut off.
    """

    path: Path
    found: Mapping[str, Judgement]
    settings: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


def told_hash(told: Mapping[str, Any]) -> str:
    """Return a short hash of what a judge is told about an answer."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:TOLD]


def judged_path(predictions: Path, task: str) -> Path:
    """Return the journal of judgements of the answers in ``predictions``, a folder or a file."""
    return _beside(predictions, task, "judged.jsonl")


def marks_path(predictions: Path, task: str) -> Path:
    """Return the place of marks that others gave to the answers in ``predictions``."""
    return _beside(predictions, task, "marks.json")


def _beside(predictions: Path, task: str, ending: str) -> Path:
    if predictions.is_file():
        return predictions.with_name(f"{predictions.name.split('.')[0]}.{ending}")
    return predictions / f"{task}.{ending}"


def read_judgements(predictions: Path, task: str) -> Judgements | None:
    """Return the judgements beside the answers, ``None`` where there are none.

    Raises ``DataError`` for a broken file, and where a journal and a file of marks lie side by side.
    """
    journal, marks = judged_path(predictions, task), marks_path(predictions, task)
    if journal.is_file() and marks.is_file():
        raise DataError(f"{marks} and {journal} both hold marks of the same answers; move one of them away")
    if marks.is_file():
        return read_marks(marks)
    return read_judged(journal) if journal.is_file() else None


def read_judged(path: Path) -> Judgements:
    """Return the judgements of a journal; a later line about a question stands in place of an earlier one."""
    content = read_journal(path)
    torn = f"{path}: line {content.torn} was cut off while it was written and is left out"
    notes = (torn,) * (content.torn is not None)
    settings = content.settings
    if settings is None:
        if not content.rows:
            return Judgements(path, {}, None, notes)
        raise DataError(f"{path}: does not begin with the judge's settings; judge again with --overwrite")
    found: dict[str, Judgement] = {}
    for number, row in content.rows:
        origin = content.origin(number)
        question, text, mark = row.get("question"), row.get("pred"), row.get("mark")
        if not isinstance(question, str) or not isinstance(text, str) or not (mark is None or type(mark) is int):
            raise DataError(f"{origin}: this is no judgement ('question', 'pred' and 'mark' are expected); remove it")
        found[question] = Judgement(
            mark,
            text,
            str(row.get("answer", "")),
            str(settings.get("judge", "")),
            str(settings.get("prompts", "")),
            1 + (found[question].times if question in found else 0),
            origin,
        )
    return Judgements(path, found, settings, notes)


def read_marks(path: Path) -> Judgements:
    """Return the marks of a file ``{question id: mark}``, or a list of ``{obj_id, question, score}``.

    A row of the list is found by ``<object>: <question>``. A text in place of a mark is the judge's words, from which
    the mark is still to be read. Raises ``DataError`` for a mark that is neither.
    """
    content = read_json(path, "file of marks")
    if isinstance(content, dict):
        pairs = [(str(question), mark, f"{path}, '{question}'") for question, mark in content.items()]
    elif isinstance(content, list) and all(isinstance(row, dict) for row in content):
        pairs = []
        for number, row in enumerate(content):
            origin = f"{path}, row {number}"
            if not {"obj_id", "question", "score"} <= row.keys():
                raise DataError(f"{origin}: 'obj_id', 'question' and 'score' are expected, found {', '.join(row)}")
            pairs.append((object_question(row["obj_id"], row["question"]), row["score"], origin))
    else:
        raise DataError(f"{path}: expected {{question id: mark}}, or the list that the public scorer writes")
    found = {}
    for question, mark, origin in pairs:
        if isinstance(mark, float) and mark.is_integer():
            mark = int(mark)
        if type(mark) is not int and not isinstance(mark, str):
            raise DataError(f"{origin}: a mark must be a whole number, found {mark!r}; correct or remove it")
        number = None if isinstance(mark, str) else mark
        found[question] = Judgement(number, str(mark), judge="unknown", prompts="unknown", origin=origin)
    return Judgements(path, found)


def object_question(obj: object, question: object) -> str:
    """Return the name of a question about an object in a list of marks."""
    return f"{obj}: {str(question).lower()}"
