"""The row of an answer, under the public keys: what inference writes and every scorer reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gpt4scene.errors import DataError
from gpt4scene.types import Answer

KEYS = ("scene_id", "qid", "gt_id", "pred_id", "prompt", "pred", "ref_captions", "type_info")
"""Keys of a public row, in the order in which they are written."""


@dataclass(frozen=True)
class AnswerRow:
    """One answer with what its scorer needs. ``origin`` names file and row in error messages.

    ``gt_id`` is the ground-truth object, ``pred_id`` the proposal that Scan2Cap asked about, ``ref_captions`` the
    accepted answers or Multi3DRefer's ground-truth ids, ``type_info`` SQA3D's or Multi3DRefer's question type.
    """

    scene_id: str
    pred: str
    gt_id: int = 0
    pred_id: int = 0
    prompt: str = ""
    ref_captions: tuple[str | int, ...] = ()
    type_info: str | int = 0
    qid: str | int | None = None
    index: int | None = None
    origin: str = "row"

    @property
    def texts(self) -> list[str]:
        """The references as texts."""
        return [str(reference) for reference in self.ref_captions]


RowLike: TypeAlias = "AnswerRow | Mapping[str, Any]"
"""A row, or a plain mapping with the public keys."""


def record_of(answer: Answer) -> dict[str, Any]:
    """Return the public row of an answer, plus ``task`` and ``index``, its identity.

    How it ended and the hash of its images are added where they are known.
    """
    question = answer.question
    more = {"finish_reason": answer.finish_reason, "images": answer.images}
    return {
        "scene_id": question.scene_id,
        "qid": question.qid,
        "gt_id": question.obj_id,
        "pred_id": question.pred_id,
        "prompt": question.prompt,
        "pred": answer.text,
        "ref_captions": list(question.ref_captions),
        "type_info": question.type_info,
        "task": question.task,
        "index": question.index,
        **{name: value for name, value in more.items() if value is not None},
    }


def read_row(record: object, origin: str) -> AnswerRow:
    """Return the row that ``record`` (a mapping with the public keys) stands for.

    Raises ``DataError`` naming ``origin`` when ``scene_id`` or ``pred`` is missing or a value has the wrong kind.
    """
    if not isinstance(record, Mapping):
        raise DataError(f"{origin}: a prediction must be an object with the keys {', '.join(KEYS)}")
    missing = [key for key in ("scene_id", "pred") if not isinstance(record.get(key), str)]
    if missing:
        raise DataError(f"{origin}: '{missing[0]}' is missing or no text (found keys: {', '.join(map(str, record))})")
    references = record.get("ref_captions") or ()
    if isinstance(references, str) or not isinstance(references, Sequence):
        raise DataError(f"{origin}: 'ref_captions' must be a list, found {references!r}")
    for key, values in (
        ("ref_captions", references),
        ("type_info", [record.get("type_info")]),
        ("qid", [record.get("qid")]),
    ):
        wrong = next((value for value in values if not isinstance(value, str | int | float | None)), None)
        if wrong is not None:
            raise DataError(f"{origin}: '{key}' must hold texts or numbers, found {wrong!r}")
    index = record.get("index")
    return AnswerRow(
        scene_id=record["scene_id"],
        pred=record["pred"],
        gt_id=_whole(record.get("gt_id"), "gt_id", origin),
        pred_id=_whole(record.get("pred_id"), "pred_id", origin),
        prompt=str(record.get("prompt") or ""),
        ref_captions=tuple(references),
        type_info=record.get("type_info") or 0,
        qid=record.get("qid"),
        index=None if index is None else _whole(index, "index", origin),
        origin=origin,
    )


def read_rows(rows: Iterable[RowLike], name: str) -> list[AnswerRow]:
    """Return ``rows`` as ``AnswerRow`` values; raise ``DataError`` when there is none or one can't be read."""
    read = [
        row if isinstance(row, AnswerRow) else read_row(row, f"{name}, row {number}") for number, row in enumerate(rows)
    ]
    if not read:
        raise DataError(f"{name}: there are no answers to score")
    return read


def row_keys(rows: Sequence[AnswerRow]) -> tuple[object, ...]:
    """Return the identity of each row: what it says about its question, and how often that was said before.

    Public predictions and journals of one question file give the same keys; question indices only the latter have.
    """
    seen: Counter[tuple] = Counter()
    keys: list[object] = []
    for row in rows:
        said = (row.scene_id, row.qid, row.gt_id, row.pred_id, row.prompt)
        keys.append((*said, seen[said]))
        seen[said] += 1
    return tuple(keys)


def _whole(value: object, key: str, origin: str) -> int:
    if value is None:
        return 0
    try:
        number = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or isinstance(value, bool) or (isinstance(value, float) and value != number):
        raise DataError(f"{origin}: '{key}' must be a whole number, found {value!r}")
    return number
