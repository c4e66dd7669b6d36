"""Rules: the named ways in which answers to one benchmark become figures. Public scorers differ, so each has a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.judging import Judge
from gpt4scene.files.answers import AnswerRow
from gpt4scene.metrics.scores import Report
from gpt4scene.metrics.texts import TextGroup, TextScores

TextGroups = Callable[[Sequence[AnswerRow], Annotation], dict[str, TextGroup]]
MakeReport = Callable[[Sequence[AnswerRow], Annotation, Mapping[str, TextScores]], Report]


@dataclass(frozen=True)
class Rules:
    """One way of counting. ``says`` is a sentence about it, with the public scorer and its date where there is one.

    ``report`` takes the answers, and the scores of the ``text_groups`` where there are any. ``judge`` and
    ``main_metric`` are the benchmark's where they are empty here. ``same_as`` names rules that give the same figures.
    """

    name: str
    says: str
    report: MakeReport
    text_groups: TextGroups | None = None
    judge: Judge | None = None
    main_metric: str = ""
    same_as: str = ""
