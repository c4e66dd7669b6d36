"""SPAR-Bench: twenty tasks of depth, distance, direction and camera motion in one to three pictures.

Official evaluation: LogosRoboticsGroup/SPAR @1cc0475 ``lmms_eval/tasks/sparbench/utils.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gpt4scene.benchmarks.categories import read_option
from gpt4scene.benchmarks.official_rows import IMAGE_KEYS, as_written, image_names, set_name
from gpt4scene.benchmarks.spatial import (
    OVERALL,
    Asked,
    Figures,
    Official,
    Reading,
    Variant,
    column,
    mean,
    pooled_means,
    spatial_benchmark,
    values_by,
)
from gpt4scene.errors import DataError
from gpt4scene.files.raw import Record
from gpt4scene.metrics.option_letters import answer_number
from gpt4scene.metrics.relative_accuracy import SIZES
from gpt4scene.metrics.short_answers import plain_number

LOW = tuple(f"{kind}_prediction_{view}" for kind in ("depth", "distance") for view in ("oc", "oo", "oc_mv", "oo_mv"))
"""Tasks whose answer is a number of metres."""
CAMERA = "view_change_infer"
"""The task whose answer is a motion of the camera."""
MIDDLE = ("position_matching", "camera_motion_infer", CAMERA)
HIGH = (
    *("obj_spatial_relation_oo", "obj_spatial_relation_oc_mv", "obj_spatial_relation_oo_mv"),
    *("spatial_imagination_oc", "spatial_imagination_oo", "spatial_imagination_oc_mv", "spatial_imagination_oo_mv"),
    *("distance_infer_center_oo", "distance_infer_center_oo_mv"),
)
TASKS = (*LOW, *MIDDLE, *HIGH)

NUMBER = "Please answer the question using a single word or phrase."
LETTER = "Answer with the option's letter from the given choices directly."
BOXES = (
    "The values represent the bounding box coordinates normalized to a 0-1000 scale, with the top-left corner as the "
    "origin of the image."
)

AXES = (
    *(("move_right", "move_left"), ("move_up", "move_down"), ("move_forward", "move_backward")),
    *(("rotate_right", "rotate_left"), ("rotate_up", "rotate_down")),
)
"""The five motions: the name of the positive direction and of the negative one."""

AT_REST = (0.0,) * len(AXES)

_UNSIGNED = re.compile(r"(?<!\^)\d+\.\d+|(?<!\^)\d+")


def asked(record: Record) -> Asked:
    """Return the question of an official row; letters, numbers and motions each have their own last lines."""
    number = record.name("id" if "id" in record.values else "index")
    try:
        task = _task(record.values)
    except DataError as error:
        raise DataError(f"{record.origin}: {error}") from None
    if task in LOW:
        ends = [NUMBER]
    elif task == CAMERA:
        ends = ["", ""]
    else:
        ends = [BOXES if task in MIDDLE else "", LETTER]
    truth = record.name("answer")
    if truth is None:
        raise DataError(f"{record.origin}: 'answer' is missing or empty")
    images = image_names(record)
    return Asked(
        scene_id=set_name(images, f"images_of_{number}"),
        prompt="\n".join(["", as_written(record, "question"), *ends]),
        truth=str(truth),
        kind=task,
        qid=None if isinstance(number, float) else number,
        images=images,
    )


def _task(row: Official) -> str:
    task = row.get("task")
    if task not in TASKS:
        raise DataError(f"'task' is {task!r}, which is none of the {len(TASKS)} tasks ({', '.join(TASKS)})")
    return str(task)


def read_official(row: Official, answer: str) -> Reading:
    """Return the reading of the official script; an empty answer to a choice question is right there."""
    task, truth = _task(row), column(row, "answer")
    if task == CAMERA:
        motion, true = strict_motion(answer), strict_motion(truth)
        if motion is None or true is None:
            return Reading(motion, 0.0)
        return _of_axes(motion, true, swapped=True)
    if task not in LOW:
        said, true = answer.lower(), truth.lower()
        if said != true and said in true:
            return Reading(said or None, 1.0, why=f"'{answer}' is contained in '{truth}'")
        return Reading(said[:1], float(said == true or said[0] == true))
    numbers, several = _UNSIGNED.findall(answer), task.endswith("_mv")
    found = float(numbers[-1 if several else 0]) if numbers else None
    return _of_number(found, -1.0 if found is None and several else found, truth)


def read_vlmevalkit(row: Official, answer: str) -> Reading:
    """Return the reading of VLMEvalKit; a motion that can't be read keeps the axes that do not move."""
    task, truth = _task(row), column(row, "answer")
    if task == CAMERA:
        motion, true = lenient_motion(answer), lenient_motion(truth) or AT_REST
        return Reading(None, _of_axes(AT_REST, true).score) if motion is None else _of_axes(motion, true)
    if task not in LOW:
        return read_option(answer, truth)
    found = answer_number(answer)
    return _of_number(found, found, truth)


def _of_number(found: float | None, counted: float | None, truth: str) -> Reading:
    true = plain_number(truth)
    if counted is None or true is None:
        return Reading(found, 0.0)
    return Reading(found, SIZES.score(counted, true), why=SIZES.explain(counted, true))


Motion = tuple[float, ...]
"""How far the camera moves along each of the five axes."""


def strict_motion(text: str) -> Motion | None:
    """Return the motion of ``name:number`` pairs between commas, names as they are; ``None`` for any other text."""
    numbers = {}
    for part in text.split(","):
        name, colon, value = part.partition(":")
        number = plain_number(value)  # of a value with a further colon there is none
        if not colon or number is None:
            return None
        numbers[name] = number
    return _along_axes(numbers)


def lenient_motion(text: str) -> Motion | None:
    """Return the motion of those ``name:number`` pairs that can be read; ``None`` where none can."""
    pairs = [part.split(":", 1) for part in text.split(",") if ":" in part]
    numbers = {name.strip(): number for name, value in pairs if (number := plain_number(value)) is not None}
    return _along_axes(numbers) if numbers else None


def _along_axes(numbers: Mapping[str, float]) -> Motion:
    return tuple(numbers.get(ahead, 0.0) - numbers.get(back, 0.0) for ahead, back in AXES)


def _of_axes(motion: Motion, truth: Motion, *, swapped: bool = False) -> Reading:
    """Return the reading of a motion; ``swapped``, errors are relative to what was said, as the official script has it.

    The score is the mean over the axes, so one that neither moves along scores 1.
    """
    pairs = [(true, found) if swapped else (found, true) for found, true in zip(motion, truth, strict=True)]
    scores = [SIZES.score(*pair) for pair in pairs]
    axes = (f"{ahead} {found:g}: {score:g}" for (ahead, _), found, score in zip(AXES, motion, scores, strict=True))
    return Reading(motion, float(np.mean(scores)), why=", ".join(axes))


Groups = Mapping[str, Sequence[str]]
MakePublic = Callable[[Mapping[str, float], Mapping[str, float]], Mapping[str, float]]
"""Mean by task, and the figures of groups and overall, to the public figures."""


def figures_of(groups: Groups, public: MakePublic) -> Callable[[Sequence[Official], Sequence[Reading]], Figures]:
    """Return the figures: the mean of each task, plain means of tasks for each of ``groups`` and overall.

    Groups of which there is no row are left out.
    """

    def figures(rows: Sequence[Official], readings: Sequence[Reading]) -> Figures:
        values = values_by([_task(row) for row in rows], readings)
        means = {task: mean(value_B) for task, value_B in values.items()}
        members = {OVERALL: tuple(values), **groups}
        there = {name: [task for task in tasks if task in values] for name, tasks in members.items()}
        pooled = {
            name: pooled_means({task: values[task] for task in tasks}, _mean_of_means)
            for name, tasks in there.items()
            if tasks
        }
        levels = {name: one.total() for name, one in pooled.items()}
        silent = sum(one.parsed is None and bool(one.score) for one in readings)
        note = f"{silent:,} answers in which nothing can be read score all the same under these rules"
        return Figures(levels | means, public(means, levels), values, pooled, notes=(note,) if silent else ())

    return figures


def _mean_of_means(means: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the plain mean of those means that are there, NaN for none."""
    stacked = np.stack(list(means.values()), axis=-1)
    there = ~np.isnan(stacked)
    with np.errstate(invalid="ignore"):
        return np.where(there, stacked, 0.0).sum(axis=-1) / there.sum(axis=-1)


ALL_GROUPS: Groups = {"low": LOW, "middle": MIDDLE, "high": HIGH}
CUT_GROUPS: Groups = {"low": LOW, "middle": MIDDLE[:2], "high": HIGH}
"""The groups where the camera's task is missing in the middle one, as its figure's name is cut wrongly there."""


def _named(means: Mapping[str, float]) -> dict[str, float]:
    """Return the means of tasks under the names of the official script."""
    ending = dict.fromkeys(LOW, "_MRA:.5:.95:.05") | {CAMERA: "_vci_metric"}
    return {f"{task}{ending.get(task, '_accuracy')}": value for task, value in means.items()}


def _official(means: Mapping[str, float], levels: Mapping[str, float]) -> dict[str, float]:
    groups = {name.capitalize(): levels.get(name, math.nan) for name in ALL_GROUPS}
    return _named(means) | {OVERALL: levels[OVERALL], "returned": 100 * levels[OVERALL]} | groups


def _lmms_eval(means: Mapping[str, float], levels: Mapping[str, float]) -> dict[str, float]:
    every = dict.fromkeys(TASKS, 0.0) | dict(means)
    others = {task: every.pop(task) for task in LOW}
    groups = {name: levels.get(name, 0.0) for name in ALL_GROUPS}
    return _named(every) | others | {"sparbench_score": 100 * levels[OVERALL]} | groups


def _vlmevalkit(means: Mapping[str, float], levels: Mapping[str, float]) -> dict[str, float]:
    groups = {name.capitalize(): levels.get(name, 0.0) for name in ALL_GROUPS}
    return _named(means) | {OVERALL: levels[OVERALL]} | groups


BENCHMARK = spatial_benchmark(
    name="sparbench",
    title="SPAR-Bench",
    raw_files=("SPAR-Bench/**/{split}-*.parquet",),
    asked=asked,
    left_out=IMAGE_KEYS,
    own_images=True,
    variants=(
        Variant(
            "official",
            "the answer or its first letter, first or last number, plain means of tasks, the camera's task in no level "
            "(SPAR's lmms-eval task, 2025)",
            read_official,
            figures_of(CUT_GROUPS, _official),
        ),
        Variant(
            "lmms_eval",
            "rows as the official script scores them, absent tasks and levels 0 (lmms-eval, 2026-11)",
            read_official,
            figures_of(CUT_GROUPS, _lmms_eval),
        ),
        Variant(
            "vlmevalkit",
            "VLMEvalKit's matching of letters and last numbers, lenient motions, three full levels (VLMEvalKit, "
            "2026-11)",
            read_vlmevalkit,
            figures_of(ALL_GROUPS, _vlmevalkit),
        ),
    ),
)
