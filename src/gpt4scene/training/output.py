"""The output folder: may this run write there, and which checkpoint does it continue from."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_utils import rotate_checkpoints

from gpt4scene.errors import DataError
from gpt4scene.files.run_folder import ANSWERS, MARK, PAGE, STATE, is_page
from gpt4scene.files.whole import read_json, write_json
from gpt4scene.model.adapter_chain import NOTE
from gpt4scene.model.folder import ADAPTER_CONFIG, step_folders, weight_files
from gpt4scene.model.pissa import CONVERTED, START
from gpt4scene.training import callbacks, manifest

AUTO = "auto"
"""Value of ``resume_from_checkpoint``: go on where there is a complete checkpoint, else start."""

ORDER = 3
"""Rule of ``plan_steps``. Rule 1 counted packs a step instead of questions; checkpoints without a number are of it.

Rule 2 spread shares of several packs over all steps, and let no row of text and none with an image of its own join.
"""

_RUN_FILES = (
    callbacks.LOG,
    ANSWERS,
    STATE,
    "train_results.json",
    "eval_results.json",
    "all_results.json",
    "training_loss.png",
)


@dataclass(frozen=True)
class BatchPlan:
    """How rows are shared out to steps: a resumed run must agree in all of it to see every row once.

    ``questions_per_step`` counts those of one process, ``questions_per_pack`` those of a full pack, ``training_rows``
    those of the whole run. ``order`` is the number of the rule by which packs are dealt to steps; without packs of
    several questions, every rule gives the same steps.
    """

    questions_per_step: int
    questions_per_pack: int
    processes: int
    training_rows: int
    seed: int
    order: int = ORDER

    @property
    def steps_per_epoch(self) -> int:
        """Steps that take every row once."""
        return -(-self.training_rows // self.total)

    @property
    def total(self) -> int:
        """Questions of a step on all processes."""
        return self.questions_per_step * self.processes

    def content(self) -> dict[str, int]:
        """Return the plan under the keys of ``batches.json``."""
        return {
            "questions": self.questions_per_step,
            "branches": self.questions_per_pack,
            "processes": self.processes,
            "rows": self.training_rows,
            "seed": self.seed,
            "order": self.order if self.questions_per_pack > 1 else 1,
        }


def check_output_folder(output_dir: str | Path, *, overwrite: bool, resume: bool | str | None) -> Path | None:
    """Return the checkpoint to continue from, or None for a fresh run in a folder that is free for it.

    Args:
        output_dir: of the run; need not exist.
        overwrite: start over where a run is.
        resume: True for the newest complete checkpoint of ``output_dir``, or the path of one; ``AUTO`` for the newest
            where there is one. Without one, the folder is free unless a run has ended well in it.

    Raises DataError where a run is and neither was asked for, or where there is nothing to resume from.
    """
    folder = Path(output_dir)
    file = next((path for path in (folder, *folder.parents) if path.exists() and not path.is_dir()), None)
    if file is not None:
        raise DataError(f"{file}: output_dir must be a folder, and this is a file; choose another output_dir")
    if resume == AUTO:
        newest = good_checkpoint(folder)
        if newest is not None:
            return newest
    elif resume:
        return newest_checkpoint(folder) if resume is True else _complete(Path(resume))
    leftovers = _leftovers(folder)
    free = overwrite or (resume == AUTO and not ended_well(folder))
    if leftovers and not free:
        go_on = "continue it with resume_from_checkpoint: true"
        if good_checkpoint(folder) is None:
            go_on = "it has no complete checkpoint to continue from"
        raise DataError(
            f"{folder}: already holds a run ({leftovers[0].name}); {go_on}, "
            "start over with overwrite_output_dir: true, or choose another output_dir"
        )
    return None


def ended_well(folder: Path) -> bool:
    """Return whether a run in this folder says that it has finished."""
    run = folder / manifest.NAME
    return run.is_file() and read_json(run).get("status") == "finished"


def open_output(output_dir: str | Path, *, overwrite: bool, resume: bool | str | None) -> Path | None:
    """Return what ``check_output_folder`` does; where a fresh run may start, delete checkpoints and logs of before.

    A run that resumes deletes nothing.
    """
    checkpoint = check_output_folder(output_dir, overwrite=overwrite, resume=resume)
    page = Path(output_dir) / PAGE
    pages = [page] if is_page(page) else []
    for path in [*_leftovers(Path(output_dir)), *pages] if checkpoint is None else ():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return checkpoint


def _leftovers(folder: Path) -> list[Path]:
    """Return the files and checkpoints of a run in ``folder``."""
    files = [folder / name for name in _RUN_FILES]
    return [file for file in files if file.is_file() and file.stat().st_size] + step_folders(folder)


def holds_run(output_dir: str | Path) -> bool:
    """Return whether files, checkpoints or weights of a run are in the folder."""
    return bool(_leftovers(Path(output_dir)) or weight_files(Path(output_dir)))


def leave_one_model(output_dir: str | Path, *, adapter: bool) -> str:
    """Return what to say of an earlier run's weights beside those that were saved; its adapter is deleted.

    Else whoever loads the folder would take the earlier adapter for the result, since an adapter goes before a model.
    So goes what an earlier adapter was trained on top of, or started from: it would be read as this one's. A whole
    model beside an adapter stays.
    """
    folder = Path(output_dir)
    for name in (NOTE, START):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / CONVERTED, ignore_errors=True)
    whole = [path for path in weight_files(folder) if not path.name.startswith("adapter_model")]
    if adapter:
        also = f"{whole[0].name} of an earlier run" if whole else ""
        return f"note: {folder} still holds {also}; gpt4scene takes the adapter, other programs may not" if also else ""
    stale = [path for path in (folder / ADAPTER_CONFIG, *weight_files(folder)) if path not in whole and path.is_file()]
    for path in stale:
        path.unlink()
    return f"note: {stale[0]} of an earlier run was deleted, as it would be taken for the result" if stale else ""


def newest_checkpoint(folder: Path) -> Path:
    """Return the complete checkpoint with the highest step; DataError where there is none."""
    newest = good_checkpoint(folder)
    if newest is None:
        found = step_folders(folder)
        state = f"{len(found)} unfinished ones" if found else "none at all"
        raise DataError(
            f"{folder}: no complete checkpoint to resume from ({state}); leave resume_from_checkpoint out to start anew"
        )
    return newest


def good_checkpoint(folder: Path) -> Path | None:
    """Return the complete checkpoint with the highest step, None where there is none."""
    return next((path for path in reversed(step_folders(folder)) if (path / MARK).is_file()), None)


class MarkComplete(TrainerCallback):
    """Writes the mark into every checkpoint, once all processes have written their part of it.

    It holds the plan, and the ``settings`` that a resumed run must agree in. Older checkpoints make room only then, as
    ``save_total_limit`` says, so that a run that is killed at any time leaves one to go on from.
    """

    def __init__(self, output_dir: str | Path, plan: BatchPlan, settings: Mapping[str, Any]) -> None:
        self._folder, self._content = Path(output_dir), {**plan.content(), "settings": dict(settings)}

    def on_save(self, args, state, control, **_: object):
        """Wait for all, then mark."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.barrier()
        if state.is_world_process_zero:
            write_json(self._folder / f"checkpoint-{state.global_step}" / MARK, self._content, indent=2)
        if args.should_save:
            best = state.best_model_checkpoint
            rotate_checkpoints(str(self._folder), args.save_total_limit, best, use_mtime=True)


def _complete(checkpoint: Path) -> Path:
    if not checkpoint.is_dir():
        raise DataError(f"{checkpoint}: resume_from_checkpoint names a folder that is not there")
    if not (checkpoint / MARK).is_file():
        raise DataError(
            f"{checkpoint}: not a complete checkpoint of a training run (no {MARK} in it); give a checkpoint-<step> "
            "folder"
        )
    return checkpoint
