"""The table of questions made of the rooms themselves: kind by kind, how many there are and who answers them how well.

Two more controls stand in it, which the scorer itself must pass: the true answers get everything, silence nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt4scene.benchmarks.questions import question_file
from gpt4scene.benchmarks.spatial import OVERALL, spatial_report
from gpt4scene.benchmarks.spatial_questions import FIGURES, NAME, VARIANTS
from gpt4scene.files.answers import record_of
from gpt4scene.files.questions import read_questions
from gpt4scene.files.whole import read_json, write_json
from gpt4scene.metrics.scores import Scores
from gpt4scene.types import Answer, Question

KINDS = "kinds.json"
"""File with the table: counts by kind, and figures by who was asked."""
NAMES: Mapping[str, str] = {
    "object_counting": "how many of a kind",
    "object_abs_distance": "how far apart two objects are",
    "object_size_estimation": "how long an object is",
    "room_size_estimation": "how large the room is",
    "object_rel_distance": "which of four is closest",
    "object_rel_direction": "left, right, back, or which quarter",
    "route_planning": "the turns of a route",
    "obj_appearance_order": "what comes into view first",
}
"""Figure -> what its questions ask, in a few words."""


@dataclass(frozen=True)
class Kind:
    """One line of the table; ``values`` are by who was asked. ``total`` marks the line that sums up the others."""

    name: str
    count: int
    values: Mapping[str, float]
    total: bool = False


def write_kinds(out: Path, annotation_dir: Path, scores: Mapping[str, Mapping[str, Scores]]) -> None:
    """Write ``out/kinds.json`` from the figures of all who were asked, and from the scorer's two controls."""
    path = question_file(annotation_dir, NAME)
    assert path is not None, "annotate has written the questions"
    questions = read_questions(path, NAME)
    figures = {name: dict(found[NAME]) for name, found in scores.items() if NAME in found}
    figures["perfect"] = _scored(
        questions, [str(question.ref_captions[0]) for question in questions if question.ref_captions]
    )
    figures["silent"] = _scored(questions, ["" for _ in questions])
    counts = Counter(question.type_info for question in questions)
    by_figure = {name: sum(counts[kind] for kind in kinds) for name, kinds in FIGURES.items()}
    write_json(out / KINDS, {"counts": by_figure, "figures": figures})


def _scored(questions: Sequence[Question], answers: Sequence[str]) -> Scores:
    said = zip(questions, answers, strict=True)
    rows = [{**record_of(Answer(question, text)), "source": question.source} for question, text in said]
    return dict(spatial_report(NAME, VARIANTS[0], rows).scores)


def read_kinds(out: Path) -> list[Kind]:
    """Return the lines of the table, the sum last; none where the demo has not written it."""
    if not (out / KINDS).is_file():
        return []
    content = read_json(out / KINDS, "table of kinds")
    counts, figures = content["counts"], content["figures"]

    def line(name: str, figure: str, count: int, total: bool = False) -> Kind:
        return Kind(name, count, {who: found[figure] for who, found in figures.items() if figure in found}, total)

    lines = [line(NAMES[figure], figure, count) for figure, count in counts.items() if count]
    return [*lines, line("all kinds alike", OVERALL, sum(counts.values()), True)] if lines else []
