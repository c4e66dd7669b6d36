"""The row of an answer, under the public keys: what inference writes and every scorer reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from gpt4scene.errors import DataError
from gpt4scene.types import Answer, Judgement

KEYS = ("scene_id", "qid", "gt_id", "pred_id", "prompt", "pred", "ref_captions", "type_info")
"""Keys of a public row, in the order in which they are written."""


@dataclass(frozen=True)
class AnswerRow:
    """One answer with what its scorer needs. ``origin`` names file and row in error messages.

    ``task`` is the one that the row itself says, as a journal's rows do.

    ``gt_id`` is the ground-truth object, ``pred_id`` the proposal that Scan2Cap asked about, ``ref_captions`` the
    accepted answers or Multi3DRefer's ground-truth ids, ``type_info`` SQA3D's or Multi3DRefer's question type.
    ``source`` is the official row of the question, for benchmarks whose rules read it. ``null`` says that the file
    holds no answer, not even an empty one. ``judged`` is a language model's word on the answer. A key that the row
    does not have is ``None``; ``target``, ``proposal``, ``references`` and ``official`` raise ``DataError`` for it.
    """

    scene_id: str
    pred: str
    gt_id: int | None = None
    pred_id: int | None = None
    prompt: str = ""
    ref_captions: tuple[str | int, ...] | None = None
    type_info: str | int | None = None
    qid: str | int | None = None
    index: int | None = None
    task: str | None = None
    origin: str = "row"
    source: Mapping[str, Any] | None = field(default=None, hash=False)
    null: bool = False
    judged: Judgement | None = field(default=None, hash=False)

    def named(self, column: str) -> str:
        """Return the text of a column of the official row, which must be there: it is never taken as empty."""
        value = self.official.get(column)
        if value in (None, ""):
            raise DataError(
                f"{self.origin}: the official row has no '{column}' (found keys: {', '.join(map(str, self.official))})"
            )
        return str(value)

    @property
    def official(self) -> Mapping[str, Any]:
        """``source``, which must be there."""
        return require(self, "source") if self.source is None else self.source

    @property
    def target(self) -> int:
        """``gt_id``, which must be there."""
        return require(self, "gt_id") if self.gt_id is None else self.gt_id

    @property
    def proposal(self) -> int:
        """``pred_id``, which must be there."""
        return require(self, "pred_id") if self.pred_id is None else self.pred_id

    @property
    def references(self) -> tuple[str | int, ...]:
        """``ref_captions``, which must be there."""
        return require(self, "ref_captions") if self.ref_captions is None else self.ref_captions

    @property
    def texts(self) -> list[str]:
        """The references as texts; none where the row has none."""
        return [str(reference) for reference in self.ref_captions or ()]


def require(row: AnswerRow, *keys: str) -> Any:
    """Raise ``DataError`` for the first of ``keys`` that ``row`` does not have: it is never taken as 0."""
    for key in keys:
        if getattr(row, key) is None:
            raise DataError(
                f"{row.origin}: '{key}' is missing, which this score needs; it comes from the question file of the "
                "annotation folder, or from the predictions where there is none"
            )


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
        "ref_captions": None if question.ref_captions is None else list(question.ref_captions),
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
    references = record.get("ref_captions")
    if references is not None and (isinstance(references, str) or not isinstance(references, Sequence)):
        raise DataError(f"{origin}: 'ref_captions' must be a list, found {references!r}")
    for key, values in (
        ("ref_captions", references or ()),
        ("type_info", _given(record, "type_info")),
        ("qid", _given(record, "qid")),
        ("prompt", _given(record, "prompt")),
    ):
        for number, value in enumerate(values):
            if not _plain(value) or (key == "prompt" and not isinstance(value, str)):
                place = f", entry {number}" if key == "ref_captions" else ""
                raise DataError(f"{origin}: '{key}' must hold texts or numbers, found {value!r}{place}")
    return AnswerRow(
        scene_id=record["scene_id"],
        pred=record["pred"],
        gt_id=_whole(record.get("gt_id"), "gt_id", origin),
        pred_id=_whole(record.get("pred_id"), "pred_id", origin),
        prompt=record.get("prompt") or "",
        ref_captions=None if references is None else tuple(references),
        type_info=record.get("type_info"),
        qid=record.get("qid"),
        index=_whole(record.get("index"), "index", origin),
        task=record["task"] if isinstance(record.get("task"), str) else None,
        origin=origin,
        source=record["source"] if isinstance(record.get("source"), Mapping) else None,
        null=record.get("null") is True,
    )


def with_references(rows: Sequence[AnswerRow], name: str) -> tuple[list[AnswerRow], int]:
    """Return the rows that have a reference to compare with, without blank ones, and the number of the others.

    A question nobody has answered can be answered neither right nor wrong. Raises ``DataError`` where no row has one.
    """
    kept = []
    for row in rows:
        said = tuple(text for text in row.ref_captions or () if str(text).strip())
        if said:
            kept.append(row if said == row.ref_captions else replace(row, ref_captions=said))
    if rows and not kept:
        raise DataError(
            f"{rows[0].origin}: 'ref_captions' holds no answer to compare with, here and in all {len(rows)} rows of "
            f"{name}; references come from the question file of the annotation folder, or from the predictions where "
            "there is none"
        )
    return kept, len(rows) - len(kept)


def read_rows(rows: Iterable[RowLike], name: str, needs: Sequence[str] = ()) -> list[AnswerRow]:
    """Return ``rows`` as ``AnswerRow`` values.

    Raises ``DataError`` when there is none, one can't be read, or one lacks a key that the score ``needs``.
    """
    read = [
        row if isinstance(row, AnswerRow) else read_row(row, f"{name}, row {number}") for number, row in enumerate(rows)
    ]
    if not read:
        raise DataError(f"{name}: there are no answers to score")
    require_all(read, needs)
    return read


def require_all(rows: Sequence[AnswerRow], needs: Sequence[str], single: Sequence[str] = ()) -> None:
    """Raise ``DataError`` as ``require`` does for the first row that lacks a key of ``needs``.

    Keys that are ``single`` may be missing in some rows, which the score then counts, but not in all of them.
    """
    for row in rows:
        require(row, *(key for key in needs if key not in single or all(getattr(one, key) is None for one in rows)))


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


def _given(record: Mapping[str, Any], key: str) -> list[Any]:
    return [] if record.get(key) is None else [record[key]]


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value == value


def _whole(value: object, key: str, origin: str) -> int | None:
    if value is None or value == "":
        return None
    try:
        number = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or isinstance(value, bool) or (isinstance(value, float) and value != number):
        raise DataError(f"{origin}: '{key}' must be a whole number, found {value!r}")
    return number
