"""ReVSI: VSI-Bench's questions made and checked anew (6,158 questions), counted as three public scorers do.

Rows: Hugging Face 3dlg-hcvc/ReVSI, one configuration for each number of frames. Its own scorers are the public ones:
they read alike and differ in names, units, limits and in what they make of a missing type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from gpt4scene.benchmarks.letters_numbers import Averages, Reader, Types, scorer
from gpt4scene.benchmarks.spatial import OVERALL, Asked, spatial_benchmark
from gpt4scene.files.raw import Record
from gpt4scene.metrics.relative_accuracy import TORCH, ZERO_IS_WRONG
from gpt4scene.metrics.short_answers import stripped_token

NAME, TITLE = "revsi", "ReVSI"
FIGURES = {
    "object_counting": ("object_counting_single", "object_counting_multiple"),
    "object_abs_distance": ("object_abs_distance",),
    "object_size_estimation": ("object_size_estimation",),
    "room_size_estimation": ("room_size_estimation_single", "room_size_estimation_multiple"),
    "object_rel_distance": ("object_rel_distance_closest", "object_rel_distance_farthest"),
    "object_rel_direction": tuple(
        f"object_rel_direction_{facing}_{level}" for facing in ("forward", "backward") for level in ("easy", "hard")
    ),
    "route_planning": ("route_planning",),
}
NUMBERS = ("object_counting", "object_abs_distance", "object_size_estimation", "room_size_estimation")
TYPES = Types(TITLE, FIGURES, frozenset(kind for figure in NUMBERS for kind in FIGURES[figure]))


def asked(record: Record) -> Asked:
    """Return an official row as a question, in the benchmark's own words."""
    return TYPES.asked(record, "scene_id", "Answer the question using a single integer or decimal number.")


TOKENS = Reader(stripped_token, stripped_token, ZERO_IS_WRONG)
TOKENS_TORCH = Reader(stripped_token, stripped_token, TORCH)


def _lmms_eval(averages: Averages) -> Mapping[str, float]:
    shown = {f"{name}_acc": averages.figures.get(name, 0.0) for name in FIGURES}
    return {f"{OVERALL}_acc": averages.overall} | shown


def _vlmevalkit(averages: Averages) -> Mapping[str, float]:
    return averages.named("{}_accuracy".format) | {f"{OVERALL}_accuracy": averages.overall}


def _torchmetrics(averages: Averages) -> Mapping[str, float]:
    shown = {f"{name}_acc": 100.0 * averages.figures.get(name, math.nan) for name in FIGURES}
    return shown | {f"{OVERALL}_acc": 100.0 * averages.overall}


SAYS = {
    "lmms_eval": "The first token of the stripped answer counts, as in lmms-eval (@75571cf, 2026), one of ReVSI's own.",
    "vlmevalkit": "As lmms_eval, under other names and without absent figures, as in VLMEvalKit (@e8e78f0, 2026).",
    "torchmetrics_ext": "As lmms_eval, with torch's limits and no figure that lacks a type, as in torchmetrics_ext "
    "(@d89bc18).",
}
"""Name of rules -> what they are."""

VARIANTS = (
    scorer(TYPES, "lmms_eval", SAYS["lmms_eval"], TOKENS, _lmms_eval),
    scorer(TYPES, "vlmevalkit", SAYS["vlmevalkit"], TOKENS, _vlmevalkit),
    scorer(TYPES, "torchmetrics_ext", SAYS["torchmetrics_ext"], TOKENS_TORCH, _torchmetrics, "without"),
)

BENCHMARK = spatial_benchmark(
    name=NAME,
    title=TITLE,
    raw_files=("ReVSI/32_frame/{split}-*.parquet",),
    asked=asked,
    variants=VARIANTS,
)
