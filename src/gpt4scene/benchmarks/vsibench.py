"""VSI-Bench: letters and numbers about rooms in videos (5,130 questions), counted as eight public scorers do.

Rows: Hugging Face nyu-visionx/VSI-Bench. A letter is right or wrong, a number scores by mean relative accuracy; the
three levels of relative direction make one figure, and the overall figure is the plain mean of the eight.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from gpt4scene.benchmarks.letters_numbers import Averages, Policy, Reader, Types, scorer
from gpt4scene.benchmarks.spatial import OVERALL, Asked, spatial_benchmark
from gpt4scene.files.raw import Record
from gpt4scene.metrics.option_letters import answer_number, option_letter
from gpt4scene.metrics.relative_accuracy import NUMPY, SINGLE, SIZES, TORCH
from gpt4scene.metrics.short_answers import (
    choice_or_all,
    counting_word_or_number,
    first_number,
    first_token,
    plain_number,
    stripped_token,
    whole_answer,
)

NAME, TITLE = "vsibench", "VSI-Bench"
NUMBERS = ("object_counting", "object_abs_distance", "object_size_estimation", "room_size_estimation")
DIRECTION = "object_rel_direction"
LEVELS = tuple(f"{DIRECTION}_{level}" for level in ("easy", "medium", "hard"))
FIGURES = {
    **{kind: (kind,) for kind in NUMBERS},
    "object_rel_distance": ("object_rel_distance",),
    DIRECTION: LEVELS,
    "route_planning": ("route_planning",),
    "obj_appearance_order": ("obj_appearance_order",),
}
TYPES = Types(TITLE, FIGURES, frozenset(NUMBERS))


def asked(record: Record) -> Asked:
    """Return an official row as a question, in the benchmark's own words."""
    return TYPES.asked(record, "scene_name", "Please answer the question using a single word or phrase.")


OFFICIAL = Reader(first_token, first_token, NUMPY)
LMMS_EVAL = Reader(first_token, first_number, NUMPY)
VLMEVALKIT = Reader(option_letter, answer_number, SIZES, true_letter=option_letter)
TORCHMETRICS = Reader(stripped_token, stripped_token, TORCH)
SPATIAL_MLLM = Reader(
    *(whole_answer, whole_answer, SINGLE),
    true_letter=whole_answer,
    value=lambda text: plain_number(text.replace(",", "")),
    fold=str.strip,
)
SPACER = Reader(choice_or_all, counting_word_or_number, NUMPY)


def _long(name: str) -> str:
    return f"{name}_MRA:.5:.95:.05" if name in NUMBERS else f"{name}_accuracy"


def _listed(averages: Averages, factor: float = 100.0) -> dict[str, float]:
    """Return overall and figures as VSI-Bench's own scorer names them; levels that stand alone are not listed."""
    shown = {_long(name): factor * value for name, value in averages.figures.items() if name in FIGURES}
    return {OVERALL: factor * averages.overall} | shown


def _official_policy(there: set[str]) -> Policy:
    return "there" if LEVELS[0] in there else "split"


def _official(averages: Averages) -> Mapping[str, float | str] | None:
    if LEVELS[0] in averages.types and not _all_levels(averages):
        return None
    shown = _listed(averages)
    values = ", ".join(f"{value:.3f}" for value in shown.values())
    return {**shown, "tabulated_keys": ", ".join(shown), "tabulated_results": values}


def _all_levels(averages: Averages) -> bool:
    return all(level in averages.types for level in LEVELS)


def _lmms_eval(averages: Averages) -> Mapping[str, float] | None:
    if not _all_levels(averages):
        return None
    names = {name: f"{name}_mra" if name in NUMBERS else f"{name}_accuracy" for name in FIGURES}
    shown = {names[name]: round(averages.figures.get(name, 0.0), 6) for name in FIGURES}
    return {f"{NAME}_overall": round(averages.overall, 6)} | shown


def _torchmetrics(averages: Averages) -> Mapping[str, float]:
    shown = {f"{name}_acc": 100.0 * averages.figures.get(name, math.nan) for name in FIGURES}
    return {f"{OVERALL}_acc": 100.0 * averages.overall} | shown


def _spatial_mllm(averages: Averages) -> Mapping[str, float]:
    """Return the score of every type, and means over rows (micro) and over figures (macro)."""
    shown = {f"{kind}_score": value for kind, value in averages.types.items()}
    numbers = [kind for kind in averages.types if kind in NUMBERS]
    letters = [kind for kind in averages.types if kind not in NUMBERS]
    for name, kinds in (("acc", letters), ("mra", numbers), ("all", [*letters, *numbers])):
        rows = np.concatenate([np.empty(0), *(averages.rows[kind] for kind in kinds)])
        rows = rows[~np.isnan(rows)]
        figures = [value for figure, value in averages.figures.items() if set(FIGURES[figure]) & set(kinds)]
        shown[f"{name}_micro"] = float(rows.mean()) if len(rows) else 0.0
        shown[f"{name}_macro"] = sum(figures) / len(figures) if figures else 0.0
    return shown


VARIANTS = (
    scorer(
        *(TYPES, "official", "VSI-Bench's own scorer (vision-x-nyu/thinking-in-space @51e089c): first token"),
        *(OFFICIAL, _official, _official_policy, True),
    ),
    scorer(
        *(TYPES, "vlm3r", "VLM-3R's copy of it (VITA-Group/VLM-3R @6dd1264): directions are averaged as far as there"),
        *(OFFICIAL, lambda averages: {"score": 100.0 * averages.overall}, "there", True),
    ),
    scorer(
        *(TYPES, "lmms_eval", "lmms-eval since July 2026 (@75571cf): first number anywhere, in digits or words"),
        *(LMMS_EVAL, _lmms_eval, "there", True),
    ),
    scorer(
        *(TYPES, "lmms_eval_2026_02", "lmms-eval in February 2026 (@1516dba): first token, as the benchmark's own"),
        *(OFFICIAL, lambda averages: _listed(averages, 1.0) if _all_levels(averages) else None, "there", True),
    ),
    scorer(
        *(TYPES, "vlmevalkit", "VLMEvalKit (@e8e78f0): letters and numbers searched in the whole answer"),
        *(VLMEVALKIT, _listed, "split"),
    ),
    scorer(
        *(TYPES, "torchmetrics_ext", "torchmetrics_ext (@d89bc18): first token of the stripped answer, torch's limits"),
        *(TORCHMETRICS, _torchmetrics, "without"),
    ),
    scorer(
        *(TYPES, "spatial_mllm", "Spatial-MLLM (@9fc4738): the whole answer or its answer tag, errors in 32 bits"),
        *(SPATIAL_MLLM, _spatial_mllm),
    ),
    scorer(
        *(TYPES, "spacer", "SpaceR (@b623af5): a counting word or the first number anywhere"),
        *(SPACER, lambda found: found.named(_long) | {f"{OVERALL}_accuracy": found.overall}, "zero", True),
    ),
)

BENCHMARK = spatial_benchmark(
    name=NAME,
    title=TITLE,
    raw_files=("VSI-Bench/{split}-00000-of-00001.parquet",),
    asked=asked,
    variants=VARIANTS,
)
