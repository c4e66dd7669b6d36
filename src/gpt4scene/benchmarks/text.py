"""BLEU, METEOR, ROUGE-L and CIDEr of answers against references, as the COCO caption evaluation computes them.

The figures come from pycocoevalcap's scorers. Without Java METEOR is left out and the rest comes out the same. All
groups of a call share one tokenizer run and one METEOR process, which loads its tables meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gpt4scene.benchmarks.java import NO_COCO, NO_JAVA, coco_folder, find_java
from gpt4scene.benchmarks.meteor import Meteor, Pair
from gpt4scene.benchmarks.ptb import java_tokens, own_tokens
from gpt4scene.types import Scores

TEXT_METRICS = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr")
"""Names and order of the text metrics."""


@dataclass(frozen=True)
class TextGroup:
    """Answers that are scored together, each with at least one reference."""

    answers: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class TextScores:
    """Scores of one group by metric name, ``rows`` by metric that is a mean over rows, and what is missing and why."""

    scores: Scores
    rows: Mapping[str, tuple[float, ...]]
    notes: tuple[str, ...] = ()


def score_groups(groups: Mapping[str, TextGroup]) -> dict[str, TextScores]:
    """Return the text metrics of every group. What can't be computed here is left out and said in ``notes``."""
    coco, java = coco_folder(), find_java()
    if coco is None:
        return {name: TextScores({}, {}, (f"no text metrics: {NO_COCO}",)) for name in groups}
    with ExitStack() as stack:
        meteor = stack.enter_context(Meteor(java, coco)) if groups and java else None
        different = list(dict.fromkeys(text for group in groups.values() for text in _texts(group)))
        tokens = dict(zip(different, _tokens(different, java, coco), strict=True))
        pairs = {name: _pairs(group, tokens) for name, group in groups.items()}
        if meteor is None:
            note = f"no METEOR: {NO_JAVA}"
            return {name: replace(scores, notes=(note,)) for name, scores in _python_scores(pairs).items()}
        meteor.ask([pair for group in pairs.values() for pair in group])
        found = _python_scores(pairs)
        for name, value in zip(pairs, meteor.score(list(pairs.values())), strict=True):
            scores = {**found[name].scores, "METEOR": value}
            found[name] = replace(found[name], scores={metric: scores[metric] for metric in TEXT_METRICS})
        return found


def _tokens(texts: list[str], java: str | None, coco: Path) -> list[str]:
    return java_tokens(texts, java, coco) if java else own_tokens(texts)


def _texts(group: TextGroup) -> list[str]:
    return [*group.answers, *(text for references in group.references for text in references)]


def _pairs(group: TextGroup, tokens: Mapping[str, str]) -> list[Pair]:
    return [
        (tokens[answer], tuple(tokens[text] for text in references))
        for answer, references in zip(group.answers, group.references, strict=True)
    ]


def _python_scores(pairs: Mapping[str, list[Pair]]) -> dict[str, TextScores]:
    """Return BLEU, ROUGE-L and CIDEr of every group; ROUGE-L of equal pairs is computed once."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    different = dict.fromkeys(pair for group in pairs.values() for pair in group)
    rouge_l = {pair: float(Rouge().calc_score([pair[0]], list(pair[1]))) for pair in different}
    found = {}
    for name, group in pairs.items():
        answers = {number: [answer] for number, (answer, _) in enumerate(group)}
        references = {number: list(references) for number, (_, references) in enumerate(group)}
        bleu, _ = Bleu(4).compute_score(references, answers, verbose=0)
        scores = {f"Bleu_{order}": float(value) for order, value in enumerate(bleu, start=1)}
        cider, each = Cider().compute_score(references, answers)
        rows = {"ROUGE_L": tuple(rouge_l[pair] for pair in group), "CIDEr": tuple(map(float, each))}
        scores |= {"ROUGE_L": float(np.mean(np.array(rows["ROUGE_L"]))), "CIDEr": float(cider)}
        found[name] = TextScores(scores, rows)
    return found
