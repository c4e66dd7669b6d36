"""Scan2Cap: describe one object; a caption counts where the proposal asked about meets the object's box."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gpt4scene.benchmarks import scanrefer
from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.benchmark import PUBLISHED_RULES, Benchmark
from gpt4scene.benchmarks.comparing import RAW, STRICT, checked_name
from gpt4scene.benchmarks.described import (
    as_written,
    by_object,
    caption_corpus,
    descriptions_of,
    framed,
    has_tokens,
    is_framed,
    marks_apart,
    object_of,
    unframed,
    with_matches,
)
from gpt4scene.benchmarks.judging import Judged, Pointed
from gpt4scene.benchmarks.matching import NO_PROPOSAL, Scenes
from gpt4scene.benchmarks.rows import Dropped, QuestionRow, TrainingRow
from gpt4scene.benchmarks.rules import Rules
from gpt4scene.benchmarks.signature import content_hash
from gpt4scene.benchmarks.wordings import Prompts
from gpt4scene.errors import DataError
from gpt4scene.files.annotation import checked_corpus, read_corpus
from gpt4scene.files.answers import AnswerRow, RowLike, read_rows
from gpt4scene.files.raw import Record, read_records
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


DESCRIPTIONS = scanrefer.BENCHMARK.raw_files[0].format(split="val")
"""Official file of the descriptions as people wrote them, which the raw rules take where it is there."""

_NEARLY = (
    f"references are put together from the words in {CORPUS}; put {DESCRIPTIONS} beside it to compare with the "
    "descriptions themselves, whose words differ in one of a hundred"
)

SAYS = {
    PUBLISHED_RULES: "Captions stand between sos and eos, also where the proposal misses the object, and the tokenizer "
    "drops punctuation, as in Chat-Scene's scorer and the public GPT4Scene one (April 2025).",
    RAW: "Captions are compared in small letters, split at spaces, full stops and commas as words, at IoU 0.5 alone, "
    "as in Video-3D-LLM's scorer (June 2025), which 3DRS shares.",
    STRICT: "Captions and references are compared without sos and eos, so that silence scores nothing; our own.",
}
"""Name of rules -> what they are."""


@dataclass(frozen=True)
class _Way:
    """What becomes of a caption, of a reference in the corpus, and of a missing caption; at which IoU thresholds."""

    caption: Callable[[str], str]
    reference: Callable[[str], str]
    nothing: str
    thresholds: tuple[tuple[str, float], ...] = THRESHOLDS
    split_at_spaces: bool = False


_WAYS = {
    PUBLISHED_RULES: _Way(framed, framed, NOTHING),
    RAW: _Way(
        marks_apart,
        lambda caption: marks_apart(as_written(unframed(caption))),
        marks_apart(""),
        tuple(pair for pair in THRESHOLDS if pair[1] == 0.5),
        split_at_spaces=True,
    ),
    STRICT: _Way(unframed, unframed, ""),
}


def text_groups(
    rows: Iterable[RowLike],
    proposals: Mapping[str, object],
    ground_truth: Mapping[str, object],
    corpus: Mapping[str, Sequence[str]],
    rules: str = PUBLISHED_RULES,
    descriptions: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, TextGroup]:
    """Return, for each IoU threshold (``@0.25``, ``@0.50``), the captions of all objects of ``corpus``.

    ``descriptions`` are the same captions as people wrote them, for rules that compare those.
    """
    way = _WAYS[checked_name(rules, SAYS, NAME)]
    corpus = checked_corpus(corpus, CORPUS)
    by_object = _by_object(rows, corpus)
    overlap = _overlaps(by_object, proposals, ground_truth)
    references = tuple(tuple(map(way.reference, captions)) for captions in corpus.values())
    if descriptions is not None:
        references = tuple(tuple(map(way.caption, captions)) for captions in _same_objects(descriptions, corpus))
    groups = {}
    for label, threshold in way.thresholds:
        captions = tuple(
            way.caption(by_object[key].pred) if overlap.get(key, -1.0) >= threshold else way.nothing for key in corpus
        )
        groups[f"@{label}"] = TextGroup(captions, references, way.split_at_spaces)
    return groups


def _same_objects(
    descriptions: Mapping[str, Sequence[str]], corpus: Mapping[str, Sequence[str]]
) -> list[Sequence[str]]:
    """Return the descriptions in the order of ``corpus``; ``DataError`` where they are not of the same captions."""
    for key, captions in corpus.items():
        if len(descriptions.get(key, ())) != len(captions):
            raise DataError(
                f"{DESCRIPTIONS}: has {len(descriptions.get(key, ()))} descriptions of '{key}', and {CORPUS} has "
                f"{len(captions)}; put the file of the same split there, or remove it"
            )
    return [descriptions[key] for key in corpus]


def report(
    rows: Iterable[RowLike],
    proposals: Mapping[str, object],
    ground_truth: Mapping[str, object],
    corpus: Mapping[str, Sequence[str]],
    texts: Mapping[str, TextScores],
    rules: str = PUBLISHED_RULES,
    descriptions: Mapping[str, Sequence[str]] | None = None,
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
    if rules == RAW and descriptions is None:
        notes[_NEARLY] = None
    truth = scene_boxes(ground_truth, "the ground-truth boxes")
    notes |= dict.fromkeys(flat_targets(truth, ((row.scene_id, row.target) for row in by_object.values())))
    places = [_place(key) for key in corpus]
    values = {f"{name}{suffix}": value for suffix, found in texts.items() for name, value in found.rows.items()}
    pooled = {f"{name}{suffix}": one for suffix, found in texts.items() for name, one in found.pooled.items()}
    labels = {"label": tuple(truth.label(*place) for place in places)}
    by_object_scores = RowScores(tuple(corpus), tuple(scene for scene, _ in places), labels, values, pooled)
    told = {"references": content_hash(corpus if descriptions is None else descriptions)}
    return Report(NAME, scores, counts, tuple(notes), by_object_scores, rules=rules, signature_parts=told)


def score(
    rows: Iterable[RowLike],
    proposals: Mapping[str, object],
    ground_truth: Mapping[str, object],
    corpus: Mapping[str, Sequence[str]],
    rules: str = PUBLISHED_RULES,
    descriptions: Mapping[str, Sequence[str]] | None = None,
) -> Report:
    """Return the text metrics at IoU 0.25 and 0.5, over all objects of ``corpus``.

    ``corpus`` maps ``scene|object`` to captions framed ``sos … eos``; ``pred_id`` of a row is the proposal asked
    about, ``gt_id`` the object. A proposal under the IoU and an object without an answer count as ``sos eos``; of two
    answers about one object the last counts. ``rules`` is one of ``SAYS``; the raw ones take ``descriptions``, the
    captions as people wrote them, where there are any. Raises ``DataError`` for unknown scenes and objects.
    """
    read = read_rows(rows, NAME, NEEDS)
    texts = score_groups(text_groups(read, proposals, ground_truth, corpus, rules, descriptions))
    return report(read, proposals, ground_truth, corpus, texts, rules, descriptions)


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


def judge(row: AnswerRow, figures: Mapping[str, float], annotation: Annotation, rules: str = PUBLISHED_RULES) -> Judged:
    """Return right for the very words of a reference, wrong for no words, else no verdict; CIDEr and IoU beside it.

    Words about a proposal under the IoU count as no caption, so that right ones are partly right.
    """
    way = _WAYS[rules]
    references = tuple(unframed(text) for text in row.texts)
    overlap = annotation.overlap(row, row.proposal)
    label, threshold = way.thresholds[-1]
    counted = way.caption(row.pred) if overlap >= threshold else way.nothing
    gate = f"IoU {overlap:.2f} of the proposal asked about: {'meets' if overlap >= threshold else 'under'} {label}"
    if overlap < threshold:
        gate += ", counts as no caption"
    cider = figures.get(f"CIDEr@{label}")
    parts = [*([] if cider is None else [f"CIDEr {100 * cider:.0f}"]), gate]
    same = _words(row.pred) in map(_words, references)
    said = "empty answer" if not row.pred.strip() else "words of a reference" if same else ""
    return Judged(
        row,
        verdict="wrong" if not row.pred.strip() else "" if not same else "right" if overlap >= threshold else "partly",
        reason="; ".join([*[said] * bool(said), *parts]),
        references=references,
        parsed=counted,
        compared=tuple(way.reference(text) for text in row.texts),
        pointed=Pointed((row.proposal,), (row.target,)),
    )


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


def references(record: Record) -> Iterator[QuestionRow]:
    """Make one row of an object (``by_object``) that answers name itself, not by a proposal."""
    scene, target = object_of(record)
    captions = record.items("captions")
    yield {"scene_id": scene, "obj_id": target, "qid": f"{scene}_{target}", "prompt": "", "ref_captions": captions}


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


def _descriptions(annotation: Annotation, rules: str) -> dict[str, list[str]] | None:
    if rules != RAW or not annotation.has(DESCRIPTIONS):
        return None
    return annotation.companion(DESCRIPTIONS, lambda path: descriptions_of(read_records(path)))


def _rules(name: str) -> Rules:
    def groups(rows: Sequence[AnswerRow], found: Annotation) -> dict[str, TextGroup]:
        written = _descriptions(found, name)
        return text_groups(rows, found.proposals, found.ground_truth, _corpus(found), name, written)

    def made(rows: Sequence[AnswerRow], found: Annotation, texts: Mapping[str, TextScores]) -> Report:
        written = _descriptions(found, name)
        return report(rows, found.proposals, found.ground_truth, _corpus(found), texts, name, written)

    return Rules(name, SAYS[name], made, groups, judge=partial(judge, rules=name))


_PUBLISHED = _rules(PUBLISHED_RULES)

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
    references=references,
    training_records=with_matches,
    training_rows=training_rows,
    companions=companions,
    text_groups=_PUBLISHED.text_groups,
    report=_PUBLISHED.report,
    needs=NEEDS,
    own=lambda row: bool(row.texts) and all(map(is_framed, row.texts)),
    score_keys=lambda rows: [f"{row.scene_id}|{row.gt_id}" for row in rows],
    judge=judge,
    unanswered="the figures count their objects as not described",
    rules_say=SAYS[PUBLISHED_RULES],
    variants=(_rules(RAW), _rules(STRICT)),
)
