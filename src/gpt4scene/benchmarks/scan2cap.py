"""Scan2Cap: describe one object; a caption counts where the proposal asked about meets the object's box."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from gpt4scene.benchmarks.matching import NO_PROPOSAL, Made, Match, Rooms, TrainingRow, wordings
from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow, RowLike, read_rows
from gpt4scene.files.raw import Record
from gpt4scene.metrics.boxes import PUBLISHED_EPSILON, THRESHOLDS, iou, scene_boxes
from gpt4scene.metrics.object_ids import object_mark
from gpt4scene.metrics.scores import Report, RowScores
from gpt4scene.metrics.texts import TextGroup, TextScores, score_groups

NAME = "scan2cap"
NOTHING = "sos eos"
"""The caption that stands for none: the proposal missed the object, or nobody asked about it."""

CORPUS = "scan2cap_val_corpus.json"
"""File of the captions of all annotated objects."""

NOT_TAKEN = "no proposal takes the object"


def framed(caption: str) -> str:
    """Return ``caption`` between the words ``sos`` and ``eos``, line breaks as spaces."""
    return f"sos {caption} eos".replace("\n", " ")


def text_groups(
    rows: Iterable[RowLike],
    proposals: Mapping[str, object],
    ground_truth: Mapping[str, object],
    corpus: Mapping[str, Sequence[str]],
) -> dict[str, TextGroup]:
    """Return, for each IoU threshold (``@0.25``, ``@0.50``), the captions of all objects of ``corpus``."""
    by_object = _by_object(rows, corpus)
    overlap = _overlaps(by_object, proposals, ground_truth)
    references = tuple(tuple(captions) for captions in corpus.values())
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
    texts: dict[str, TextScores],
) -> Report:
    """Return the report of ``rows`` with the text metrics already computed (``score_groups(text_groups(…))``)."""
    read = read_rows(rows, NAME)
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
    read = read_rows(rows, NAME)
    texts = score_groups(text_groups(read, proposals, ground_truth, corpus))
    return report(read, proposals, ground_truth, corpus, texts)


def _place(key: str) -> tuple[str, int]:
    scene, _, target = key.rpartition("|")
    if not scene or not target.isdecimal():
        raise DataError(f"{NAME}: the corpus key '{key}' must name scene and object as 'scene0011_00|4'")
    return scene, int(target)


def _by_object(rows: Iterable[RowLike], corpus: Mapping[str, Sequence[str]]) -> dict[str, AnswerRow]:
    by_object = {}
    for row in read_rows(rows, NAME):
        key = f"{row.scene_id}|{row.gt_id}"
        if not corpus.get(key):
            raise DataError(
                f"{row.origin}: object {row.gt_id} of scene '{row.scene_id}' has no captions in "
                "scan2cap_val_corpus.json; is that the file of another split?"
            )
        by_object[key] = row
    return by_object


def _overlaps(
    by_object: Mapping[str, AnswerRow], proposals: Mapping[str, object], ground_truth: Mapping[str, object]
) -> dict[str, float]:
    found = scene_boxes(proposals, "the proposal boxes")
    truth = scene_boxes(ground_truth, "the ground-truth boxes")
    asked_B6 = [found.row(row.scene_id, row.pred_id, row.origin) for row in by_object.values()]
    target_B6 = [truth.row(row.scene_id, row.gt_id, row.origin) for row in by_object.values()]
    return dict(zip(by_object, iou(np.array(asked_B6), np.array(target_B6), PUBLISHED_EPSILON).tolist(), strict=True))


def caption_corpus(records: Iterable[Record]) -> dict[str, list[str]]:
    """Return ``scene|object -> captions`` of official ScanRefer records: lower-case tokens framed by sos and eos."""
    captions: dict[str, list[str]] = {}
    for record in records:
        tokens = record.values.get("token") or re.findall(r"\w+(?:['-]\w+)*|[^\w\s]", record.text("description"))
        key = f"{record.text('scene_id')}|{record.whole('object_id')}"
        captions.setdefault(key, []).append(framed(" ".join(map(str, tokens)).lower()))
    return captions


def asked(rooms: Rooms, scene: str, described: Iterable[int], origin: str) -> dict[int, Match]:
    """Return the proposal asked about for each object of ``described`` that gets one.

    Each proposal takes the described object that it overlaps most, then each object the best of its proposals.
    """
    targets = sorted(set(described))
    for target in targets:
        rooms.ground_truth.row(scene, target, origin)
    overlap_NG = rooms.overlap(scene)[:, targets]
    found: dict[int, Match] = {}
    for proposal, overlap_G in enumerate(overlap_NG):
        best = int(np.argmax(overlap_G))
        current = found.get(targets[best])
        if overlap_G[best] > (current.iou if current else 0.0):
            found[targets[best]] = Match(proposal, float(overlap_G[best]))
    return found


def questions(records: Iterable[Record], rooms: Rooms) -> Made:
    """Return the question-file rows about the objects that official ScanRefer records describe, one an object."""
    records = list(records)
    made, words, captions = Made(), wordings(NAME), caption_corpus(records)
    for scene, target, match in _matched(records, rooms, made):
        made.rows.append(
            {
                "scene_id": scene,
                "obj_id": target,
                "pred_id": match.proposal,
                "qid": f"{scene}_{target}",
                "prompt": words.choose(None, object=object_mark(match.proposal)),
                "ref_captions": captions[f"{scene}|{target}"],
                "iou": match.iou,
            }
        )
    return made


def training(records: Iterable[Record], rooms: Rooms, generator: random.Random) -> Made:
    """Return a training row for every description of an object whose proposal meets the IoU."""
    records = list(records)
    made, words = Made(), wordings(NAME)
    matches = {(scene, target): match for scene, target, match in _matched(records, rooms, made, by_description=True)}
    for record in records:
        match = matches.get((record.text("scene_id"), record.whole("object_id")))
        if match is None:
            continue
        if match.iou < rooms.min_iou:
            made.dropped[NO_PROPOSAL] += 1
            continue
        prompt = words.choose(generator, object=object_mark(match.proposal))
        made.rows.append(TrainingRow(record.text("scene_id"), prompt, record.text("description")))
    return made


def _matched(
    records: Sequence[Record], rooms: Rooms, made: Made, by_description: bool = False
) -> list[tuple[str, int, Match]]:
    """Return scene, object and proposal asked about; what gets none is counted in ``made``.

    Counted are objects, or their descriptions, whichever become rows.
    """
    described: dict[str, dict[int, list[str]]] = {}
    for record in records:
        targets = described.setdefault(record.text("scene_id"), {})
        targets.setdefault(record.whole("object_id"), []).append(record.origin)
    triples = []
    for scene, targets in described.items():
        rows = {target: len(origins) if by_description else 1 for target, origins in targets.items()}
        reason = rooms.lacks(scene)
        if reason:
            made.dropped[reason] += sum(rows.values())
            continue
        found = asked(rooms, scene, targets, next(iter(targets.values()))[0])
        made.dropped[NOT_TAKEN] += sum(count for target, count in rows.items() if target not in found)
        triples += [(scene, target, found[target]) for target in sorted(found)]
    return triples
