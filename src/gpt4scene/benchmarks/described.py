"""Objects that ScanRefer's records describe: their captions, and the proposals that are asked about."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from gpt4scene.benchmarks.matching import Match, Scenes
from gpt4scene.files.raw import Record

_FIRST = re.compile(r"sos\b", re.IGNORECASE)
_LAST = re.compile(r"\beos\Z", re.IGNORECASE)
_WORD = re.compile(r"\w+(?:['-]\w+)*|[^\w\s]")


def framed(caption: str) -> str:
    """Return ``caption`` between the words ``sos`` and ``eos``, line breaks as spaces.

    Frame words that it has already, both or one, in any case, are not set twice: some predictions carry them.
    """
    start = caption.lstrip()
    if _FIRST.match(start):
        caption = start[len("sos") :].lstrip()
    end = caption.rstrip()
    if _LAST.search(end[-len(" eos") :]):
        caption = end[: -len("eos")].rstrip()
    return f"sos {caption} eos".replace("\n", " ")


def unframed(caption: str) -> str:
    """Return ``caption`` without the frame words ``sos`` and ``eos`` at its ends, line breaks as spaces."""
    return framed(caption).removeprefix("sos").removesuffix("eos").strip()


def marks_apart(caption: str) -> str:
    """Return ``caption`` in small letters and framed, its full stops and commas words of their own; else as it is.

    Spaces that stand beside one another stay, as in Video-3D-LLM's scorer: ROUGE-L counts the empty words between.
    """
    return f"sos {caption.replace('.', ' . ').replace(',', ' , ').lower()} eos"


def as_written(tokens: str) -> str:
    """Return words of a corpus, which spaces separate, nearly as the description had them: marks joined to words."""
    text = re.sub(r" (?=[.,!?;:)])|(?<=\() | (?='(?:s|ll|re|ve|d|m)\b)| (?=n't\b)", "", tokens)
    return re.sub(r"(?<=\w) ([-/]) (?=\w)", r"\1", text)


def is_framed(caption: str) -> bool:
    """Return whether ``caption`` stands between the words ``sos`` and ``eos``."""
    words = caption.split()
    return len(words) > 1 and (words[0], words[-1]) == ("sos", "eos")


def has_tokens(record: Record) -> bool:
    """Return whether an official record says the words of its description."""
    return record.values.get("token") not in (None, [])


def caption_corpus(records: Iterable[Record]) -> dict[str, list[str]]:
    """Return ``scene|object -> captions`` of official ScanRefer records: lower-case tokens framed by sos and eos.

    A record without ``token`` gets the words and marks of its description.
    """
    captions: dict[str, list[str]] = {}
    for record in records:
        tokens = record.texts("token") if has_tokens(record) else _WORD.findall(record.text("description"))
        key = f"{record.text('scene_id')}|{record.whole('object_id')}"
        captions.setdefault(key, []).append(framed(" ".join(tokens).lower()))
    return captions


def descriptions_of(records: Iterable[Record]) -> dict[str, list[str]]:
    """Return ``scene|object -> descriptions`` of official ScanRefer records, as they were written."""
    found: dict[str, list[str]] = {}
    for record in records:
        found.setdefault(f"{record.text('scene_id')}|{record.whole('object_id')}", []).append(
            record.text("description")
        )
    return found


def object_of(record: Record) -> tuple[str, int]:
    """Return the scene and the number of the object that ``record`` describes."""
    return record.text("scene_id"), record.whole("object_id")


def by_object(records: list[Record], scenes: Scenes) -> list[Record]:
    """Return one record for each object described, with its ``captions`` and the ``match`` asked about.

    Scenes come in the order of ``records``, the objects of a scene by number.
    """
    captions, matches = caption_corpus(records), _matches(records, scenes)
    return [
        Record(
            {
                "scene_id": scene,
                "object_id": target,
                "captions": captions[f"{scene}|{target}"],
                "match": matches.get((scene, target)),
            },
            origin,
        )
        for scene, targets in _described(records).items()
        for target, origin in sorted(targets.items())
    ]


def with_matches(records: list[Record], scenes: Scenes) -> list[Record]:
    """Return ``records``, each with the ``match`` of its object."""
    matches = _matches(records, scenes)
    return [Record({**record.values, "match": matches.get(object_of(record))}, record.origin) for record in records]


def _described(records: list[Record]) -> dict[str, dict[int, str]]:
    """Return ``scene -> object -> origin of its first record``."""
    described: dict[str, dict[int, str]] = {}
    for record in records:
        scene, target = object_of(record)
        described.setdefault(scene, {}).setdefault(target, record.origin)
    return described


def _matches(records: list[Record], scenes: Scenes) -> dict[tuple[str, int], Match]:
    """Return the proposal asked about for every described object that gets one."""
    found = {}
    for scene, targets in _described(records).items():
        if scenes.lacks(scene, boxes=True) is None:
            matches = _asked(scenes, scene, targets, next(iter(targets.values())))
            found |= {(scene, target): match for target, match in matches.items()}
    return found


def _asked(scenes: Scenes, scene: str, described: Iterable[int], origin: str) -> dict[int, Match]:
    """Return the proposal asked about for each object of ``described`` that gets one.

    Each proposal takes the described object that it overlaps most, then each object the best of its proposals.
    """
    targets = sorted(set(described))
    for target in targets:
        scenes.ground_truth.row(scene, target, origin)
    overlap_NG = scenes.overlap(scene)[:, targets]
    found: dict[int, Match] = {}
    for proposal, overlap_G in enumerate(overlap_NG):
        best = int(np.argmax(overlap_G))
        current = found.get(targets[best])
        if overlap_G[best] > (current.iou if current else 0.0):
            found[targets[best]] = Match(proposal, float(overlap_G[best]))
    return found
