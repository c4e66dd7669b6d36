"""VSI-Bench: letters and numbers about rooms in videos (5,130 questions), counted as eight public scorers do.

Rows: Hugging Face nyu-visionx/VSI-Bench; its own scorer: vision-x-nyu/thinking-in-space. A letter is right or wrong, a
number scores by mean relative accuracy. The three levels of relative direction make one figure, and the overall figure
is the plain mean of the eight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from gpt4scene.benchmarks.letters_numbers import Averages, Policy, Public, Reader, Types, scorer
from gpt4scene.benchmarks.spatial import OVERALL, Asked, Variant, spatial_benchmark
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
    whole_answer,
    whole_answer,
    SINGLE,
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
    return {OVERALL: factor * _overall(averages)} | shown


def _overall(averages: Averages) -> float:
    """Return the mean of the figures, added in the public order: where it is rounded, the last bit can decide."""
    in_order = sorted(averages.figures, key=lambda name: (name == DIRECTION, name))
    return sum(averages.figures[name] for name in in_order) / len(in_order) if in_order else math.nan


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
    return {f"{NAME}_overall": round(_overall(averages), 6)} | shown


def _lmms_eval_2026_02(averages: Averages) -> Mapping[str, float] | None:
    return _listed(averages, 1.0) if _all_levels(averages) else None


def _vlm3r(averages: Averages) -> Mapping[str, float]:
    return {"score": 100.0 * averages.overall}


def _spacer(averages: Averages) -> Mapping[str, float]:
    return averages.named(_long) | {f"{OVERALL}_accuracy": averages.overall}


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


SAYS = {
    "official": "The first token is the letter or number, as in VSI-Bench's own scorer (@51e089c, 2025).",
    "vlm3r": "As official, but levels of direction may be missing, as in VLM-3R's copy of it (@6dd1264, 2025).",
    "lmms_eval": "The first number anywhere counts, in digits or words, and letters as official; lmms-eval since July "
    "2026 (@75571cf).",
    "lmms_eval_2026_02": "As official, from 0 to 1, as in lmms-eval of February 2026 (@1516dba).",
    "vlmevalkit": "Letters and last numbers are searched in the whole answer, as in VLMEvalKit (@e8e78f0, 2026).",
    "torchmetrics_ext": "The first token of the stripped answer, and torch's limits, as torchmetrics_ext (@d89bc18).",
    "spatial_mllm": "The whole answer, or what its answer tag holds, and errors in 32 bits, as in Spatial-MLLM "
    "(@9fc4738).",
    "spacer": "A counting word, else the first number anywhere, and a capital letter, as in SpaceR (@b623af5).",
}
"""Name of rules -> what they are."""


def _variant(
    name: str,
    reader: Reader,
    public: Public,
    policy: Policy | Callable[[set[str]], Policy] = "there",
    zero_stops: bool = True,
) -> Variant:
    return scorer(TYPES, name, SAYS[name], reader, public, policy, zero_stops)


VARIANTS = (
    _variant("official", OFFICIAL, _official, _official_policy),
    _variant("vlm3r", OFFICIAL, _vlm3r),
    _variant("lmms_eval", LMMS_EVAL, _lmms_eval),
    _variant("lmms_eval_2026_02", OFFICIAL, _lmms_eval_2026_02),
    _variant("vlmevalkit", VLMEVALKIT, _listed, "split", zero_stops=False),
    _variant("torchmetrics_ext", TORCHMETRICS, _torchmetrics, "without", zero_stops=False),
    _variant("spatial_mllm", SPATIAL_MLLM, _spatial_mllm, zero_stops=False),
    _variant("spacer", SPACER, _spacer, "zero"),
)

BENCHMARK = spatial_benchmark(
    name=NAME,
    title=TITLE,
    raw_files=("VSI-Bench/{split}-*.parquet|VSI-Bench/{split}.parquet|VSI-Bench/{split}.jsonl",),
    asked=asked,
    variants=VARIANTS,
)
