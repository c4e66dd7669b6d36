"""Questions about objects, three an object: exact match where a rule can tell, else a language model's mark."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.benchmark import scores_by_row
from gpt4scene.benchmarks.judging import Judged, Verdict
from gpt4scene.benchmarks.marking import Marking, Message, Prompts, Told, marked
from gpt4scene.benchmarks.spatial import OVERALL
from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow, RowLike, read_rows
from gpt4scene.metrics.exact_match import clean
from gpt4scene.metrics.scores import Pooled, Report

LEAST, MOST, PASSED = 1, 5, 4
"""The worst and the best mark, and the least that passes."""

SYSTEM_PROMPT = "system_prompt.json"
_NUMBER = re.compile(r"\d+")
_DIGITS = 9
_TYPES = ("grounded and right", "grounded and wrong", "not grounded but right", "not grounded and wrong")


def truths(row: AnswerRow) -> list[str]:
    """Return the cleaned true answers."""
    answers = row.official.get("answers")
    if not isinstance(answers, list | tuple) or not answers:
        raise DataError(f"{row.origin}: the official row has no 'answers'; give the official file")
    return [clean(str(answer)) for answer in answers]


def matches(answer: str, wanted: Sequence[str]) -> tuple[bool, bool]:
    """Return whether a cleaned answer equals a truth, and whether one contains the other without white space.

    The first truth that matches in any way decides. An empty answer is contained in every truth.
    """
    bare = "".join(answer.split())
    for truth in wanted:
        other = "".join(truth.split())
        if answer == truth or bare in other or other in bare:
            return answer == truth, True
    return False, False


def says_yes_or_no(wanted: Sequence[str]) -> bool:
    """Return whether a truth has ``yes`` or ``no`` anywhere, inside a word as well."""
    return any(word in truth.lower() for truth in wanted for word in ("yes", "no"))


def by_rule(row: AnswerRow) -> bool:
    """Return whether the answer has the best mark without a judge."""
    wanted = truths(row)
    equal, near = matches(clean(row.pred), wanted)
    return equal or (near and says_yes_or_no(wanted))


def told(row: AnswerRow) -> Told | None:
    """Return what the judge is told: the question, the cleaned answer and the cleaned truths; ``None`` by rule."""
    if by_rule(row):
        return None
    return {"question": row.named("question"), "answer": clean(row.pred), "truths": truths(row)}


def messages(prompts: Prompts, said: Told) -> list[Message]:
    """Return the system prompt and one message of the user."""
    lines = (f"Question: {said['question']}", f"Answer: {said['answer']}", f"Ground Truth: {said['truths']}")
    return [*map(dict, prompts.messages[SYSTEM_PROMPT]), {"role": "user", "content": "\n".join(lines)}]


def read_mark(output: str) -> int | None:
    """Return the first whole number in a judge's words, ``None`` where there is none or it has too many digits."""
    found = _NUMBER.search(output)
    return int(found[0]) if found and len(found[0]) <= _DIGITS else None


MARKING = Marking(
    told=told,
    prompts={SYSTEM_PROMPT: "c3c4f9b3700c3f963627427ff575fae7a3b67d65f0da55aa485d306337c3da23"},
    messages=messages,
    read=read_mark,
    model="gpt-4o-2024-08-06",
)


def mark_of(row: AnswerRow) -> int | None:
    """Return the mark of an answer: the best by rule, else the judge's."""
    return MOST if by_rule(row) else row.judged.mark if row.judged else None


def report(rows: Iterable[RowLike], task: str) -> Report:
    """Return the report of ``rows``, which have their official row, with its ``uses``, under ``source``.

    Answers without a mark are counted and left out of the figures that need marks.
    """
    read = read_rows(rows, task, ("source",))
    known = marked(read, MARKING, task)
    found = _Counted(read)
    pooled = found.pooled()
    notes = [*known.notes]
    if not found.placed:
        notes.append("no object figures: they need the metadata file, which says which questions an object has")
    if found.placed and not found.grounded:
        notes.append("no chains of grounding and answers: they need the answers of the grounding task beside these")
    beyond = sum(mark is not None and not LEAST <= mark <= MOST for mark in found.marks)
    if beyond:
        notes.append(f"{beyond:,} marks are not from {LEAST} to {MOST} and count as they are, as published")
    scores = {name: one.total() for name, one in pooled.items()}
    undefined = [name for name, value in scores.items() if math.isnan(value)]
    notes += [f"{name} is not defined here: nothing to divide by" for name in undefined if name in ("R1", "R2")]
    kinds = {
        "type": tuple(str(row.type_info) for row in read),
        "knowledge": tuple("beyond the scene" if _extra(row) else "of the scene" for row in read),
    }
    counts = {
        "answers": len(read),
        "empty answers": sum(not clean(row.pred).strip() for row in read),
        **known.counts,
        **found.counts(),
    }
    marks = np.array([math.nan if mark is None else mark for mark in found.marks], dtype=np.float64)
    values = {"score": (marks - LEAST) / (MOST - LEAST)} if OVERALL in scores else {}
    return Report(
        task,
        {name: value for name, value in scores.items() if name not in undefined},
        counts,
        tuple(notes),
        scores_by_row(read, kinds, values, _defined(pooled, undefined)),
        warnings=known.warnings,
        public=found.public(pooled) if known.complete and found.whole else {},
        parsed=tuple(clean(row.pred) for row in read),
        signature_parts=known.parts,
    )


def _defined(pooled: Mapping[str, Pooled], undefined: Sequence[str]) -> dict[str, Pooled]:
    return {name: one for name, one in pooled.items() if name not in undefined}


def _extra(row: AnswerRow) -> bool:
    return row.named("question_id").rpartition("_")[2] == "1"


def _tag(row: AnswerRow) -> str:
    return row.named("question_id").lower().split("_")[-2:][0]


class _Counted:
    """Answers with their marks and weights: a question counts as often as the metadata uses it."""

    def __init__(self, rows: Sequence[AnswerRow]) -> None:
        self.rows = rows
        self.placed = all(row.official.get("placed") for row in rows)
        self.uses = [list(row.official.get("uses", ())) for row in rows]
        weights = [len(uses) if self.placed else 1 for uses in self.uses]
        self.weight_B = np.array(weights, dtype=np.float64)
        self.marks = [mark_of(row) for row in rows]
        self.grounded: dict[str, bool | None] = {}
        for row in rows:
            self.grounded |= row.official.get("grounded", {})
        self.partly = False
        self.objects = self._objects() if self.placed else {}

    def _objects(self) -> dict[str, tuple[int, float]]:
        """Return object -> its first row, and 1 where all its questions pass, NaN where that is not known."""
        members: dict[str, list[tuple[int, int]]] = {}
        for number, uses in enumerate(self.uses):
            for use in uses:
                members.setdefault(use["entry"], []).append((number, use["of"]))
        found = {}
        self.partly = any(len(places) < places[0][1] for places in members.values())
        for name, places in members.items():
            marks = [self.marks[number] for number, _ in places]
            if any(mark is not None and mark < PASSED for mark in marks):
                value = 0.0
            elif None in marks or len(places) < places[0][1]:
                value = math.nan
            else:
                value = 1.0
            found[name] = (places[0][0], value)
        return found

    @property
    def whole(self) -> bool:
        """Whether every object has all its questions answered and marked, as the public scorer needs."""
        return self.placed and not self.partly

    def _weighted(self, value_B: np.ndarray) -> Pooled:
        """Return the weighted mean of the rows that count (NaN: does not)."""
        there_B = ~np.isnan(value_B)
        statistics_BS = np.stack([np.where(there_B, value_B, 0) * self.weight_B, there_B * self.weight_B], axis=1)
        return Pooled(statistics_BS, _share)

    def pooled(self) -> dict[str, Pooled]:
        """Return the figures that the answers suffice for, by our names."""
        pairs = [matches(clean(row.pred), truths(row)) for row in self.rows]
        found = {}
        score_B = np.array([math.nan if mark is None else (mark - LEAST) / (MOST - LEAST) for mark in self.marks])
        judged = any(row.judged is not None for row in self.rows) or not np.isnan(score_B).any()
        if judged:
            found[OVERALL] = self._weighted(score_B)
            if self.placed:
                statistics_BS = np.zeros((len(self.rows), 2))
                for first, value in self.objects.values():
                    if not math.isnan(value):
                        statistics_BS[first] += (value, 1)
                found["object"] = Pooled(statistics_BS, _share)
        for name, place in (("EM", 0), ("EM-R", 1)):
            found[name] = self._weighted(np.array([pair[place] for pair in pairs], dtype=np.float64))
        if judged:
            tags = np.array([_tag(row) for row in self.rows], dtype=object)
            for tag in dict.fromkeys(tags):
                found[tag] = self._weighted(np.where(tags == tag, score_B, math.nan))
            found |= self._chains()
        return {name: one for name, one in found.items() if one.statistics_BS[:, -1].any() or name in ("R1", "R2")}

    def _types(self) -> np.ndarray:
        """Return uses of each row by type and by extra knowledge, float64[B, 4, 2]."""
        types_B42 = np.zeros((len(self.rows), 4, 2))
        for number, (row, uses) in enumerate(zip(self.rows, self.uses, strict=True)):
            mark = self.marks[number]
            for use in uses:
                flag = self.grounded.get(use["entry"])
                if mark is not None and flag is not None:
                    types_B42[number, (0 if flag else 2) + (mark < PASSED), int(_extra(row))] += 1
        return types_B42

    def _chains(self) -> dict[str, Pooled]:
        if not self.grounded:
            return {}
        types_B42 = self._types()
        plain_B4, all_B4 = types_B42[:, :, 0], types_B42.sum(axis=2)
        found = {}
        for place, name in enumerate(_TYPES):
            found[name] = Pooled(np.stack([all_B4[:, place], all_B4.sum(axis=1)], axis=1), _share)
        found["R1"] = Pooled(np.stack([plain_B4[:, 1], plain_B4[:, 1] + plain_B4[:, 3]], axis=1), _share)
        found["R2"] = Pooled(np.stack([all_B4[:, 2], all_B4[:, 0] + all_B4[:, 2]], axis=1), _share)
        return found

    def counts(self) -> dict[str, int]:
        """Return how many objects there are, and how many can't be told to have passed."""
        if not self.placed:
            return {}
        unknown = sum(math.isnan(value) for _, value in self.objects.values())
        return {"objects": len(self.objects), "objects not fully marked": unknown}

    def public(self, pooled: Mapping[str, Pooled]) -> dict[str, Any]:
        """Return the figures of the public scorer, in percent."""
        percent = {name: 100 * one.total() for name, one in pooled.items()}
        tags = {tag: percent[tag] for tag in dict.fromkeys(map(_tag, self.rows)) if tag in percent}
        case = percent[OVERALL]
        found: dict[str, Any] = {"EM": percent["EM"], "EM-R": percent["EM-R"], "GPT-Score": case, "case": case}
        found |= {"object": percent["object"], **tags}
        if self.grounded:
            types_42 = self._types().sum(axis=0)
            plain_4, all_4 = types_42[:, 0], types_42.sum(axis=1)
            chain: dict[str, Any] = {"counts_without_extra": list(map(int, plain_4))}
            chain["counts_overall"] = list(map(int, all_4))
            for name, counts_4 in (("without_extra", plain_4), ("overall", all_4)):
                if counts_4.sum():
                    chain[name] = [float(100 * count / counts_4.sum()) for count in counts_4]
            chain |= {name: percent[name] for name in ("R1", "R2") if not math.isnan(percent[name])}
            found["chain"] = chain
        return found


def _share(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[..., 0] / sums[..., 1]


def judge(row: AnswerRow, figures: Mapping[str, float], annotation: Annotation) -> Judged:
    """Return the verdict by the mark: right from 4, partly right from 2; none without a mark."""
    references = tuple(map(str, row.official.get("answers", ())))
    mark = mark_of(row)
    if mark is None:
        reason = "no mark yet" if row.judged is None else f"no mark in the judge's words '{row.judged.text}'"
        return Judged(row, "", reason, references)
    verdict: Verdict = "right" if mark >= PASSED else "partly" if mark > LEAST else "wrong"
    equal, near = matches(clean(row.pred), truths(row))
    rule = "exact match" if equal else "yes or no, one contains the other" if near else ""
    return Judged(row, verdict, f"mark {mark} by rule: {rule}" if by_rule(row) else f"mark {mark}", references)
