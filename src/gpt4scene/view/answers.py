"""Answers of a predictions folder scene by scene: what was asked and said, the verdict, and the boxes of both sides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt4scene.benchmarks.chosen import under_rules
from gpt4scene.benchmarks.judged_rows import judge_all
from gpt4scene.benchmarks.judging import Judged, Verdict
from gpt4scene.benchmarks.score import score_folder
from gpt4scene.files.prepared import SceneBox
from gpt4scene.metrics.answer_boxes import Themselves
from gpt4scene.metrics.boxes import SceneBoxes
from gpt4scene.metrics.scores import Report

VERDICTS: dict[Verdict, str] = {"right": "✓ right", "partly": "~ partly right", "wrong": "✗ wrong", "": "no verdict"}
"""How a verdict is written."""


@dataclass(frozen=True)
class SceneAnswer:
    """One answer about a scene. ``named`` are the boxes that it names, ``meant`` those of the true objects."""

    task: str
    question: str
    answer: str
    expected: tuple[str, ...]
    verdict: Verdict
    reason: str
    named: tuple[SceneBox, ...] = ()
    meant: tuple[SceneBox, ...] = ()

    @property
    def points(self) -> bool:
        """Whether the answer is about boxes."""
        return bool(self.named or self.meant)


def read_answers(
    predictions: str | Path, annotation_dir: str | Path | None, scenes: Iterable[str]
) -> dict[str, list[SceneAnswer]]:
    """Return the answers about ``scenes``, each judged as ``gpt4scene report`` judges it.

    ``DataError`` for missing, broken or contradicting files.
    """
    reports = score_folder(predictions, annotation_dir)
    benchmarks, wanted = under_rules(reports, ""), set(scenes)
    found: dict[str, list[SceneAnswer]] = {}
    for task, report in reports.items():
        for judged in judge_all(benchmarks[task], report.answers, report, report.annotation):
            if judged.row.scene_id in wanted:
                answer = _answer(benchmarks[task].title, judged, report)
                found.setdefault(judged.row.scene_id, []).append(answer)
    return found


def _answer(task: str, judged: Judged, report: Report) -> SceneAnswer:
    row, pointed = judged.row, judged.pointed
    named: tuple[SceneBox, ...] = ()
    meant: tuple[SceneBox, ...] = ()
    if pointed is not None and not isinstance(report.annotation.ground_truth, Themselves):
        named = _boxes(report.annotation.proposals, row.scene_id, row.origin, pointed.named)
        meant = _boxes(report.annotation.ground_truth, row.scene_id, row.origin, pointed.meant)
    return SceneAnswer(task, row.prompt, row.pred, judged.references, judged.verdict, judged.reason, named, meant)


def _boxes(boxes: SceneBoxes, scene: str, origin: str, numbers: Sequence[int]) -> tuple[SceneBox, ...]:
    """Return the boxes of ``numbers``; those past the last have none."""
    if not numbers:
        return ()
    boxes_N6 = boxes.of(scene, origin)
    found = []
    for number in numbers:
        if 0 <= number < len(boxes_N6):
            x, y, z, width, depth, height = map(float, boxes_N6[number])
            found.append(SceneBox(number, boxes.known_label(scene, number), (x, y, z), (width, depth, height)))
    return tuple(found)


def shown_answers(answers: Sequence[SceneAnswer], kind: str) -> list[SceneAnswer]:
    """Return those of one kind: ``all``, ``about objects``, ``right``, ``partly``, ``wrong``."""
    if kind == "all":
        return list(answers)
    if kind == "about objects":
        return [answer for answer in answers if answer.points]
    return [answer for answer in answers if answer.verdict == kind]
