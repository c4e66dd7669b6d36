"""Answers that name objects, as numbers, as boxes or in words: the texts and boxes that scorers compare.

A file holds numbers or boxes. A scorer reads marks such as ``<OBJ003>``; boxes are marked by their place in the answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.named_answers import NamedAnswer
from gpt4scene.metrics.answer_boxes import FORM, boxes_of, is_box
from gpt4scene.metrics.object_ids import object_mark

Kind = Literal["nothing", "text", "numbers", "box or numbers", "boxes"]

MOST = 1000
"""Objects that marks of three digits tell apart, in one answer."""


@dataclass(frozen=True)
class ObjectsSaid:
    """The texts of answers in their order; ``own`` holds their boxes by origin, and is empty where they are numbers."""

    texts: tuple[str, ...]
    own: dict[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def objects_said(named: Sequence[NamedAnswer]) -> ObjectsSaid:
    """Return what the answers of one file say about objects. Raises ``DataError`` by row for what is neither.

    Texts stay as they are, but for lists written as text, and numbers where all answers of the file are such: then no
    text is a model's.
    """
    named = [replace(one, value=_listed(one.value)) for one in named]
    texts = [one.value for one in named if isinstance(one.value, str) and one.value.strip()]
    notes: tuple[str, ...] = ()
    if texts and all(text.strip().isdecimal() for text in texts):
        named = [replace(one, value=_as_number(one.value)) for one in named]
        notes = (f"{len(texts)} answers are bare numbers and count as numbers of objects",)
    kinds: list[Kind] = [_kind(one) for one in named]
    first = {kind: one for kind, one in reversed(list(zip(kinds, named, strict=True)))}
    if "boxes" in first and "numbers" in first:
        raise DataError(
            f"{first['boxes'].origin}: gives boxes, and {first['numbers'].origin} numbers of objects; write one of "
            "them in the whole file"
        )
    if "box or numbers" in first and not {"boxes", "numbers"} & first.keys():
        raise DataError(
            f"{first['box or numbers'].origin}: six whole numbers may be a box or six objects; write a box with "
            "decimals (1.0), or as a list of boxes"
        )
    if "boxes" not in first:
        return ObjectsSaid(tuple(map(_marked, named)), {}, notes)
    return _with_boxes(named, kinds, notes)


def _with_boxes(named: Sequence[NamedAnswer], kinds: Sequence[Kind], notes: tuple[str, ...]) -> ObjectsSaid:
    texts, own, several, ranked = [], {}, 0, 0
    for one, kind in zip(named, kinds, strict=True):
        if kind in ("text", "nothing"):
            texts.append("No." if one.value == [] else one.value or "")
            own[one.origin] = np.zeros((0, 6))
            continue
        boxes_N6 = boxes_of(one.value, one.origin)
        if one.scores is not None:
            boxes_N6, ranked = _by_score(boxes_N6, one), ranked + 1
        several += len(boxes_N6) > 1
        texts.append(_marks(range(len(boxes_N6)), one.origin))
        own[one.origin] = boxes_N6
    if several:
        order = "the one of the highest score" if ranked else "the first"
        notes += (f"several boxes in an answer: {several}; where one object is asked for, {order} counts",)
    words = kinds.count("text")
    if words:
        notes += (f"{words} answers of a file of boxes are words and name nothing",)
    return ObjectsSaid(tuple(texts), own, (*notes, "boxes are those of the answers themselves"))


def _by_score(boxes_N6: np.ndarray, one: NamedAnswer) -> np.ndarray:
    scores_N = np.array(one.scores, dtype=np.float64)
    if scores_N.shape != (len(boxes_N6),) or not np.isfinite(scores_N).all():
        raise DataError(
            f"{one.origin}: has {len(boxes_N6)} boxes and {scores_N.size} scores; give each box a finite score, or none"
        )
    return boxes_N6[np.argsort(-scores_N, kind="stable")]


def _listed(value: Any) -> Any:
    """Return the list or number that a text is, where it is one written as JSON; else ``value``."""
    if not isinstance(value, str) or not value.strip().startswith("["):
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return found if isinstance(found, list) else value


def _as_number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.strip() else value


def _kind(one: NamedAnswer) -> Kind:
    value = one.value
    if isinstance(value, str):
        return "text" if value.strip() else "nothing"
    if value is None or (isinstance(value, list | tuple) and not value):
        return "nothing"
    if not isinstance(value, list | tuple):
        if _is_object(value):
            return "numbers"
        raise DataError(f"{one.origin}: the number of an object is a whole number from 0, found {value!r}")
    if any(isinstance(part, list | tuple) for part in value):
        boxes_of(value, one.origin)
        return "boxes"
    if is_box(value):
        return "box or numbers" if all(isinstance(part, int) for part in value) else "boxes"
    if all(map(_is_object, value)):
        return "numbers"
    raise DataError(f"{one.origin}: {str(value)[:60]} are no numbers of objects and no box; {FORM}")


def _is_object(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value == int(value)


def _marked(one: NamedAnswer) -> str:
    value = one.value
    if value is None or isinstance(value, str):
        return value or ""
    numbers = value if isinstance(value, list | tuple) else [value]
    return _marks([int(number) for number in numbers], one.origin)


def _marks(numbers: Sequence[int], origin: str) -> str:
    if not numbers:
        return "No."
    if max(numbers) >= MOST:
        raise DataError(f"{origin}: names object {max(numbers)}; answers can name objects 0 to {MOST - 1}")
    return f"{' and '.join(map(object_mark, numbers))}."
