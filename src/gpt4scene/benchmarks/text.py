"""BLEU, METEOR, ROUGE-L and CIDEr of answers against references, as the COCO caption evaluation computes them.

The figures come from pycocoevalcap's scorers. Without Java METEOR is left out and the rest comes out the same. All
groups of a call share one tokenizer run and one METEOR process, which loads its tables meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

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
        texts = [text for group in groups.values() for text in _texts(group)]
        tokens = iter(java_tokens(texts, java, coco) if java else own_tokens(texts))
        pairs = {name: _pairs(group, tokens) for name, group in groups.items()}
        return {name: _score(pairs[name], meteor) for name in groups}


def _texts(group: TextGroup) -> list[str]:
    return [*group.answers, *(text for references in group.references for text in references)]


def _pairs(group: TextGroup, tokens: Iterator[str]) -> list[Pair]:
    answers = [next(tokens) for _ in group.answers]
    return [
        (answer, tuple(next(tokens) for _ in references))
        for answer, references in zip(answers, group.references, strict=True)
    ]


def _score(pairs: list[Pair], meteor: Meteor | None) -> TextScores:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    answers = {number: [answer] for number, (answer, _) in enumerate(pairs)}
    references = {number: list(references) for number, (_, references) in enumerate(pairs)}
    bleu, _ = Bleu(4).compute_score(references, answers, verbose=0)
    scores = {f"Bleu_{order}": float(value) for order, value in enumerate(bleu, start=1)}
    rows = {}
    if meteor is not None:
        scores["METEOR"], _ = meteor.score(pairs)
    for name, scorer in (("ROUGE_L", Rouge()), ("CIDEr", Cider())):
        value, each = scorer.compute_score(references, answers)
        scores[name], rows[name] = float(value), tuple(map(float, each))
    return TextScores(scores, rows, () if meteor else (f"no METEOR: {NO_JAVA}",))
