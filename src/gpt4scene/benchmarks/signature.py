"""Signatures: one line that says what figures stand on, so that figures of different things are never compared unseen.

After the idea of sacreBLEU (Post, WMT 2018): a figure without its settings can't be compared with another one.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np

from gpt4scene import __version__
from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow
from gpt4scene.metrics.answer_boxes import AnswerBoxes, Themselves
from gpt4scene.metrics.boxes import SceneBoxes
from gpt4scene.metrics.scores import Report
from gpt4scene.metrics.texts import TextScores
from gpt4scene.types import Question

MAKER = "gpt4scene"
"""The first word of every signature."""

ANSWERED = "answered"
"""The part that may differ between two runs that are compared: answers given of questions asked."""

NONE, UNKNOWN = "none", "unknown"
_DIGITS = 8
_SAFE = "/:.,@+-_*()=?"
_TRUTHS = {"ref_captions": "ref_captions", "type_info": "type_info", "gt_id": "obj_id", "pred_id": "pred_id"}
_MARKS = re.compile(r"\\*(?:<image>|<\|vision_start\|>|<\|image_pad\|>|<\|vision_end\|>)")


@dataclass(frozen=True)
class Signature:
    """Named parts in their order, such as ``task``, ``rules``, ``questions``. ``str`` gives the line."""

    parts: Mapping[str, str]

    def __str__(self) -> str:
        return "|".join([MAKER, *(f"{name}:{quote(value, safe=_SAFE)}" for name, value in self.parts.items())])


def parse(line: str) -> Signature:
    """Return the signature that ``line`` is; raise ``DataError`` where it is none."""
    maker, *parts = line.strip().split("|")
    pairs = [part.partition(":") for part in parts]
    if maker != MAKER or not parts or not all(name and colon for name, colon, _ in pairs):
        raise DataError(f"'{line[:80]}' is no signature; one starts as {MAKER}|task:NAME|split:NAME|rules:NAME")
    return Signature({name: unquote(value) for name, _, value in pairs})


def differing(first: str, second: str, but: Iterable[str] = (ANSWERED,)) -> dict[str, tuple[str, str]]:
    """Return the parts in which two signatures differ, each with both values, without those named in ``but``.

    A part that one of them lacks is ``none`` there.
    """
    one, other = parse(first).parts, parse(second).parts
    names = [name for name in dict.fromkeys((*one, *other)) if name not in set(but)]
    pairs = {name: (one.get(name, NONE), other.get(name, NONE)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def check_comparable(first: Report, second: Report) -> tuple[str, ...]:
    """Return a warning for every part in which the signatures of two reports differ, answered questions aside.

    Raises ``DataError`` where their rules differ, since the same metric then means two things. Reports that were made
    without files have no signature and no warning.
    """
    if first.rules != second.rules:
        raise DataError(
            f"{first.task}: the first run is counted by the rules '{first.rules}' and the second by '{second.rules}'; "
            "count both by the same ones"
        )
    if not first.signature or not second.signature:
        return ()
    found = differing(first.signature, second.signature)
    return tuple(
        f"the runs differ in {name} ({one} and {other}){_MEANS.get(name, '')}" for name, (one, other) in found.items()
    )


_MEANS = {
    "questions": ": rows that both ask are compared, each by the truth of its own run",
    "boxes": ": the same answer may count differently",
    "judge": ": another judge marks the same answer differently",
    "prompts": ": a judge that is asked otherwise marks the same answer differently",
    "meteor": ": one run has no METEOR",
    "metrics": ": one run has fewer",
    "references": ": captions are compared with others",
    "lookup": ": unique and multiple objects are told apart differently",
    "tok": ": words are told apart by different programs",
    "split": ": they answer questions of different splits",
}


def signature_of(
    benchmark: Benchmark,
    report: Report,
    texts: Mapping[str, TextScores],
    *,
    split: str,
    questions: str,
    boxes: str,
) -> Signature:
    """Return the signature of ``report``, whose counts are those of questions and answers.

    ``questions`` and ``boxes`` are their hashes; ``split`` is the one that the question file names. What the report
    says in ``signature_parts`` comes last, or takes the place of a part of that name.
    """
    counts = report.counts
    if split == "val":
        split = benchmark.published_split(report) or split
    tokenizers = list(dict.fromkeys(found.tokenizer for found in texts.values() if found.tokenizer))
    meteor = any("METEOR" in found.scores for found in texts.values())
    parts = {
        "task": benchmark.name,
        "split": split,
        "rules": benchmark.rules,
        "boxes": boxes,
        "tok": "+".join(tokenizers) or NONE,
        "meteor": "1.5" if meteor else "no",
        "metrics": _chosen(benchmark, texts),
        ANSWERED: f"{counts['answers']}/{counts.get('questions', '?')}",
        "questions": questions,
    }
    return Signature(parts | dict(report.signature_parts) | {"v": __version__})


def _chosen(benchmark: Benchmark, texts: Mapping[str, TextScores]) -> str:
    """Return the kinds of text metrics that were computed, ``all`` where none was left out; METEOR says so itself."""
    if not benchmark.text_groups:
        return "all"
    computed = {name for found in texts.values() for name in found.scores}
    kinds = {"bleu": "Bleu_4", "rouge": "ROUGE_L", "cider": "CIDEr"}
    chosen = [kind for kind, name in kinds.items() if name in computed]
    return "all" if len(chosen) == len(kinds) else "+".join(chosen) or "em"


def questions_hash(asked: Iterable[Question | AnswerRow], needs: Sequence[str]) -> str:
    """Return eight hexadecimal digits for the content of questions, whatever their order and form.

    Content is scene, ``qid``, prompt and, of the truths, those that the score ``needs``; the official row counts by
    its true answer and type.
    """
    truths = set(needs) & _TRUTHS.keys() | ({"ref_captions", "type_info"} if "source" in needs else set())
    lines = sorted(_content(question, sorted(truths)) for question in asked)
    return _hex("\n".join(lines).encode())


def _content(question: Question | AnswerRow, truths: Sequence[str]) -> str:
    in_file = isinstance(question, Question)
    said = [getattr(question, _TRUTHS[key] if in_file else key) for key in truths]
    qid = "" if question.qid in (None, "", 0) else _meaning(question.qid)
    prompt = _words(_MARKS.sub(" ", question.prompt)) if question.prompt else ""
    return json.dumps([question.scene_id, qid, prompt, *map(_meaning, said)])


def _meaning(value: object) -> object:
    """Return ``value`` so that 1, 1.0 and "1" are one, and lists differ by content, not by order."""
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return sorted(map(str, map(_meaning, value)))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return _words(str(value))


def _words(text: str) -> str:
    return " ".join((text if text.isascii() else unicodedata.normalize("NFC", text)).split())


def boxes_hash(benchmark: Benchmark, annotation: Annotation, scenes: Iterable[str]) -> str:
    """Return ``proposals-`` and eight digits for the boxes of ``scenes`` that answers name and are compared with.

    ``own-`` and digits for the true boxes alone where answers bring boxes themselves. ``none`` where the benchmark is
    not about objects or no boxes are compared.
    """
    nowhere = annotation.folder is None and annotation.truth is None
    if not benchmark.about_objects or nowhere or isinstance(annotation.marked, Themselves):
        return NONE
    own = isinstance(annotation.marked, AnswerBoxes)
    found = hashlib.sha256()
    for scene in sorted(set(scenes)):
        for boxes in (annotation.ground_truth,) if own else (annotation.proposals, annotation.ground_truth):
            found.update(_bytes(boxes, scene))
    return f"{'own' if own else 'proposals'}-{found.hexdigest()[:_DIGITS]}"


def _bytes(boxes: SceneBoxes, scene: str) -> bytes:
    array_N6 = np.ascontiguousarray(boxes.get(scene, np.zeros((0, 6))), dtype="<f8")
    return f"{scene} {len(array_N6)} ".encode() + array_N6.tobytes()


def content_hash(content: Mapping[str, object]) -> str:
    """Return eight hexadecimal digits for what JSON can hold, whatever the order of its keys."""
    return _hex(json.dumps(content, sort_keys=True).encode())


def _hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


def split_named(place: Path, benchmark: Benchmark) -> str:
    """Return the split that the name of a question file or of an official file says, else ``unknown``."""
    name = place.name
    for pattern in (benchmark.question_name("{split}"), *benchmark.raw_files):
        plain = (
            re.escape(pattern.rpartition("/")[2])
            .replace(r"\{split\}", "(?P<split>[A-Za-z]+)")
            .replace("_mask3d", "(?:_mask3d)?")
        )
        found = re.fullmatch(plain.replace(r"\*", ".*"), name)
        if found and "split" in found.groupdict():
            return found["split"]
    said = re.search(r"_(train|val|test)\.", name)
    return said[1] if said else UNKNOWN
