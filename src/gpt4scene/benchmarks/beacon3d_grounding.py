"""Descriptions of objects in chains from coarse to fine: texts, whole chains and objects that are found."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.benchmark import scores_by_row
from gpt4scene.benchmarks.grounding import chosen_proposal
from gpt4scene.benchmarks.judging import Judged
from gpt4scene.benchmarks.spatial import OVERALL
from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow, RowLike, read_rows
from gpt4scene.metrics.boxes import PUBLISHED_EPSILON, iou
from gpt4scene.metrics.object_ids import object_ids
from gpt4scene.metrics.scores import Pooled, Report

FLAGS = {"true": True, "false": False}
"""Answers that others have judged: the row's ``correct``."""

_NUMBER = re.compile(r"\d+")
_TYPES = ("coarse and fine right", "coarse right only", "fine right only", "coarse and fine wrong")


def targets(row: AnswerRow) -> list[int]:
    """Return the official numbers of the objects that the description fits."""
    found = row.official.get("target_id")
    if not isinstance(found, list | tuple) or not all(type(number) is int for number in found):
        raise DataError(f"{row.origin}: the official row has no 'target_id'; give the official file")
    return list(found)


def is_right(row: AnswerRow, annotation: Annotation, threshold: float) -> bool | None:
    """Return whether an answer names an object that the description fits; ``None`` where it names none.

    ``<OBJ012>`` is a marked object, whose box must have an IoU of ``threshold`` with a fitting one; the first counts. A
    number alone is an official object. ``true`` and ``false`` are what others have found.
    """
    said = row.pred.strip().lower()
    if said in FLAGS:
        return FLAGS[said]
    if _NUMBER.fullmatch(said):
        return int(said) in targets(row)
    if not object_ids(row.pred):
        return None
    named = chosen_proposal(row.pred, len(annotation.proposals.of(row.scene_id, row.origin)))
    if named is None:
        return None
    box = annotation.proposals.row(row.scene_id, named, row.origin)
    wanted = [annotation.ground_truth.row(row.scene_id, number, row.origin) for number in targets(row)]
    return bool((iou(box, np.array(wanted), PUBLISHED_EPSILON) >= threshold).any())


def report(rows: Iterable[RowLike], annotation: Annotation, task: str, threshold: float) -> Report:
    """Return the report of ``rows``, which have their official row, with its ``uses``, under ``source``."""
    read = read_rows(rows, task, ("source",))
    said = [is_right(row, annotation, threshold) for row in read]
    right_B = np.array([bool(value) for value in said], dtype=np.float64)
    counted_B = np.array([bool(row.official.get("counted", True)) for row in read])
    tags = [_tags(row) for row in read]
    values = {OVERALL: np.where(counted_B, right_B, math.nan)}
    for tag in sorted({tag for found in tags for tag in found}):
        values[tag] = np.where(counted_B & [tag in found for found in tags], right_B, math.nan)
    values = {name: value_B for name, value_B in values.items() if not np.isnan(value_B).all()}
    placed = all(row.official.get("placed") for row in read)
    chains = _Chains(read, right_B) if placed else None
    pooled = chains.pooled() if chains else {}
    notes = [] if placed else ["no figures of chains and objects: they need the metadata file"]
    scores = {name: float(np.nanmean(value_B)) for name, value_B in values.items()}
    scores |= {name: one.total() for name, one in pooled.items()}
    counts = {"answers": len(read), "unreadable answers": said.count(None)}
    public: dict[str, Any] = {}
    if chains and chains.whole:
        public = {f"case {name}": 100 * scores[name] for name in values}
        public |= {name: 100 * scores[name] for name in ("chain", "object")}
        public["coarse and fine"] = [100 * scores[name] for name in _TYPES]
        public["coarse and fine counts"] = chains.types
    if chains:
        counts |= {"chains": len(chains.chains), "chains not fully answered": chains.unknown}
    kinds = {"type": tuple("-".join(sorted(found)) for found in tags)}
    return Report(
        task,
        scores,
        counts,
        tuple(notes),
        scores_by_row(read, kinds, {**values, "score": right_B}, pooled),
        public=public,
        parsed=tuple(value if value is None else ("right" if value else "wrong") for value in said),
    )


def _tags(row: AnswerRow) -> frozenset[str]:
    return frozenset(row.named("item_id").lower().split("_")[-1].split("-"))


class _Chains:
    """Chains with the answers to their texts; what is not known is neither right nor wrong, and left out."""

    def __init__(self, rows: Sequence[AnswerRow], right_B: np.ndarray) -> None:
        self.rows = len(rows)
        self.chains: dict[tuple[str, str], dict[int, tuple[int, bool]]] = {}
        self.lengths: dict[tuple[str, str], int] = {}
        self.of_object: dict[str, int] = {}
        for number, row in enumerate(rows):
            for use in row.official.get("uses", ()):
                key = (use["entry"], use["chain"])
                self.chains.setdefault(key, {})[use["place"]] = (number, bool(right_B[number]))
                self.lengths[key] = use["of"]
                self.of_object[use["entry"]] = use["chains"]
        self.found = {key: self._judged(key) for key in self.chains}
        self.unknown = sum(None in judged for judged in self.found.values())
        self.types = [0, 0, 0, 0]
        for coarse, fine in self.found.values():
            if coarse is not None and fine is not None:
                self.types[_type(coarse, fine)] += 1

    def _judged(self, key: tuple[str, str]) -> tuple[bool | None, bool | None]:
        """Return whether all coarse texts of a chain are right, and its finest, which the file has first."""
        answers = self.chains[key]
        coarse = [answers[place][1] if place in answers else None for place in range(1, self.lengths[key])]
        fine = answers[0][1] if 0 in answers else None
        return (False if False in coarse else None if None in coarse else True), fine

    @property
    def whole(self) -> bool:
        """Whether every text of every chain of every object is answered, as the public scorer needs."""
        texts = all(len(self.chains[key]) == self.lengths[key] for key in self.chains)
        return texts and len(self.chains) == sum(self.of_object.values())

    def objects(self) -> Iterator[tuple[str, int, bool | None]]:
        """Yield each object, its first row, and whether the finest texts of all its chains are right."""
        members: dict[str, list[tuple[str, str]]] = {}
        for key in self.chains:
            members.setdefault(key[0], []).append(key)
        for name, keys in members.items():
            fine = [self.found[key][1] for key in keys]
            known = None not in fine and len(keys) == self.of_object[name]
            first = min(number for key in keys for number, _ in self.chains[key].values())
            yield name, first, False if False in fine else True if known else None

    def pooled(self) -> dict[str, Pooled]:
        """Return the figures of chains and objects."""
        names = ("chain", "object", *_TYPES)
        statistics = {name: np.zeros((self.rows, 2)) for name in names}
        for key, (coarse, fine) in self.found.items():
            first = min(number for number, _ in self.chains[key].values())
            if coarse is False or fine is False or (coarse and fine):
                statistics["chain"][first] += (bool(coarse and fine), 1)
            if coarse is not None and fine is not None:
                for place, name in enumerate(_TYPES):
                    statistics[name][first] += (_type(coarse, fine) == place, 1)
        for _, first, right in self.objects():
            if right is not None:
                statistics["object"][first] += (right, 1)
        return {name: Pooled(sums_BS, _share) for name, sums_BS in statistics.items() if sums_BS[:, 1].any()}


def _type(coarse: bool, fine: bool) -> int:
    return 2 * (not coarse) + (not fine)


def _share(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[..., 0] / sums[..., 1]


def grounded_objects(rows: Sequence[AnswerRow], annotation: Annotation, threshold: float) -> dict[str, bool]:
    """Return object -> whether the finest texts of all its chains are right; objects of which that is known."""
    right_B = np.array([bool(is_right(row, annotation, threshold)) for row in rows])
    return {name: right for name, _, right in _Chains(rows, right_B).objects() if right is not None}


def judge(row: AnswerRow, figures: Mapping[str, float], annotation: Annotation, threshold: float) -> Judged:
    """Return the verdict: right where the object named fits."""
    right = is_right(row, annotation, threshold)
    references = tuple(f"object {number}" for number in targets(row))
    return Judged(row, "right" if right else "wrong", "names no object" if right is None else "", references)
