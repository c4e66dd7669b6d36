"""BLEU, METEOR, ROUGE-L and CIDEr of answers against references, as the COCO caption evaluation computes them.

Texts of all groups of a call go through one tokenizer run, have their n-grams counted once, and share one METEOR.
Without Java our own tokenizer makes the same tokens, and METEOR is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from types import TracebackType

import numpy as np

from gpt4scene.errors import ConfigError
from gpt4scene.metrics import meteor
from gpt4scene.metrics.captions import CaptionMetrics, Pair, bleu
from gpt4scene.metrics.java import NO_COCO, NO_JAVA, coco_folder, find_java
from gpt4scene.metrics.meteor import TABLE, Meteor
from gpt4scene.metrics.paraphrases import ParaphraseTable
from gpt4scene.metrics.scores import Pooled, Scores
from gpt4scene.metrics.tokenizers import java_tokens, one_line, own_tokens
from gpt4scene.progress import track
from gpt4scene.registry import nearest

TEXT_METRICS = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr")
"""Names and order of the text metrics."""

CHOICES = {
    "em": (),
    "bleu": TEXT_METRICS[:4],
    "meteor": ("METEOR",),
    "rouge": ("ROUGE_L",),
    "cider": ("CIDEr",),
}
"""Names under which text metrics are chosen -> the metrics; ``em`` chooses none, since exact match takes no time."""

MOST_WORDS = 2000
"""Words of an answer that METEOR compares; its memory grows with their square, and no real answer is as long."""

JAVA, OWN, SPACES = "ptb-java", "ptb-own", "spaces"
"""Who makes words of texts: the Java tokenizer, our own rules, or spaces alone."""

Place = tuple[str, "str | None"]
"""A text, and the text after it where the tokenizer looks that far."""

_UNBROKEN = re.compile(r"\S{500}")
"""So many characters without a space that the Java tokenizer takes the square of the time; our own rules do not."""

_LAST = "x"
"""Has the effect that the end of a file has."""


@dataclass(frozen=True)
class TextGroup:
    """Answers that are scored together, each with at least one reference.

    Where they are ``split_at_spaces``, no tokenizer sees them: case and punctuation count, as part of the words.
    """

    answers: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    split_at_spaces: bool = False


@dataclass(frozen=True)
class TextScores:
    """Scores of one group by metric name; what is missing and why.

    ``rows`` holds, for metrics that are means over rows, the value of every row, float64[B]; ``pooled`` the others.
    ``tokenizer`` names what made words of the texts: ``JAVA``, ``OWN`` or ``SPACES``.
    """

    scores: Scores
    rows: Mapping[str, np.ndarray]
    pooled: Mapping[str, Pooled] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    tokenizer: str = ""


def chosen_metrics(words: str | Sequence[str]) -> tuple[str, ...]:
    """Return the text metrics that ``words`` choose, names of ``CHOICES``; all where there is none.

    Raises ``ConfigError`` for another name.
    """
    names = [word.strip().lower() for word in (words.split(",") if isinstance(words, str) else words) if word.strip()]
    for name in names:
        if name not in CHOICES:
            known = ", ".join(CHOICES)
            raise ConfigError(f"there is no metric '{name}'{nearest(name, list(CHOICES))} (known: {known})")
    chosen = {metric for name in names for metric in CHOICES[name]}
    return tuple(metric for metric in TEXT_METRICS if metric in chosen or not names)


class TextScorer:
    """Scores groups of texts, once. Use it as a context: ``ask``, other work meanwhile, ``scores``.

    ``wanted`` are the metrics to compute. Without any no text is tokenized; Java and METEOR start only for those that
    need them.
    """

    def __init__(self, wanted: Sequence[str] = TEXT_METRICS) -> None:
        self._wanted = tuple(metric for metric in TEXT_METRICS if metric in wanted)
        coco, java = (coco_folder(), find_java()) if self._wanted else (None, None)
        self._programs = (java, coco) if java and coco else None
        has_meteor = "METEOR" in self._wanted
        self._missing = f"no METEOR: {NO_JAVA if coco else NO_COCO}" if has_meteor and not self._programs else ""
        self._table = ParaphraseTable(coco / TABLE) if java and coco and has_meteor else None
        self._meteor: Meteor | None = None
        self._background = ThreadPoolExecutor(1)
        self._prepared: Future[None] | None = None
        self._pairs: dict[str, list[Pair]] = {}
        self._tokenizers: dict[str, str] = {}

    def __enter__(self) -> TextScorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._background.shutdown()  # else a METEOR might start behind our back
        if self._meteor is not None:
            self._meteor.__exit__(kind, error, trace)

    def ask(self, groups: Mapping[str, TextGroup]) -> None:
        """Have the texts of ``groups`` tokenized and METEOR set to work on them, and return at once; call once."""
        if not self._wanted:
            self._pairs = {name: [] for name in groups}
            return
        self._prepared = self._background.submit(self._prepare, groups)

    def _prepare(self, groups: Mapping[str, TextGroup]) -> None:
        tokenized = {name: group for name, group in groups.items() if not group.split_at_spaces}
        places = {name: (_places(group.answers), _places(_references(group))) for name, group in tokenized.items()}
        different = list(dict.fromkeys(place for both in places.values() for part in both for place in part))
        tokens = dict(zip(different, self._tokens(different), strict=True))
        for name, group in groups.items():
            if name in tokenized:
                answers, references = ([tokens[place] for place in part] for part in places[name])
            else:
                answers, references = (list(map(one_line, part)) for part in (group.answers, _references(group)))
            taken = iter(references)
            self._pairs[name] = [
                (answer, tuple(islice(taken, len(texts))))
                for answer, texts in zip(answers, group.references, strict=True)
            ]
            self._tokenizers[name] = SPACES if group.split_at_spaces else JAVA if self._programs else OWN
        pairs = [pair for group in self._pairs.values() for pair in group]
        if self._programs and self._table and pairs:
            self._meteor = Meteor(*self._programs, map(_for_meteor, pairs), self._table.relevant(_texts(pairs)))

    def _tokens(self, places: Sequence[Place]) -> list[str]:
        if not self._programs:
            return own_tokens([text for text, _ in places])
        odd = {place for place in places if _UNBROKEN.search(place[0])}
        usual = [place for place in places if place not in odd]
        made = iter(java_tokens([line for place in usual for line in place if line is not None], *self._programs))
        tokens = {place: next(made) if place[1] is None else (next(made), next(made))[0] for place in usual}
        return [tokens[place] if place in tokens else own_tokens([place[0]])[0] for place in places]

    def scores(self) -> dict[str, TextScores]:
        """Return the text metrics of every group. What can't be computed here is left out and said in ``notes``."""
        left_out = [metric for metric in TEXT_METRICS if metric not in self._wanted]
        chosen = (f"not computed, since not chosen: {', '.join(left_out)}",) if left_out else ()
        if not self._wanted:
            return {name: TextScores({}, {}, {}, chosen) for name in self._pairs}
        if self._prepared is not None:
            self._prepared.result()
        metrics = CaptionMetrics(self._pairs.values())
        made = {name: metrics.score(pairs) for name, pairs in self._pairs.items()}
        found = {}
        for name, pairs in track(self._pairs.items(), "sets of texts"):
            rows = {"ROUGE_L": made[name].rouge_l_B, "CIDEr": made[name].cider_B}
            pooled = {
                metric: Pooled(made[name].bleu_B10, partial(_bleu, order))
                for order, metric in enumerate(TEXT_METRICS[:4])
            }
            notes = (*chosen, *((self._missing,) if self._missing else ()))
            if self._meteor is not None:
                shortened = [_for_meteor(pair) for pair in pairs]
                pooled["METEOR"] = Pooled(self._meteor.statistics(shortened), meteor.score)
                cut = sum(pair[0] != short[0] for pair, short in zip(pairs, shortened, strict=True))
                notes += (f"METEOR compares the first {MOST_WORDS} words only of {cut} answers",) if cut else ()
            scores = {metric: float(value.mean()) for metric, value in rows.items()}
            scores |= {metric: value.total() for metric, value in pooled.items()}
            scores = {metric: scores[metric] for metric in self._wanted if metric in scores}
            rows = {metric: value for metric, value in rows.items() if metric in scores}
            pooled = {metric: one for metric, one in pooled.items() if metric in scores}
            found[name] = TextScores(scores, rows, pooled, notes, self._tokenizers[name])
        return found


def _texts(pairs: Sequence[Pair]) -> set[str]:
    return {text for answer, references in pairs for text in (answer, *references)}


def _for_meteor(pair: Pair) -> Pair:
    answer, references = pair
    return " ".join(answer.split(" ", MOST_WORDS)[:MOST_WORDS]), references


def _bleu(order: int, sum_10: np.ndarray) -> np.ndarray:
    return bleu(sum_10)[..., order]


def score_groups(groups: Mapping[str, TextGroup]) -> dict[str, TextScores]:
    """Return the text metrics of every group. What can't be computed here is left out and said in ``notes``."""
    with TextScorer() as scorer:
        scorer.ask(groups)
        return scorer.scores()


def _references(group: TextGroup) -> list[str]:
    return [text for texts in group.references for text in texts]


def _places(texts: Sequence[str]) -> list[Place]:
    """Return each text with the one after it where that matters: behind a full stop the tokenizer looks ahead.

    ``Vitamin C.`` keeps its stop before ``a table`` but not before ``A table``, although lines are texts of their own.
    """
    following = [*texts[1:], _LAST] if texts else []
    return [
        (text, after if text.rstrip().endswith(".") else None) for text, after in zip(texts, following, strict=True)
    ]
