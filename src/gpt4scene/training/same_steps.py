"""Whether a resumed run takes the steps that its checkpoint's run would have taken, and what to write where not.

Another number of processes may go on where every step holds the same questions (see ``plan_steps``).
DeepSpeed cuts the optimizer into a part for each process, and reads it back by as many only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.files.run_folder import MARK
from gpt4scene.files.whole import read_json
from gpt4scene.training.output import BatchPlan

_NAMES = {
    "questions": "per_device_train_batch_size x gradient_accumulation_steps",
    "branches": "scene_packing",
    "processes": "number of processes",
    "rows": "number of training rows",
    "seed": "seed",
    "order": "the rule that deals packs to steps",
}
_ANEW = "start anew with the checkpoint as model_name_or_path (adapter_name_or_path for LoRA)"


def check_plan(checkpoint: Path, now: BatchPlan, *, other_rows: bool = False, in_parts: bool = False) -> str | None:
    """Return a sentence where the run goes on by other processes, None where it goes on by as many.

    Args:
        checkpoint: folder with the plan that it was saved under.
        now: plan of this run.
        other_rows: allow other rows or another order of them.
        in_parts: the optimizer was saved in a part for each process, by DeepSpeed.

    Raises DataError that names every setting in which this run shares rows out otherwise than the checkpoint's.
    """
    then = {"order": 1} | read_json(checkpoint / MARK)
    before, processes = then["processes"], now.processes
    changed = {key: value for key, value in now.content().items() if then.get(key) != value}
    if in_parts and "processes" in changed:
        raise DataError(
            f"{checkpoint}: can't be continued: DeepSpeed has cut its optimizer into {before} parts, one for each "
            f"process, and this run has {processes}; use {before} processes, or {_ANEW}"
        )
    if not changed or other_rows:
        return None
    if changed.keys() <= {"processes", "questions"} and _same_steps(then, now):
        return (
            f"goes on by {processes} processes, where the checkpoint's run had {before}: each step holds the same "
            f"{now.total} questions; sums are rounded otherwise, and dropout draws other numbers"
        )
    listed = "; ".join(f"{_NAMES[key]} was {then.get(key)} and is {value}" for key, value in changed.items())
    raise DataError(
        f"{checkpoint}: can't be continued exactly: {listed}; {_way_on(then, now)}, set ignore_data_skip: true to go "
        f"on with another order of rows, or {_ANEW}"
    )


def _same_steps(then: Mapping[str, Any], now: BatchPlan) -> bool:
    """Return whether ``plan_steps`` deals the same rows to every step under both plans."""
    packs = then["branches"]
    whole = then["questions"] % packs == now.questions_per_step % packs == 0
    return whole and then["questions"] * then["processes"] == now.total


def _way_on(then: Mapping[str, Any], now: BatchPlan) -> str:
    """Return what to write, or how many processes to take, so that steps hold the questions that they would have."""
    packs, total, before = then["branches"], then["questions"] * then["processes"], then["processes"]
    if now.processes == before:
        return "use the same values"
    same = f"use {before} processes and the same values"
    if then["questions"] % packs:
        return same
    if total % (packs * now.processes):
        return f"{same}; or, for the same {total} questions a step, a number of processes that divides {total // packs}"
    return (
        f"{same}; or, for the same {total} questions a step on {now.processes}, write per_device_train_batch_size: 1, "
        f"gradient_accumulation_steps: {total // now.processes} and scene_packing: {packs}"
    )
