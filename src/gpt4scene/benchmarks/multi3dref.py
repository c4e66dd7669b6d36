"""Multi3DRefer: find every object that a description means: none, one, or several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.benchmark import PUBLISHED_RULES, Benchmark, scores_by_row
from gpt4scene.benchmarks.comparing import RAW, STRICT, checked_name
from gpt4scene.benchmarks.grounding import marked
from gpt4scene.benchmarks.judging import Judged, Pointed
from gpt4scene.benchmarks.matching import NO_PROPOSAL, Scenes
from gpt4scene.benchmarks.rows import Dropped, QuestionRow, TrainingRow
from gpt4scene.benchmarks.rules import Rules
from gpt4scene.benchmarks.wordings import Prompts, without_end_mark
from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow, RowLike, read_rows
from gpt4scene.files.raw import Record
from gpt4scene.metrics.boxes import THRESHOLDS, SceneBoxes, flat_targets, scene_boxes
from gpt4scene.metrics.matched_f1 import best_pairs, padded, rows_f1
from gpt4scene.metrics.object_ids import object_ids, object_mark
from gpt4scene.metrics.scores import Report
from gpt4scene.metrics.texts import TextScores

NAME = "multi3dref"
NEEDS = ("ref_captions", "type_info")
"""What an answer needs to be scored."""

TYPES = ("zt_w_d", "zt_wo_d", "st_w_d", "st_wo_d", "mt")
"""Zero, single or multiple targets, with or without distractors of the same class."""

SHARED_PROPOSAL = "two targets share a proposal"


SAYS = {
    PUBLISHED_RULES: "Identifiers past the last proposal are dropped and a repeated one counts twice, as in "
    "Chat-Scene's scorer and the public GPT4Scene one (April 2025).",
    RAW: "The figures are those of gpt4scene: Video-3D-LLM's scorer (June 2025) pairs and counts boxes alike, and its "
    "model names no box twice and none that is not there.",
    STRICT: "A repeated identifier counts once and one past the last proposal is a miss; our own.",
}
"""Name of rules -> what they are."""


def score(
    rows: Iterable[RowLike],
    proposals: Mapping[str, object],
    ground_truth: Mapping[str, object],
    rules: str = PUBLISHED_RULES,
) -> Report:
    """Return the mean F1 at IoU 0.25 and 0.5, over all rows and for each kind of question that occurs.

    ``proposals`` and ``ground_truth`` map a scene to its boxes (N x 6: centre, size); a row's ``ref_captions`` are
    ground-truth object ids, its ``type_info`` one of ``TYPES``. Identifiers past the last proposal are dropped and a
    repeated one counts twice, as published; the strict figures, all figures under the ``rules`` of that name
    (``SAYS``), count a repeated one once and one past the last as a miss. Raises ``DataError`` for unknown scenes,
    objects and kinds.
    """
    read = _checked(rows)
    found = scene_boxes(proposals, "the proposal boxes")
    truth = scene_boxes(ground_truth, "the ground-truth boxes")
    proposals_B = [found.of(row.scene_id, row.origin) for row in read]
    targets_B = [_targets(row, truth) for row in read]
    mentioned = [object_ids(row.pred) for row in read]
    named = [[i for i in row if i < len(boxes)] for row, boxes in zip(mentioned, proposals_B, strict=True)]
    once = [list(dict.fromkeys(row)) for row in mentioned]
    said = [str(row.type_info) for row in read]
    none_meant = [kind.startswith("zt") for kind in said]
    published_B2 = rows_f1(none_meant, named, proposals_B, targets_B)
    strict_B2 = rows_f1(none_meant, once, proposals_B, targets_B)
    kinds = np.array(said)
    scores, values, counts = {}, {}, {"answers": len(read)}
    strictly = checked_name(rules, SAYS, NAME) == STRICT
    counted_B2 = strict_B2 if strictly else published_B2
    groups = [(group, counted_B2) for group in ("all", *TYPES)] + ([] if strictly else [("strict all", strict_B2)])
    for group, f1_B2 in groups:
        members_B = kinds == group if group in TYPES else np.ones(len(read), dtype=bool)
        if not members_B.any():
            continue
        if group in TYPES:
            counts[group] = int(members_B.sum())
        for (label, _), f1_B in zip(THRESHOLDS, f1_B2.T, strict=True):
            scores[f"{group} F1@{label}"] = float(np.mean(f1_B[members_B]))
            values[f"{group} F1@{label}"] = np.where(members_B, f1_B, np.nan)
    unreadable = [
        not ids and not row.pred.strip().lower().startswith("no") for ids, row in zip(mentioned, read, strict=True)
    ]
    counts["unreadable answers"] = sum(unreadable)
    counts["dropped identifiers"] = sum(map(len, mentioned)) - sum(map(len, named))
    notes = flat_targets(truth, ((row.scene_id, int(target)) for row in read for target in row.references))
    return Report(
        NAME, scores, counts, notes, scores_by_row(read, {"kind": tuple(kinds.tolist())}, values), rules=rules
    )


def _targets(row: AnswerRow, truth: SceneBoxes) -> np.ndarray:
    return np.array([truth.row(row.scene_id, int(index), row.origin) for index in row.references]).reshape(-1, 6)


def _checked(rows: Iterable[RowLike]) -> list[AnswerRow]:
    read = read_rows(rows, NAME, NEEDS)
    for row in read:
        if row.type_info not in TYPES:
            raise DataError(f"{row.origin}: 'type_info' must be one of {', '.join(TYPES)}, found {row.type_info!r}")
        if not all(str(index).isdecimal() for index in row.references):
            raise DataError(f"{row.origin}: 'ref_captions' must be object ids, found {list(row.references)}")
        _check_kind(str(row.type_info), row.references, row.origin, "ref_captions")
    return read


def _check_kind(kind: str, targets: Sequence[object], origin: str, key: str) -> None:
    """Raise ``DataError`` where a question of ``kind`` can't mean ``targets``, which stand under ``key``."""
    if not targets and not kind.startswith("zt"):
        raise DataError(f"{origin}: a question of kind '{kind}' has no target in '{key}'; correct one of the two")
    if targets and kind.startswith("zt"):
        raise DataError(
            f"{origin}: a question of kind '{kind}' means no object, but '{key}' holds {list(targets)}; correct one of "
            "the two"
        )


def spoken_ids(proposals: Iterable[int]) -> str:
    """Return the answer that names ``proposals``: ``No.``, ``Yes. <OBJ001>.``, ``Yes. <OBJ001> and <OBJ004>.`` …"""
    marks = [object_mark(index) for index in sorted(proposals)]
    if not marks:
        return "No."
    if len(marks) < 3:
        return f"Yes. {' and '.join(marks)}."
    return f"Yes. {', '.join(marks[:-1])}, and {marks[-1]}."


def judge(row: AnswerRow, figures: Mapping[str, float], annotation: Annotation, rules: str = PUBLISHED_RULES) -> Judged:
    """Return the verdict by F1 at IoU 0.25, and how named and meant boxes are paired: 1 is right, above 0 partly."""
    f1, found, scene = figures["all F1@0.25"], annotation.proposals, row.scene_id
    boxes_N6, mentioned = found.of(scene, row.origin), object_ids(row.pred)
    known = [number for number in mentioned if number < len(boxes_N6)]
    counted = list(dict.fromkeys(mentioned)) if rules == STRICT else known
    meant = [f"object {target}{annotation.ground_truth.in_brackets(scene, int(target))}" for target in row.references]
    marks = [marked(found, scene, number) for number in counted]
    pairs = best_pairs(padded(boxes_N6, counted), _targets(row, annotation.ground_truth))
    return Judged(
        row,
        verdict="right" if f1 == 1 else "partly" if f1 > 0 else "wrong",
        reason=f"F1 {f1:.2f}; {len(mentioned)} named, {len(meant)} meant",
        references=tuple(meant) or ("no object",),
        parsed=", ".join(marks) or ("no object" if row.pred.strip() else None),
        details=tuple(
            f"{object_mark(counted[place])} and {meant[target]}: IoU {overlap:.2f}"
            for place, target, overlap in pairs
            if overlap
        ),
        pointed=Pointed(tuple(dict.fromkeys(known)), tuple(int(target) for target in row.references)),
    )


def question_rows(record: Record, scenes: Scenes, prompts: Prompts) -> Iterator[QuestionRow]:
    """Make one row of every official record."""
    scene, targets = record.text("scene_id"), record.wholes("object_ids")
    for target in targets:
        scenes.ground_truth.row(scene, target, record.origin)
    kind, number = _kind(record), record.name("ann_id")
    _check_kind(kind, targets, record.origin, "object_ids")
    yield {
        "scene_id": scene,
        "obj_id": 0,
        "qid": None if number is None else f"{scene}_{number}",
        "prompt": prompts.fill(description=without_end_mark(record.text("description"))),
        "ref_captions": targets,
        "eval_type": kind,
    }


def training_rows(record: Record, scenes: Scenes, prompts: Prompts) -> Iterator[TrainingRow | Dropped]:
    """Make one row of a record whose targets all have a proposal over the IoU, each its own."""
    scene = record.text("scene_id")
    matches = [scenes.good_match(scene, target, record.origin) for target in record.wholes("object_ids")]
    proposals = {match.proposal for match in matches if match}
    if None in matches:
        yield Dropped(NO_PROPOSAL)
    elif len(proposals) < len(matches):
        yield Dropped(SHARED_PROPOSAL)
    else:
        prompt = prompts.fill(description=without_end_mark(record.text("description")))
        yield TrainingRow(scene, prompt, spoken_ids(proposals))


def _kind(record: Record) -> str:
    kind = record.text("eval_type")
    if kind not in TYPES:
        raise DataError(f"{record.origin}: 'eval_type' must be one of {', '.join(TYPES)}, found '{kind}'")
    return kind


def _report(
    rows: Sequence[AnswerRow],
    annotation: Annotation,
    texts: Mapping[str, TextScores],
    rules: str = PUBLISHED_RULES,
) -> Report:
    return score(rows, annotation.proposals, annotation.ground_truth, rules)


BENCHMARK = Benchmark(
    name=NAME,
    title="Multi3DRefer",
    main_metric="all F1@0.25",
    raw_files=("multi3drefer_{split}.json",),
    question_file="multi3dref_mask3d_{split}.json",
    type_key="eval_type",
    about_objects=True,
    names_objects=True,
    question_rows=question_rows,
    training_rows=training_rows,
    report=_report,
    needs=NEEDS,
    own=lambda row: row.type_info in TYPES,
    judge=judge,
    rules_say=SAYS[PUBLISHED_RULES],
    variants=(
        Rules(RAW, SAYS[RAW], partial(_report, rules=RAW), same_as=PUBLISHED_RULES),
        Rules(STRICT, SAYS[STRICT], partial(_report, rules=STRICT), judge=partial(judge, rules=STRICT)),
    ),
)
