"""Marks by a language model: what it is told about an answer, by which prompts, and how its words become a mark."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow
from gpt4scene.files.judgements import TOLD, Judgements, object_question, told_hash
from gpt4scene.files.raw import find_raw
from gpt4scene.files.whole import read_json, read_text

Told = Mapping[str, Any]
"""What a judge is told about one answer: question, truth, answer."""

Message = dict[str, str]
OFFICIAL, OURS = "official", "gpt4scene"
_FIELD = re.compile(r"\{(\w+)\}")
_SHOWN = 60


@dataclass(frozen=True)
class Marking:
    """How a language model marks the answers of a benchmark.

    ``told`` returns what the judge is told about an answer, ``None`` where a rule decides without it. ``prompts`` are
    the official files of prompts and the SHA-256 of their texts without outer white space. ``messages`` fills them
    in; texts may name ``fields`` in braces. ``read`` takes the mark out of the judge's words, ``None`` where there is
    none. ``settings`` go with the request, ``model`` is the published judge.
    """

    told: Callable[[AnswerRow], Told | None]
    prompts: Mapping[str, str]
    messages: Callable[[Prompts, Told], list[Message]]
    read: Callable[[str], int | None]
    fields: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""


@dataclass(frozen=True)
class Prompts:
    """Messages by the name of their file, with fields in braces. ``source`` says whose they are, and their hash."""

    messages: Mapping[str, tuple[Message, ...]]
    source: str

    def fill(self, name: str, told: Told) -> list[Message]:
        """Return the messages of the file ``name`` with the fields filled in; ``DataError`` for a field not known."""
        named = [field for message in self.messages[name] for field in _FIELD.findall(message["content"])]
        absent = [field for field in named if field not in told]
        if absent:
            raise DataError(f"{name}: {{{absent[0]}}} is not known of this answer (known: {', '.join(told)})")
        return [
            {**message, "content": _FIELD.sub(lambda found: str(told[found[1]]), message["content"])}
            for message in self.messages[name]
        ]


def read_prompts(marking: Marking, folder: str | Path | None) -> Prompts:
    """Return the prompts in ``folder`` or below it, or our own where none is given.

    Files that have the official hashes are called so, others by their own hash. Raises ``DataError`` for a file
    that is missing or of another form.
    """
    if folder is None:
        text = resources.files("gpt4scene.benchmarks").joinpath("judge_prompts.yaml").read_text(encoding="utf-8")
        known = yaml.safe_load(text)
        found = {name: _messages(known[name], name) for name in marking.prompts}
        return Prompts(found, f"{OURS} {_hash(found)}")
    found, official = {}, True
    for name, known in marking.prompts.items():
        path = find_raw(Path(folder), name)
        if path is None:
            wanted = ", ".join(marking.prompts)
            raise DataError(f"{Path(folder, name)}: there is no such prompt; --prompts names a folder with {wanted}")
        text = read_text(path, "prompt").strip()
        official = official and hashlib.sha256(text.encode()).hexdigest() == known
        found[name] = _messages(read_json(path, "prompt") if path.suffix == ".json" else text, path)
        _check_fields(found[name], marking.fields, path)
    return Prompts(found, OFFICIAL if official else f"other {_hash(found)}")


def _messages(content: Any, place: object) -> tuple[Message, ...]:
    """Return messages as they are, or a text as one message of the user."""
    if isinstance(content, str) and content.strip():
        return ({"role": "user", "content": content.strip()},)
    listed = content if isinstance(content, list) else []
    if not listed or not all(
        isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str)
        for one in listed
    ):
        raise DataError(f"{place}: a prompt is a text, or in JSON a list of messages with 'role' and 'content'")
    return tuple({"role": one["role"], "content": one["content"]} for one in listed)


def _check_fields(messages: Sequence[Message], fields: Sequence[str], path: Path) -> None:
    named = [name for message in messages for name in _FIELD.findall(message["content"])]
    unknown = [name for name in named if name not in fields]
    if unknown:
        raise DataError(f"{path}: {{{unknown[0]}}} is no field of this prompt (known: {', '.join(fields) or 'none'})")
    if fields and not named:
        raise DataError(f"{path}: names no field; the judge would not see the answer ({', '.join(fields)})")


def _hash(messages: Mapping[str, Sequence[Message]]) -> str:
    return hashlib.sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()[:TOLD]


def question_names(rows: Sequence[AnswerRow]) -> list[str]:
    """Return the id of the question that each row answers, by which a mark finds its answer.

    Where an id stands for several questions, the second is called ``<id>#2``, in the order of the questions. Raises
    ``DataError`` for a row without an id.
    """
    seen: Counter[str] = Counter()
    names = []
    for row in rows:
        if row.qid in (None, ""):
            raise DataError(f"{row.origin}: 'qid' is missing, by which a mark finds its answer")
        name = str(row.qid)
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return names


def with_marks(
    rows: Sequence[AnswerRow], marking: Marking, judgements: Judgements | None
) -> tuple[list[AnswerRow], tuple[str, ...]]:
    """Return ``rows`` with their judgements, and notes about marks that belong to none of them.

    Raises ``DataError`` for a mark that was given to another answer than the row has.
    """
    if judgements is None:
        return list(rows), ()
    marked, left = [], dict(judgements.found)
    names = question_names(rows)
    if judgements.settings is None:
        if _are_places(rows, judgements):
            names = [str(row.index) for row in rows]
        else:
            _refuse_shared(rows, judgements)
    for row, key in zip(rows, names, strict=True):
        judgement = left.pop(key, None) or _by_object(row, left)
        told = marking.told(row)
        if judgement is None or (told is None and judgements.settings is not None):
            marked.append(row)
            continue
        if told is not None and judgement.answer and judgement.answer != told_hash(told):
            raise DataError(
                f"{judgement.origin}: marks another answer to question '{row.qid}' than {row.origin} has; judge again "
                "with --overwrite, or give the answers that were judged"
            )
        if judgements.settings is None and judgement.mark is None:
            judgement = replace(judgement, mark=marking.read(judgement.text))
        marked.append(replace(row, judged=judgement))
    notes = list(judgements.notes)
    if left:
        notes.append(
            f"{judgements.path}: {len(left)} marks are of other questions (the first: {next(iter(left))}) and left out"
        )
    return marked, tuple(notes)


def _are_places(rows: Sequence[AnswerRow], judgements: Judgements) -> bool:
    """Return whether marks of a file name the places of their questions, from 0, and not their ids."""
    ids = {str(row.qid) for row in rows}
    return all(key.isdecimal() and key not in ids for key in judgements.found)


def _refuse_shared(rows: Sequence[AnswerRow], judgements: Judgements) -> None:
    """Raise ``DataError`` where a mark names two questions by the id that both have."""
    seen: dict[str, AnswerRow] = {}
    for row in rows:
        key = str(row.qid)
        if key in seen and key in judgements.found:
            raise DataError(
                f"{judgements.found[key].origin}: '{key}' is the id of two questions ({seen[key].origin} and "
                f"{row.origin}); give the marks by the places of the questions, from 0"
            )
        seen[key] = row


def _by_object(row: AnswerRow, left: dict[str, Any]) -> Any:
    """Return and take the judgement by object and question, as a list of the public scorer names them."""
    uses = (row.source or {}).get("uses", ())
    found = [left.pop(object_question(use["object"], (row.source or {}).get("question")), None) for use in uses]
    return next((one for one in found if one is not None), None)


@dataclass(frozen=True)
class Marked:
    """What is known about the marks of a benchmark's answers.

    ``parts`` name judge and prompts for the signature. ``notes`` and ``warnings`` are sentences for the report;
    ``complete`` says that every answer which needs a mark has one.
    """

    complete: bool
    parts: Mapping[str, str]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    counts: Mapping[str, int]


def marked(rows: Sequence[AnswerRow], marking: Marking, task: str) -> Marked:
    """Return what is known about the marks of ``rows``."""
    needing = [row for row in rows if marking.told(row) is not None]
    without = [row for row in needing if row.judged is None]
    unreadable = [row for row in needing if row.judged is not None and row.judged.mark is None]
    judges = {(row.judged.judge, row.judged.prompts) for row in needing if row.judged is not None}
    assert len(judges) <= 1, "all marks come from one file"
    parts: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    for judge, prompts in judges:
        parts = {"judge": judge, "prompts": prompts}
        notes = (_said(judge, prompts, marking),)
    warnings = []
    if without:
        how = f"gpt4scene judge --tasks {task} asks for them, {task}.marks.json can hold them"
        none = len(without) == len(needing)
        effect = "figures that need marks are left out" if none else "the figures leave them out"
        warnings.append(f"{len(without):,} of {len(needing):,} answers that need a mark have none; {effect}; {how}")
    if unreadable:
        first = unreadable[0].judged
        words = "" if first is None else first.text[:_SHOWN]
        warnings.append(
            f"{len(unreadable):,} judgements hold no mark (the first: '{words}', question {unreadable[0].qid}); the "
            "figures leave those answers out; gpt4scene judge asks again"
        )
    counts = {"answers that a judge marks": len(needing), "answers without a mark": len(without) + len(unreadable)}
    return Marked(not without and not unreadable, parts, notes, tuple(warnings), counts)


def _said(judge: str, prompts: str, marking: Marking) -> str:
    if judge == "unknown":
        return "marks come from a file; judge and prompts are not known"
    source = {OFFICIAL: "the official prompts", OURS: "prompts of gpt4scene's own"}.get(prompts.split(" ")[0])
    source = f"{source or 'other prompts'}{'' if prompts == OFFICIAL else f' (hash {prompts.split(chr(32))[-1]})'}"
    other = f"; the published judge is {marking.model}" if marking.model and judge != marking.model else ""
    return f"marked by {judge} with {source}{other}: marks by another judge or other prompts are not comparable"
