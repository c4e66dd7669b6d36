"""ScanRefer: find the one object that a description means; the answer names a proposal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.benchmark import PUBLISHED_RULES, Benchmark, scores_by_row
from gpt4scene.benchmarks.comparing import RAW, STRICT, checked_name
from gpt4scene.benchmarks.grounding import (
    FALLBACK,
    REFERIT_KINDS,
    chosen_proposal,
    is_referit,
    marked,
    object_accuracy,
    referit_groups,
)
from gpt4scene.benchmarks.judging import Judged, Pointed
from gpt4scene.benchmarks.labels import (
    LABEL_MAP,
    OTHERS,
    plain_classes,
    raw_name,
    read_label_map,
    unique_multiple,
)
from gpt4scene.benchmarks.matching import NO_PROPOSAL, Scenes
from gpt4scene.benchmarks.rows import Dropped, QuestionRow, TrainingRow
from gpt4scene.benchmarks.rules import Rules
from gpt4scene.benchmarks.signature import content_hash
from gpt4scene.benchmarks.wordings import Prompts
from gpt4scene.errors import DataError
from gpt4scene.files.annotation import checked_lookup, read_lookup
from gpt4scene.files.answers import AnswerRow, RowLike, read_rows
from gpt4scene.files.raw import Record
from gpt4scene.metrics.answer_boxes import AnswerBoxes
from gpt4scene.metrics.boxes import PUBLISHED_EPSILON, THRESHOLDS, SceneBoxes, flat_targets, iou, scene_boxes
from gpt4scene.metrics.object_ids import is_mark, object_mark
from gpt4scene.metrics.scores import Report
from gpt4scene.metrics.texts import TextScores

NAME = "scanrefer"
NEEDS = ("gt_id",)
"""What an answer needs to be scored."""

SAYS = {
    PUBLISHED_RULES: "An answer without a readable identifier counts as proposal 0, as in Chat-Scene's scorer and "
    "the public GPT4Scene one (April 2025).",
    RAW: "The figures are those of gpt4scene: Video-3D-LLM's scorer (June 2025) has the same IoU, and says nothing of "
    "answers that name no box, since its model always gives one.",
    STRICT: "An answer without a readable identifier is wrong; our own.",
}
"""Name of rules -> what they are."""

LOOKUP = "scanrefer_unique_multiple_lookup.json"
"""File that tells unique from multiple objects."""


def score(
    rows: Iterable[RowLike],
    proposals: Mapping[str, object],
    ground_truth: Mapping[str, object],
    lookup: Mapping[str, Mapping[str, int]] | None = None,
    rules: str = PUBLISHED_RULES,
) -> Report:
    """Return the share of answers whose proposal meets IoU 0.25 and 0.5 with the object meant.

    ``proposals`` and ``ground_truth`` map a scene to its boxes (N x 6: centre, size); ``lookup`` maps scene and object
    to 0 where the object is the only one of its class there, else 1. Without it the unique and multiple figures are
    left out. An answer without a readable identifier counts as proposal ``FALLBACK``, as published; such answers are
    counted, and the strict figures, all figures under the ``rules`` of that name (``SAYS``), take them as wrong. Rows
    from ReferIt3D (``REFERIT_KINDS``) get figures by difficulty and view instead, and its accuracy where the proposals
    are the ground-truth objects. Raises ``DataError`` for unknown scenes and objects.
    """
    read = read_rows(rows, NAME, NEEDS)
    found = scene_boxes(proposals, "the proposal boxes")
    truth = scene_boxes(ground_truth, "the ground-truth boxes")
    named = [chosen_proposal(row.pred, len(found.of(row.scene_id, row.origin))) for row in read]
    overlap_B = _overlaps(read, named, found, truth)
    strict_B = np.where([index is None for index in named], 0.0, overlap_B)
    members, kinds, notes = _groups(read, lookup)
    notes += flat_targets(truth, ((row.scene_id, row.target) for row in read))
    kinds["label"] = tuple(truth.label(row.scene_id, row.target) for row in read)
    everyone_B = np.ones(len(read), dtype=bool)
    strictly = checked_name(rules, SAYS, NAME) == STRICT
    counted_B = strict_B if strictly else overlap_B
    groups = {"": (everyone_B, counted_B)} | {name: (members_B, counted_B) for name, members_B in members.items()}
    if not strictly:
        groups["strict "] = (everyone_B, strict_B)
    scores, counts, values = {}, {"answers": len(read)}, {}
    for group, (members_B, overlaps_B) in groups.items():
        if not members_B.all():
            counts[group.strip().lower()] = int(members_B.sum())
        if not members_B.any():
            notes += (f"no {group.strip().lower()} figures: no such question",)
            continue
        for label, threshold in THRESHOLDS:
            metric = f"{group}Acc@{label}"
            values[metric] = np.where(members_B, overlaps_B >= threshold, np.nan)
            scores[metric] = float(np.sum(overlaps_B[members_B] >= threshold) / members_B.sum())
    if is_referit(read):
        notes += _add_object_accuracy(read, named, members, (found, truth), scores, values, strictly)
    counts["unreadable answers"] = sum(index is None for index in named)
    return Report(NAME, scores, counts, notes, scores_by_row(read, kinds, values), rules=rules)


def _add_object_accuracy(
    rows: Sequence[AnswerRow],
    named: Sequence[int | None],
    groups: Mapping[str, np.ndarray],
    boxes: tuple[SceneBoxes, SceneBoxes],
    scores: dict[str, float],
    values: dict[str, np.ndarray],
    strictly: bool,
) -> tuple[str, ...]:
    """Add ReferIt3D's accuracy to ``scores`` and ``values`` where numbers mean ground-truth objects; return notes."""
    found, truth = boxes
    if not all(np.array_equal(found[scene], truth[scene]) for scene in {row.scene_id for row in rows}):
        return ("no ReferIt3D accuracy: it chooses among ground-truth objects, and these proposals are others",)
    added = object_accuracy(rows, named, groups, strictly)
    values |= added
    scores |= {metric: float(np.nanmean(value)) for metric, value in added.items() if not np.isnan(value).all()}
    return ()


def _groups(
    rows: Sequence[AnswerRow], lookup: Mapping[str, Mapping[str, int]] | None
) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Return the rows, bool[B], that get figures of their own, breakdowns, and what is missing."""
    if is_referit(rows):
        return referit_groups(rows), {"kind": tuple(str(row.type_info) for row in rows)}, ()
    if lookup is None:
        return {}, {}, (f"no unique and multiple figures: {LOOKUP} is missing",)
    known = checked_lookup(lookup, LOOKUP)
    multiple_B = np.array([_is_multiple(row, known) for row in rows])
    kinds = {"kind": tuple(np.where(multiple_B, "multiple", "unique").tolist())}
    return {"Unique ": ~multiple_B, "Multiple ": multiple_B}, kinds, ()


def _overlaps(rows: list[AnswerRow], named: list[int | None], found: SceneBoxes, truth: SceneBoxes) -> np.ndarray:
    proposals_B6 = [_box(found, row, index) for row, index in zip(rows, named, strict=True)]
    targets_B6 = [truth.row(row.scene_id, row.target, row.origin) for row in rows]
    return iou(np.array(proposals_B6), np.array(targets_B6), PUBLISHED_EPSILON)


def _box(found: SceneBoxes, row: AnswerRow, named: int | None) -> np.ndarray:
    """Return the proposal that an answer is taken to name; an empty box in a scene without any."""
    if not len(found.of(row.scene_id, row.origin)):
        return np.zeros(6)
    return found.row(row.scene_id, FALLBACK if named is None else named, row.origin)


def _is_multiple(row: AnswerRow, lookup: Mapping[str, Mapping[str, int]]) -> bool:
    kind = lookup.get(row.scene_id, {}).get(str(row.gt_id))
    if kind is None:
        raise DataError(
            f"{row.origin}: object {row.gt_id} of scene '{row.scene_id}' is not in {LOOKUP}; "
            "is that the file of another split?"
        )
    return kind != 0


def judge_strictly(row: AnswerRow, figures: Mapping[str, float], annotation: Annotation) -> Judged:
    """Return the same verdict; an answer that names no object is not said to be scored as proposal 0."""
    judged = judge(row, figures, annotation)
    if judged.parsed is not None:
        return judged
    reason = f"names no object; {_meant(row, annotation)} was meant"
    return replace(judged, reason=reason, pointed=Pointed((), (row.target,)))


def judge(row: AnswerRow, figures: Mapping[str, float], annotation: Annotation) -> Judged:
    """Return the verdict by IoU: right from 0.5, partly right from 0.25; an answer that names no object is wrong."""
    proposals = len(annotation.proposals.of(row.scene_id, row.origin))
    named = chosen_proposal(row.pred, proposals)
    counted = FALLBACK if named is None else named
    overlap = annotation.overlap(row, counted) if proposals else 0.0
    meant = _meant(row, annotation)
    references, reason = tuple(row.texts) or (meant,), f"IoU {overlap:.2f} with {meant}"
    if not proposals:
        own = isinstance(annotation.proposals, AnswerBoxes)
        reason = f"{'brings no box' if own else 'nothing is marked in the scene'}, {reason}"
    elif named is None:
        reason = f"names no object; scored as {object_mark(FALLBACK)}, {reason}"
    right = "right" if overlap >= 0.5 else "partly" if overlap >= 0.25 else "wrong"
    return Judged(
        row,
        verdict="wrong" if named is None else right,
        reason=reason,
        references=references,
        parsed=None if named is None else marked(annotation.proposals, row.scene_id, named),
        compared=(meant,),
        pointed=Pointed((counted,) if proposals else (), (row.target,)),
    )


def _meant(row: AnswerRow, annotation: Annotation) -> str:
    return f"object {row.gt_id}{annotation.ground_truth.in_brackets(row.scene_id, row.target)}"


def question_rows(record: Record, scenes: Scenes, prompts: Prompts) -> Iterator[QuestionRow]:
    """Make one row of an official record, whatever its best IoU."""
    scene, target = record.text("scene_id"), record.whole("object_id")
    match, number = scenes.match(scene, target, record.origin), record.name("ann_id")
    yield {
        "scene_id": scene,
        "obj_id": target,
        "qid": None if number is None else f"{scene}_{target}_{number}",
        "prompt": prompts.fill(description=record.text("description")),
        "ref_captions": [f"{object_mark(match.proposal)}."] if match else [],
        **({"type_info": record.values["type_info"]} if "type_info" in record.values else {}),
    }


def training_rows(record: Record, scenes: Scenes, prompts: Prompts) -> Iterator[TrainingRow | Dropped]:
    """Make one row of an official record whose object has a proposal over the IoU."""
    scene = record.text("scene_id")
    match = scenes.good_match(scene, record.whole("object_id"), record.origin)
    if match is None:
        yield Dropped(NO_PROPOSAL)
    else:
        prompt = prompts.fill(description=record.text("description"))
        yield TrainingRow(scene, prompt, f"{object_mark(match.proposal)}.")


def companions(
    records: list[Record], label_map: Callable[[], Path | None], say: Callable[[str], None]
) -> dict[str, Any]:
    """Return the lookup file, by ScanNet's label map where there is one; ``say`` gets what it does not know."""
    path = label_map()
    if path is None:
        say(f"{NAME}: no {LABEL_MAP}; unique and multiple go by the raw object names")
        return {LOOKUP: unique_multiple(records, plain_classes())}
    classes = read_label_map(path)
    unknown = sorted({raw_name(record) for record in records} - classes.keys())
    if unknown:
        some = ", ".join(f"'{name}'" for name in unknown[:3])
        say(f"{NAME}: {len(unknown)} object names are not in {path} and count as '{OTHERS}': {some} …")
    return {LOOKUP: unique_multiple(records, classes)}


def published_split(report: Report) -> str | None:
    """Return ``val``; ``None`` for questions from ReferIt3D, which have figures of their own."""
    return None if set(REFERIT_KINDS) & set(report.rows.groups.get("kind", ())) else "val"


def _report(
    rows: Sequence[AnswerRow],
    annotation: Annotation,
    texts: Mapping[str, TextScores],
    rules: str = PUBLISHED_RULES,
) -> Report:
    lookup = annotation.companion(LOOKUP, read_lookup) if annotation.has(LOOKUP) else None
    report = score(rows, annotation.proposals, annotation.ground_truth, lookup, rules)
    return report if lookup is None else replace(report, signature_parts={"lookup": content_hash(lookup)})


BENCHMARK = Benchmark(
    name=NAME,
    title="ScanRefer",
    main_metric="Acc@0.25",
    raw_files=("ScanRefer_filtered_{split}.json",),
    question_file="scanrefer_mask3d_{split}.json",
    about_objects=True,
    names_objects=True,
    question_rows=question_rows,
    training_rows=training_rows,
    companions=companions,
    report=_report,
    needs=NEEDS,
    own=lambda row: row.type_info in REFERIT_KINDS or (bool(row.texts) and all(map(is_mark, row.texts))),
    judge=judge,
    published_split=published_split,
    rules_say=SAYS[PUBLISHED_RULES],
    variants=(
        Rules(RAW, SAYS[RAW], partial(_report, rules=RAW), same_as=PUBLISHED_RULES),
        Rules(STRICT, SAYS[STRICT], partial(_report, rules=STRICT), judge=judge_strictly),
    ),
)
