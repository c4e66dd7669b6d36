"""MindCube: what is where around a viewer who saw a place from a few sides, answered with or without a map of it.

Official evaluation: mll-lab-nu/MindCube @6d8fd9a, ``src/evaluation``; its ``cogmap`` part also compares the map that
the model draws before it answers with the true one.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpt4scene.benchmarks.official_rows import as_written, image_names, set_name
from gpt4scene.benchmarks.spatial import OVERALL, Asked, Figures, Official, Reading, Variant, mean, spatial_benchmark
from gpt4scene.files.raw import Record
from gpt4scene.metrics.cognitive_maps import MapScore, compare_maps, read_map
from gpt4scene.metrics.option_letters import option_letter, same_option

SETTINGS = ("around", "rotation", "translation", "among", "other")
"""What the views do; a question's id begins with it. The official overall figure leaves ``translation`` out."""

INSTRUCTION = (
    "[Task]\nYour task is to analyze the spatial arrangement of objects in the scene by examining the provided images, "
    "which show the scene from different viewpoints.\n[Answer Instruction]\nYou only need to provide *ONE* correct "
    "answer selecting from the options listed below. For example, if you think the correct answer is 'A. Above' from "
    "'A. Above B. Under C. Front D. Behind', your response should **only** be '<answer>A. Above</answer>'.\n\n"
    "[Question]\n"
)
"""The official setting ``raw_qa``, word for word; other settings come with their rows."""

_WITH_STOP = re.compile(r"([A-E])\.")
_SECTION = re.compile(r"<Answer>([^<]*)")
_IN_SECTION = tuple(map(re.compile, (r"[Mm]y answer is ([A-E])", r"[Tt]he answer is ([A-E])", r"\b([A-E])\b")))
_ANYWHERE = tuple(
    re.compile(rule)
    for rule in (
        *(r"(?:^|\n)(?:Answer: )?([A-E])(?:$|\s)", r"[*\"]([A-E])[*\"]", r"\bAnswer:?\s*([A-E])\b"),
        *(r"[Mm]y answer is ([A-E])", r"answer is ([A-E])"),
    )
)
_ALONE = re.compile(r"\b([A-E])\b")


def asked(record: Record) -> Asked:
    """Return the question of an official row; a prepared row brings its prompt, another gets that of ``raw_qa``."""
    name = record.name("id") if "id" in record.values else record.name("index")
    images = image_names(record)
    ready = record.name("input_prompt") is not None
    return Asked(
        scene_id=set_name(images, f"images_of_{name}"),
        prompt=as_written(record, "input_prompt") if ready else INSTRUCTION + as_written(record, "question"),
        truth=_truth(record.values) or "",
        kind=setting_of(record.values),
        qid=None if isinstance(name, float) else name,
        images=images,
    )


def _truth(row: Official) -> str | None:
    """Return the true letter, ``None`` where the row has none; in VLMEvalKit's table it is the ``answer``."""
    truth = row["gt_answer"] if "gt_answer" in row else row["answer"]
    return str(truth) if truth else None


def setting_of(row: Official) -> str:
    """Return the first setting that stands anywhere in the row's id, small or capital; ``other`` for none."""
    name = str(row.get("id", "")).lower()
    return next((setting for setting in SETTINGS if setting in name), "other")


def setting_by_prefix(row: Official) -> str:
    """Return the setting as lmms-eval has it: the id up to its first underscore, letter for letter."""
    first = str(row.get("id", "")).split("_")[0]
    return {"rotation": "rotation", "among": "among"}.get(first, "around" if first in _AROUND else "other")


_AROUND = ("around", "aroundnew")


def letter_of(answer: str) -> str | None:
    """Return the letter A to E that the official rules find in ``answer``: the last match of the first that match."""
    for pattern, text in _rules(answer):
        found = pattern.findall(text)
        if found:
            return found[-1]
    lines = (_ALONE.search(line) for line in reversed(answer.split("\n")))
    return next((found[1] for found in lines if found), None)


def _rules(answer: str) -> list[tuple[re.Pattern[str], str]]:
    section = _SECTION.search(answer)
    within = [(pattern, section[1]) for pattern in _IN_SECTION] if section else []
    return [(_WITH_STOP, answer), *within, *((pattern, answer) for pattern in _ANYWHERE)]


def read_official(row: Official, answer: str) -> Reading:
    """Return the letter of ``answer``; a row without a true one counts nowhere."""
    letter, truth = letter_of(answer), _truth(row)
    return Reading(letter, None if truth is None else float(letter == truth))


def read_stripped(row: Official, answer: str) -> Reading:
    """Return the letter of the answer without white space at its ends."""
    letter = letter_of(answer.strip())
    return Reading(letter, float(letter is not None and letter == _truth(row)))


def read_vlmevalkit(row: Official, answer: str) -> Reading:
    """Return the letter that VLMEvalKit finds."""
    return Reading(option_letter(answer), float(same_option(answer, _truth(row) or "")))


@dataclass(frozen=True)
class MapReading(Reading):
    """A reading with the score of the map that the answer draws, ``None`` where there is none to compare."""

    map_score: MapScore | None = None


def read_with_map(row: Official, answer: str) -> MapReading:
    """Return the letter of ``answer`` and how its map compares with the row's ``grounded_cogmap``."""
    reading = read_official(row, answer)
    drawn = read_map(answer) or _map_of(row.get("cognitive_map"))
    score = compare_maps(drawn, _map_of(row.get("grounded_cogmap")))
    return MapReading(reading.parsed, reading.score, map_score=score)


def _map_of(value: Any) -> Any:
    return read_map(value) if isinstance(value, str) else value


def _figures(
    rows: Sequence[Official], readings: Sequence[Reading], public: Mapping[str, Any], *, translation: bool, **more: Any
) -> Figures:
    """Return the figures: our scores by the official settings, and ``public``.

    The overall score leaves rows about ``translation`` out unless they are to count.
    """
    score_B = np.array([math.nan if one.score is None else one.score for one in readings], dtype=np.float64)
    setting_B = np.array([setting_of(row) for row in rows], dtype=object)
    counted_B = score_B if translation else np.where(setting_B == "translation", math.nan, score_B)
    values = {OVERALL: counted_B}
    values |= {name: np.where(setting_B == name, score_B, math.nan) for name in SETTINGS if (setting_B == name).any()}
    nameless = sum(row.get("id") in (None, "") for row in rows)
    if nameless:
        said = f"{nameless:,} rows have no 'id', which names their setting, and count as other"
        more["notes"] = (*more.get("notes", ()), said)
    return Figures({name: mean(value_B) for name, value_B in values.items()}, public, values, **more)


def official_figures(rows: Sequence[Official], readings: Sequence[Reading]) -> Figures:
    """Return totals, right answers and accuracy (0 to 1) of each setting and of all but translation."""
    without = sum(one.score is None for one in readings)
    notes = (f"{without:,} rows without a true letter count nowhere",) if without else ()
    return _figures(rows, readings, _public_counts(rows, readings), translation=False, notes=notes)


def _public_counts(rows: Sequence[Official], readings: Sequence[Reading]) -> dict[str, Any]:
    counted = [(setting_of(row), one) for row, one in zip(rows, readings, strict=True) if one.score is not None]
    total = Counter(setting for setting, _ in counted)
    right = Counter(setting for setting, one in counted if one.score)
    of_overall = [setting for setting in SETTINGS if setting != "translation"]
    groups = {"": of_overall, **{f"{setting}.": [setting] for setting in SETTINGS}}
    found: dict[str, Any] = {}
    for prefix, settings in groups.items():
        rows_of, right_of = sum(total[one] for one in settings), sum(right[one] for one in settings)
        found[f"{prefix}total"] = rows_of
        found[f"{prefix}gen_cogmap_correct"] = right_of
        found[f"{prefix}gen_cogmap_accuracy"] = right_of / rows_of if rows_of else 0.0
    return {"unfiltered_total": total.total(), **found}


def map_figures(rows: Sequence[Official], readings: Sequence[Reading]) -> Figures:
    """Return the official figures, and those of the maps: counts, shares and mean similarities of valid maps.

    The public scorer stops where no row counts for its overall figure; then there are no public figures.
    """
    public = _public_counts(rows, readings)
    settings = [setting_of(row) for row in rows]
    maps = [
        (setting, one.map_score)
        for setting, one in zip(settings, readings, strict=True)
        if isinstance(one, MapReading) and one.map_score and one.score is not None
    ]
    counts = {"maps": len(maps), "valid maps": sum(one.valid_graph for _, one in maps)}
    if not public["total"]:
        note = "no row counts for the overall figure, where the official scorer stops (ZeroDivisionError)"
        return _figures(rows, readings, {}, translation=False, counts=counts, notes=(note,))
    for setting in SETTINGS:
        of_setting = [one for name, one in maps if name == setting]
        public |= {f"{setting}.cogmap.{k}": v for k, v in _of_maps(of_setting, public[f"{setting}.total"]).items()}
    overall = _of_maps([one for name, one in maps if name != "translation"], public["total"])
    public["gen_cogmap_accuracy"] = round(public["gen_cogmap_accuracy"], _DIGITS)
    public |= {f"cogmap.{name}": value for name, value in _summary(overall, public["total"]).items()}
    turns = Counter(one.best_rotation or "none" for name, one in maps if name != "translation" and one.valid_format)
    public["cogmap.rotation_distribution"] = dict(turns)
    return _figures(rows, readings, public, translation=False, counts=counts)


_DIGITS = 4
"""Digits of the official overall figures where maps are compared."""


def _of_maps(maps: Sequence[MapScore], total: int) -> dict[str, float]:
    """Return the public figures of ``maps``, which ``total`` rows could have had; means are over the valid ones."""
    valid = [one for one in maps if one.valid_graph]

    def average(value: Callable[[MapScore], float]) -> float:
        return sum(map(value, valid)) / len(valid) if valid else 0.0

    isomorphic = sum(one.isomorphic for one in valid)
    directional = average(lambda one: one.directional_similarity)
    return {
        "total_valid": len(valid),
        "valid_percent": len(valid) / total * 100 if total else 0.0,
        "isomorphic_count": isomorphic,
        "rotation_invariant_isomorphic_count": isomorphic,
        "parsable_json_count": len(maps),
        "valid_format_count": sum(one.valid_format for one in maps),
        "avg_relative_position_accuracy": directional,
        "avg_facing_similarity": average(lambda one: one.facing_similarity),
        "avg_directional_similarity": directional,
        "avg_overall_similarity": average(lambda one: one.overall_similarity),
    }


def _summary(overall: Mapping[str, float], total: int) -> dict[str, float]:
    """Return what the official scorer keeps of the figures of all maps, rounded."""
    kept = {"parsable_json": "parsable_json_count", "valid": "total_valid", "isomorphic": "isomorphic_count"}
    found: dict[str, float] = {}
    for name, key in kept.items():
        found |= {f"{name}_count": overall[key], f"{name}_accuracy": round(overall[key] / total, _DIGITS)}
    averages = ("avg_overall_similarity", "avg_facing_similarity", "avg_directional_similarity")
    return found | {name: round(overall[name], _DIGITS) for name in averages}


def lmms_eval_figures(rows: Sequence[Official], readings: Sequence[Reading]) -> Figures:
    """Return the accuracy of all rows, translation too, and of three settings by lmms-eval's rule, 0 where none is."""
    scores = [one.score or 0.0 for one in readings]
    public = {"overall_accuracy": sum(scores) / len(scores) if scores else 0.0}
    for name in ("rotation", "among", "around"):
        of_setting = [score for row, score in zip(rows, scores, strict=True) if setting_by_prefix(row) == name]
        public[f"{name}_accuracy"] = sum(of_setting) / len(of_setting) if of_setting else 0.0
    return _figures(rows, readings, public, translation=True)


def vlmevalkit_figures(rows: Sequence[Official], readings: Sequence[Reading]) -> Figures:
    """Return the percentage of all rows, and of each category that the rows have."""
    scores = [one.score or 0.0 for one in readings]
    categories = [_category(row) for row in rows]
    public = {OVERALL: sum(scores) / len(scores) * 100} if scores else {}
    for name in ("rotation", "among", "around"):
        of_category = [score for score, category in zip(scores, categories, strict=True) if category == name]
        if of_category:
            public[f"{name}_accuracy"] = sum(of_category) / len(of_category) * 100
    return _figures(rows, readings, public, translation=True)


def _category(row: Official) -> str:
    """Return the row's category, which is a list of one in the official file and a text in VLMEvalKit's table."""
    category = row.get("category")
    if isinstance(category, list):
        category = category[0] if category else ""
    return str(category or "").strip("[]'\"")


BENCHMARK = spatial_benchmark(
    name="mindcube",
    title="MindCube",
    raw_files=("MindCube_tinybench.jsonl",),
    asked=asked,
    own_images=True,
    left_out=("image",),
    variants=(
        Variant(
            "official_basic",
            "the last letter A to E of the first official rule that finds one; overall leaves translation out "
            "(MindCube's evaluator, 2025)",
            read_official,
            official_figures,
        ),
        Variant(
            "official_cogmap",
            "as official_basic, with the map in the answer compared with the true one (MindCube's evaluator, 2025)",
            read_with_map,
            map_figures,
        ),
        Variant(
            "official_cogmap_quick",
            "MindCube's map evaluator without its figures of maps, which gives the figures of official_basic",
            read_official,
            official_figures,
        ),
        Variant(
            "lmms_eval",
            "the official letter; overall counts all rows, settings by the exact start of the id (lmms-eval, 2026-11)",
            read_stripped,
            lmms_eval_figures,
        ),
        Variant(
            "vlmevalkit",
            "VLMEvalKit's option matching, letters A to F anywhere in the answer, in percent (VLMEvalKit, 2026-11)",
            read_vlmevalkit,
            vlmevalkit_figures,
        ),
    ),
)
