"""Scan2Cap: describe one object; a caption counts where the proposal asked about meets the object's box."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpt4scene.benchmarks import scanrefer
from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.benchmarks.described import (
    by_object,
    caption_corpus,
    framed,
    has_tokens,
    is_framed,
    object_of,
    with_matches,
)
from gpt4scene.benchmarks.judging import Judged
from gpt4scene.benchmarks.matching import NO_PROPOSAL, Scenes
from gpt4scene.benchmarks.rows import Dropped, QuestionRow, TrainingRow
from gpt4scene.benchmarks.wordings import Prompts
from gpt4scene.errors import DataError
from gpt4scene.files.annotation import checked_corpus, read_corpus
from gpt4scene.files.answers import AnswerRow, RowLike, read_rows
from gpt4scene.files.raw import Record
from gpt4scene.metrics.boxes import PUBLISHED_EPSILON, THRESHOLDS, flat_targets, iou, scene_boxes
from gpt4scene.metrics.object_ids import object_mark
from gpt4scene.metrics.scores import Report, RowScores
from gpt4scene.metrics.texts import TextGroup, TextScores, score_groups

NAME = "scan2cap"
NEEDS = ("gt_id", "pred_id")
"""What an answer needs to be scored; the references are the corpus."""

NOTHING = "sos eos"
"""The caption that stands for none: the proposal missed the object, or nobody asked about it."""

CORPUS = "scan2cap_val_corpus.json"
"""File of the captions of all annotated objects."""

NOT_TAKEN = "no proposal takes the object"


def text_groups(
    rows: Iterable[RowLike],
    proposals: Mapping[str, object],
    ground_truth: Mapping[str, object],
    corpus: Mapping[str, Sequence[str]],
) -> dict[str, TextGroup]:
    """Return, for each IoU threshold (``@0.25``, ``@0.50``), the captions of all objects of ``corpus``."""
    corpus = checked_corpus(corpus, CORPUS)
    by_object = _by_object(rows, corpus)
    overlap = _overlaps(by_object, proposals, ground_truth)
    references = tuple(tuple(map(framed, captions)) for captions in corpus.values())
    groups = {}
    for label, threshold in THRESHOLDS:
        captions = tuple(
            framed(by_object[key].pred) if overlap.get(key, -1.0) >= threshold else NOTHING for key in corpus
        )
        groups[f"@{label}"] = TextGroup(captions, references)
    return groups


def report(
    rows: Iterable[RowLike],
    proposals: Mapping[str, object],
    ground_truth: Mapping[str, object],
    corpus: Mapping[str, Sequence[str]],
    texts: Mapping[str, TextScores],
) -> Report:
    """Return the report of ``rows`` with the text metrics already computed (``score_groups(text_groups(…))``)."""
    read = read_rows(rows, NAME, NEEDS)
    by_object = _by_object(read, corpus)
    overlap = np.array(list(_overlaps(by_object, proposals, ground_truth).values()))
    scores = {f"{metric}{suffix}": value for suffix, found in texts.items() for metric, value in found.scores.items()}
    counts = {
        "answers": len(read),
        "objects": len(corpus),
        "objects without an answer": len(corpus) - len(by_object),
        "answers replaced by a later one": len(read) - len(by_object),
        "empty answers": sum(not row.pred.strip() for row in read),
    }
    counts |= {f"proposals under IoU {label}": int((overlap < threshold).sum()) for label, threshold in THRESHOLDS}
    notes = dict.fromkeys(note for found in texts.values() for note in found.notes)
    truth = scene_boxes(ground_truth, "the ground-truth boxes")
    notes |= dict.fromkeys(flat_targets(truth, ((row.scene_id, row.target) for row in by_object.values())))
    places = [_place(key) for key in corpus]
    values = {f"{name}{suffix}": value for suffix, found in texts.items() for name, value in found.rows.items()}
    pooled = {f"{name}{suffix}": one for suffix, found in texts.items() for name, one in found.pooled.items()}
    labels = {"label": tuple(truth.label(*place) for place in places)}
    by_object_scores = RowScores(tuple(corpus), tuple(scene for scene, _ in places), labels, values, pooled)
    return Report(NAME, scores, counts, tuple(notes), by_object_scores)


def score(
    rows: Iterable[RowLike],
    proposals: Mapping[str, object],
    ground_truth: Mapping[str, object],
    corpus: Mapping[str, Sequence[str]],
) -> Report:
    """Return the text metrics at IoU 0.25 and 0.5, over all objects of ``corpus``.

    ``corpus`` maps ``scene|object`` to captions framed ``sos … eos``; ``pred_id`` of a row is the proposal asked
    about, ``gt_id`` the object. A proposal under the IoU and an object without an answer count as ``sos eos``; of two
    answers about one object the last counts. Raises ``DataError`` for unknown scenes and objects.
    """
    read = read_rows(rows, NAME, NEEDS)
    texts = score_groups(text_groups(read, proposals, ground_truth, corpus))
    return report(read, proposals, ground_truth, corpus, texts)


def _place(key: str) -> tuple[str, int]:
    scene, _, target = key.rpartition("|")
    if not scene or not target.isdecimal():
        raise DataError(f"{NAME}: the corpus key '{key}' must name scene and object as 'scene0011_00|4'")
    return scene, int(target)


def _by_object(rows: Iterable[RowLike], corpus: Mapping[str, Sequence[str]]) -> dict[str, AnswerRow]:
    by_object = {}
    for row in read_rows(rows, NAME, NEEDS):
        key = f"{row.scene_id}|{row.gt_id}"
        if not corpus.get(key):
            raise DataError(
                f"{row.origin}: object {row.gt_id} of scene '{row.scene_id}' has no captions in {CORPUS}; "
                "is that the file of another split?"
            )
        by_object[key] = row
    return by_object


def _overlaps(
    by_object: Mapping[str, AnswerRow], proposals: Mapping[str, object], ground_truth: Mapping[str, object]
) -> dict[str, float]:
    found = scene_boxes(proposals, "the proposal boxes")
    truth = scene_boxes(ground_truth, "the ground-truth boxes")
    asked_B6 = [found.row(row.scene_id, row.proposal, row.origin) for row in by_object.values()]
    target_B6 = [truth.row(row.scene_id, row.target, row.origin) for row in by_object.values()]
    return dict(zip(by_object, iou(np.array(asked_B6), np.array(target_B6), PUBLISHED_EPSILON).tolist(), strict=True))


def judge(row: AnswerRow, figures: Mapping[str, float], annotation: Annotation) -> Judged:
    """Return right for the very words of a reference, wrong for no words, else no verdict; CIDEr and IoU beside it."""
    references = tuple(text.removeprefix("sos ").removesuffix(" eos").strip() for text in row.texts)
    overlap = annotation.overlap(row, row.proposal)
    parts = [f"CIDEr {100 * figures['CIDEr@0.50']:.0f}"] if "CIDEr@0.50" in figures else []
    if overlap < 0.5:
        parts.append(f"the proposal asked about has IoU {overlap:.2f}: counts as no caption")
    if not row.pred.strip():
        return Judged(row, "wrong", "; ".join(["empty answer", *parts]), references)
    same = _words(row.pred) in map(_words, references)
    return Judged(row, "right" if same else "", "; ".join([*["words of a reference"] * same, *parts]), references)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def question_rows(record: Record, scenes: Scenes, prompts: Prompts) -> Iterator[QuestionRow | Dropped]:
    """Make one row of an object (``by_object``) that a proposal takes."""
    scene, target, match = *object_of(record), record.values["match"]
    if match is None:
        yield Dropped(NOT_TAKEN)
        return
    yield {
        "scene_id": scene,
        "obj_id": target,
        "pred_id": match.proposal,
        "qid": f"{scene}_{target}",
        "prompt": prompts.fill(object=object_mark(match.proposal)),
        "ref_captions": record.items("captions"),
        "iou": match.iou,
    }


def training_rows(record: Record, scenes: Scenes, prompts: Prompts) -> Iterator[TrainingRow | Dropped]:
    """Make one row of a description (``with_matches``) of an object whose proposal meets the IoU."""
    match = record.values["match"]
    if match is None:
        yield Dropped(NOT_TAKEN)
    elif match.iou < scenes.min_iou:
        yield Dropped(NO_PROPOSAL)
    else:
        prompt = prompts.fill(object=object_mark(match.proposal))
        yield TrainingRow(record.text("scene_id"), prompt, record.text("description"))


def companions(
    records: list[Record], label_map: Callable[[], Path | None], say: Callable[[str], None]
) -> dict[str, Any]:
    """Return the file of all captions; ``say`` gets the number of those whose words are told by our own rule."""
    without = sum(not has_tokens(record) for record in records)
    if without:
        say(f"{NAME}: {without} descriptions have no 'token'; their words in {CORPUS} are told by our own rule")
    return {CORPUS: caption_corpus(records)}


def _corpus(annotation: Annotation) -> dict[str, list[str]]:
    return annotation.companion(CORPUS, read_corpus)


BENCHMARK = Benchmark(
    name=NAME,
    title="Scan2Cap",
    main_metric="CIDEr@0.50",
    most=10.0,
    raw_files=scanrefer.BENCHMARK.raw_files,
    question_file="scan2cap_mask3d_{split}.json",
    about_objects=True,
    question_records=by_object,
    question_rows=question_rows,
    training_records=with_matches,
    training_rows=training_rows,
    companions=companions,
    text_groups=lambda rows, found: text_groups(rows, found.proposals, found.ground_truth, _corpus(found)),
    report=lambda rows, found, texts: report(rows, found.proposals, found.ground_truth, _corpus(found), texts),
    needs=NEEDS,
    own=lambda row: bool(row.texts) and all(map(is_framed, row.texts)),
    score_keys=lambda rows: [f"{row.scene_id}|{row.gt_id}" for row in rows],
    judge=judge,
    unanswered="the figures count their objects as not described",
)
