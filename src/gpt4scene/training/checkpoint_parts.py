"""The files of a checkpoint that bring a run back to its step: all there, whole, and of one step.

transformers would go on without them: with a fresh optimizer, a schedule at its start, or other random numbers.
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

import torch
from transformers.trainer_pt_utils import safe_globals

from gpt4scene.errors import DataError
from gpt4scene.families.registry import FAMILIES
from gpt4scene.files.run_folder import MARK
from gpt4scene.files.whole import read_json
from gpt4scene.model.adapter_files import read_adapter
from gpt4scene.model.checkpoint import check_config
from gpt4scene.model.experts import joined
from gpt4scene.model.folder import is_adapter
from gpt4scene.model.weight_files import check_files, check_pickle
from gpt4scene.model.weight_samples import broken_tensor, pieces
from gpt4scene.training.own_optimizer import known_projectors
from gpt4scene.training.processes import processes_here

STATE = "trainer_state.json"
_WHOLE = ("exp_avg", "exp_avg_sq", "momentum_buffer", "square_avg")
"""What an optimizer keeps in the shape of the parameter itself."""
_ANEW = "take an earlier checkpoint, or start anew from its weights"


def check_parts(checkpoint: Path) -> None:
    """Raise DataError where a file that brings the run back to its step is missing, broken, or of another step."""
    marks, state = _read(checkpoint / MARK, "processes"), _read(checkpoint / STATE, "global_step")
    step = state["global_step"]
    if (named := re.fullmatch(r"checkpoint-(\d+)", checkpoint.name)) and int(named[1]) != step:
        raise DataError(f"{checkpoint / STATE}: is of step {step}, so the files are not of one checkpoint; {_ANEW}")
    names = {path.name for path in checkpoint.iterdir()}
    deepspeed = any(name.startswith("global_step") for name in names)
    sharded = deepspeed or any(name.startswith(("optimizer_", "pytorch_model_fsdp")) for name in names)
    needed = _random_states(marks["processes"], names)
    needed += ["scheduler.pt"] if not deepspeed else []
    needed += ["optimizer.pt"] if not sharded else []
    for name in needed:
        if name not in names:
            raise DataError(f"{checkpoint}: {name} is missing, so it can't be gone on with exactly; {_ANEW}")
        check_pickle(checkpoint / name)
        if name.startswith("rng_state"):
            with safe_globals():
                _load(checkpoint / name, "python")
    if not deepspeed:
        _check_schedule(checkpoint / "scheduler.pt", step, bool(marks.get("settings", {}).get("fp16")))
    if not sharded:
        keeps = str(marks.get("settings", {}).get("optim", "")).startswith("adamw_torch") and step > 0
        _check_optimizer(checkpoint / "optimizer.pt", _shapes(checkpoint), keeps)


def check_own_parts(checkpoint: Path, process: int) -> None:
    """Raise DataError where process number ``process`` does not see the checkpoint, or lacks its random numbers there.

    Every process calls this: on several machines, each reads the folder of its own.
    """
    if not (checkpoint / STATE).is_file():
        raise DataError(
            f"{checkpoint.absolute()}: is not there for process {process} on {platform.node()}; all machines must see "
            "one output_dir"
        )
    processes = _read(checkpoint / MARK, "processes")["processes"]
    name = f"rng_state_{process}.pth" if processes > 1 else "rng_state.pth"
    if process < processes and not (checkpoint / name).is_file():
        raise DataError(f"{checkpoint}: {name} is missing, so it can't be gone on with exactly; {_ANEW}")


def _shapes(checkpoint: Path) -> set[tuple[int, ...]]:
    """Return the shapes that the checkpoint's weights have in a model, and in files; they must be finite numbers.

    Files may hold the experts of a layer one by one, or with their axes swapped.
    """
    if is_adapter(checkpoint):
        return {tuple(tensor.shape) for tensor in read_adapter(checkpoint).tensors.values()}
    held = check_files(checkpoint)
    if name := broken_tensor(checkpoint):
        raise DataError(f"{checkpoint}: '{name}' holds NaN or infinite numbers; {_ANEW}")
    family = FAMILIES[check_config(checkpoint)["model_type"]]
    return {shape for name, one in joined(held).items() for shape in family.stored_shapes(name, one.shape)}


def _read(path: Path, number: str) -> dict[str, Any]:
    """Return the content of a JSON file of the checkpoint, which must hold a whole ``number``."""
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get(number), int):
        raise DataError(f"{path}: '{number}' is missing, or no whole number; {_ANEW}")
    return content


def _random_states(processes: int, names: set[str]) -> list[str]:
    """Return the files of random numbers that must be here; other machines may keep those of their processes."""
    files = ["rng_state.pth"] if processes == 1 else [f"rng_state_{number}.pth" for number in range(processes)]
    if int(os.environ.get("WORLD_SIZE", "1")) > processes_here():
        return [name for name in files if name in names]
    return files


def _check_schedule(path: Path, step: int, fp16: bool) -> None:
    """Raise DataError where the schedule is of another step; one of fp16 stands still in steps that are skipped."""
    content = _load(path, "last_epoch")
    last, behind = content["last_epoch"], "lr_lambdas" in content and not fp16
    if not isinstance(last, int) or last > step or (last < step and behind):
        raise DataError(f"{path}: the schedule is of step {last}, and {STATE} of {step}; {_ANEW}")


def _check_optimizer(path: Path, shapes: set[tuple[int, ...]], keeps: bool) -> None:
    """Raise DataError where the optimizer's memory is not that of its parameters, or no finite numbers in pieces of it.

    ``shapes`` are those of the checkpoint's weights: torch would use memory of another shape, past its end. ``keeps``
    says that every parameter must have some.
    """
    content = _load(path, "param_groups")
    memory, groups = _dicts(path, content.get("state")), _dicts(path, content["param_groups"])
    known = [number for group in groups.values() for number in group.get("params", ())]
    lacking = set(known) - set(memory) if memory or keeps else set()
    if sorted(known) != list(range(len(known))) or set(memory) - set(known) or lacking:
        raise DataError(f"{path}: keeps something of {len(memory)} parameters, but has {len(known)}; {_ANEW}")
    for one in memory.values():
        for name, value in one.items():
            if not isinstance(value, torch.Tensor):
                continue
            if name in _WHOLE and "projector" not in one and tuple(value.shape) not in shapes:
                raise DataError(
                    f"{path}: the optimizer's {name} is of {list(value.shape)}, and no weight here is; {_ANEW}"
                )
            if not bool(torch.isfinite(pieces(value)).all()):
                raise DataError(
                    f"{path.parent}: {path.name}: the optimizer's {name} holds NaN or infinite numbers; {_ANEW}"
                )


def _dicts(path: Path, kept: object) -> dict[Any, dict[str, Any]]:
    """Return the dicts that an optimizer saves, of a list by their place. Raises DataError where it holds others."""
    found = dict(enumerate(kept)) if isinstance(kept, list) else kept
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise DataError(f"{path}: 'state' and 'param_groups' are not what an optimizer saves; {_ANEW}")
    return found


def _load(path: Path, key: str) -> dict[str, Any]:
    try:
        with known_projectors():
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a damaged file makes torch's unpickler fail in every way there is
        said = (" ".join(str(error).split()) or type(error).__name__)[:200]
        raise DataError(f"{path}: can't be read ({said}); {_ANEW}") from error
    if not isinstance(content, dict) or key not in content:
        raise DataError(f"{path}: lacks '{key}', so it is not what a checkpoint holds there; {_ANEW}")
    return content
