"""Answers one by one: what was asked, what was said, what was expected, and whether that was right."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gpt4scene.benchmarks.scanrefer import FALLBACK, chosen_proposal
from gpt4scene.files.annotation import GROUND_TRUTH, PROPOSALS, read_attributes
from gpt4scene.files.answers import AnswerRow
from gpt4scene.metrics.boxes import PUBLISHED_EPSILON, SceneBoxes, iou
from gpt4scene.metrics.object_ids import object_ids, object_mark
from gpt4scene.metrics.scores import Report

Verdict = Literal["right", "partly", "wrong", ""]
"""Empty where no rule tells right from wrong, as for most captions."""


@dataclass(frozen=True)
class Judged:
    """One answer with its verdict, the reason for it in a few words, and the references as a reader wants them."""

    row: AnswerRow
    verdict: Verdict
    reason: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class Boxes:
    """Proposals and annotated objects of an annotation folder; both are empty where no task is about boxes."""

    proposals: SceneBoxes = field(default_factory=lambda: SceneBoxes({}, "the proposal boxes"))
    truth: SceneBoxes = field(default_factory=lambda: SceneBoxes({}, "the ground-truth boxes"))

    @classmethod
    def read(cls, annotation_dir: Path) -> Boxes:
        """Return the boxes of the folder's attribute files; raises ``DataError`` for missing or broken ones."""
        names = (PROPOSALS.format(split="val"), GROUND_TRUTH.format(split="val"))
        return cls(*(read_attributes(annotation_dir / name) for name in names))

    def overlap(self, row: AnswerRow, proposal: int) -> float:
        """Return the IoU of a proposal with the object that ``row`` is about."""
        first = self.proposals.row(row.scene_id, proposal, row.origin)
        second = self.truth.row(row.scene_id, row.gt_id, row.origin)
        return float(iou(first, second, PUBLISHED_EPSILON))

    def names(self, scene: str) -> dict[int, str]:
        """Return the labels of a scene's proposals by number."""
        return dict(enumerate(self.proposals.labels.get(scene, ())))


def judge(task: str, rows: Sequence[AnswerRow], report: Report, boxes: Boxes) -> list[Judged]:
    """Return every row of ``task`` judged; ``report`` is the one of the same rows in the same order."""
    values = report.rows.values
    if task in ("scanqa", "sqa3d"):
        return [_text(row, *flags) for row, *flags in zip(rows, values["EM1"], values["EM1_refined"], strict=True)]
    if task == "scanrefer":
        return [_grounded(row, boxes) for row in rows]
    if task == "multi3dref":
        return [_several(row, f1, boxes) for row, f1 in zip(rows, values["all F1@0.25"], strict=True)]
    ciders = dict(zip(report.rows.keys, values.get("CIDEr@0.50", ()), strict=False))
    return [_caption(row, ciders.get(f"{row.scene_id}|{row.gt_id}"), boxes) for row in rows]


def tally(judged: Sequence[Judged]) -> dict[str, int]:
    """Return how many answers got each verdict that occurs, best first."""
    counts = Counter(item.verdict for item in judged)
    return {verdict: counts[verdict] for verdict in ("right", "partly", "wrong") if counts[verdict]}


def _text(row: AnswerRow, exact: float, refined: float) -> Judged:
    if exact:
        return Judged(row, "right", "", tuple(row.texts))
    if refined:
        return Judged(row, "partly", "one contains the other", tuple(row.texts))
    return Judged(row, "wrong", "" if row.pred.strip() else "empty answer", tuple(row.texts))


def _grounded(row: AnswerRow, boxes: Boxes) -> Judged:
    proposals = len(boxes.proposals.of(row.scene_id, row.origin))
    named = chosen_proposal(row.pred, proposals)
    overlap = boxes.overlap(row, FALLBACK if named is None else named)
    label = boxes.truth.label(row.scene_id, row.gt_id)
    reason = f"IoU {overlap:.2f} with object {row.gt_id} ({label})"
    references = tuple(row.texts) or (f"object {row.gt_id} ({label})",)
    if named is None:
        return Judged(row, "wrong", f"names no object; scored as {object_mark(FALLBACK)}, {reason}", references)
    return Judged(row, "right" if overlap >= 0.5 else "partly" if overlap >= 0.25 else "wrong", reason, references)


def _several(row: AnswerRow, f1: float, boxes: Boxes) -> Judged:
    targets = [(int(target), boxes.truth.label(row.scene_id, int(target))) for target in row.ref_captions]
    references = tuple(f"object {target} ({label})" for target, label in targets) or ("no object",)
    verdict: Verdict = "right" if f1 == 1 else "partly" if f1 > 0 else "wrong"
    said = len(object_ids(row.pred))
    return Judged(row, verdict, f"F1 {f1:.2f}; {said} named, {len(targets)} meant", references)


def _caption(row: AnswerRow, cider: float | None, boxes: Boxes) -> Judged:
    references = tuple(text.removeprefix("sos ").removesuffix(" eos").strip() for text in row.texts)
    overlap = boxes.overlap(row, row.pred_id)
    parts = [] if cider is None else [f"CIDEr {100 * cider:.0f}"]
    if overlap < 0.5:
        parts.append(f"the proposal asked about has IoU {overlap:.2f}: counts as no caption")
    if not row.pred.strip():
        return Judged(row, "wrong", "; ".join(["empty answer", *parts]), references)
    same = _words(row.pred) in map(_words, references)
    return Judged(row, "right" if same else "", "; ".join([*["words of a reference"] * same, *parts]), references)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def by_scene(judged: Mapping[str, Sequence[Judged]]) -> dict[str, dict[str, list[Judged]]]:
    """Return ``scene -> task -> answers``, scenes by name, answers in their order."""
    scenes: dict[str, dict[str, list[Judged]]] = {}
    for task, items in judged.items():
        for item in items:
            scenes.setdefault(item.row.scene_id, {}).setdefault(task, []).append(item)
    return dict(sorted(scenes.items()))
