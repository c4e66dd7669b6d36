"""ViewSpatial-Bench: directions and orientations as the camera, or a person in the picture, sees them.

Every question has up to four choices. Official evaluation: ZJU-REAL/ViewSpatial-Bench ``evaluate.py`` @2e85a5e.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from gpt4scene.benchmarks.categories import Means, option_reader, percent_by_category, score_name, share_by_category
from gpt4scene.benchmarks.official_rows import as_written, image_names, set_name
from gpt4scene.benchmarks.spatial import Asked, Figures, Official, Reading, Variant, column, spatial_benchmark
from gpt4scene.files.raw import Record

TYPES = (
    "Camera perspective - Relative Direction",
    "Camera perspective - Object View Orientation",
    "Person perspective - Relative Direction",
    "Person perspective - Object View Orientation",
    "Person perspective - Scene Simulation Relative Direction",
)
INSTRUCTION = "\nReply only to the corresponding option.\nAnswer:"

_LETTER = re.compile(r"\b([A-D])\b", re.IGNORECASE)


def asked(record: Record) -> Asked:
    """Return the question of an official row: question and choices follow each other with nothing between them."""
    images = image_names(record)
    choices = as_written(record, "choices", "candidates")  # the second name is that of VLMEvalKit's table
    return Asked(
        scene_id=set_name(images, "no_images"),
        prompt=as_written(record, "question") + choices + INSTRUCTION,
        truth=record.text("answer"),
        kind=record.text("question_type"),
        images=images,
    )


def type_of(row: Official) -> str:
    """Return the type of the row's question."""
    return column(row, "question_type")


def standing_letter(text: str) -> str | None:
    """Return the first letter a to d of ``text`` that is a word of its own, in capitals; an article counts."""
    found = _LETTER.search(text)
    return found[1].upper() if found else None


def read_last_line(row: Official, answer: str) -> Reading:
    """Return the letter of the answer's last line; after a final line break that line is empty."""
    type_of(row)  # a row without one is refused here, where its place is known
    letter = standing_letter(answer.split("\n")[-1])
    return Reading(letter, float(letter == standing_letter(column(row, "answer"))))


def official_figures(rows: Sequence[Official], readings: Sequence[Reading]) -> Figures:
    """Return the share of each type and of all rows, with the counts that the official script prints."""
    total = Counter(map(type_of, rows))
    right = Counter(type_of(row) for row, one in zip(rows, readings, strict=True) if one.score)

    def public(means: Means, overall: float) -> dict[str, float]:
        found: dict[str, float] = {"overall correct": right.total(), "overall total": len(rows), "overall": overall}
        for name, share in means.items():
            found |= {f"{name} correct": right[name], f"{name} total": total[name], name: share}
        return found

    return share_by_category(rows, readings, type_of, public)


def lmms_eval_figures(rows: Sequence[Official], readings: Sequence[Reading]) -> Figures:
    """Return the share of all rows and of each of the five types, 0 where there is no row."""

    def public(means: Means, overall: float) -> dict[str, float]:
        shares = {f"{score_name(name)}_accuracy": means.get(name, 0.0) for name in TYPES}
        return {"overall_accuracy": overall} | shares

    return share_by_category(rows, readings, type_of, public)


BENCHMARK = spatial_benchmark(
    name="viewspatial",
    title="ViewSpatial-Bench",
    raw_files=("ViewSpatial-Bench.json",),
    asked=asked,
    own_images=True,
    variants=(
        Variant(
            "official",
            "the first free-standing letter a to d of the answer's last line (ViewSpatial-Bench, evaluate.py, 2025)",
            read_last_line,
            official_figures,
        ),
        Variant(
            "lmms_eval",
            "rows as the official script scores them, figures from 0 to 1, absent types 0 (lmms-eval, 2026-11)",
            read_last_line,
            lmms_eval_figures,
        ),
        Variant(
            "vlmevalkit",
            "VLMEvalKit's option matching, letters A to F anywhere in the answer, in percent (VLMEvalKit, 2026-11)",
            option_reader(type_of),
            percent_by_category(type_of),
        ),
    ),
)
