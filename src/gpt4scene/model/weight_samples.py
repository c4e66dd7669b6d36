"""Looks into weights without loading them: are they numbers, and are two sets that should be the same, the same.

Two sets lie in one folder, or are an adapter's base and the one given for it.

Of two in one folder, programs differ in which they take. transformers takes ``model.safetensors`` before shards, and
safetensors before ``.bin``; vLLM takes the shards that an index names, and without one all of them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open

from gpt4scene.errors import DataError
from gpt4scene.families.family import OLDER_NAMES
from gpt4scene.model.folder import ADAPTER_CONFIG, local_base
from gpt4scene.model.weight_files import SINGLES, chosen_weights, load_pickle, read_tensors, shards_of

Read = Callable[[], torch.Tensor]
_SAMPLE = 1024
"""Numbers compared at the beginning, in the middle and at the end of each tensor; training changes all of them."""


def check_twins(folder: Path) -> None:
    """Raise ``DataError`` where weight files lie beside those that a loader takes, and hold something else.

    Files that an earlier save left behind are of this kind. Three short pieces of each tensor are compared.
    """
    chosen = chosen_weights(folder)
    every = [path for single in SINGLES for path in (folder / single, *shards_of(folder, single)) if path.is_file()]
    beside = [path for path in every if path not in chosen]
    if not beside:
        return
    taken = {_today(name): read for path in chosen for name, read in _readers(path).items()}
    for path in beside:
        try:
            held = _readers(path)
        except DataError as error:
            raise DataError(f"{error}; or delete it, as {chosen[0].name} is what is loaded") from error
        other = [name for name, read in held.items() if not _agrees(taken.get(_today(name)), read, name)]
        if other:
            raise DataError(
                f"{path}: holds other numbers than {chosen[0].name}, which is loaded (such as '{other[0]}'), and other "
                "programs may load this one; delete the weights that are not meant"
            )


def refuse_other_base(adapter: Path, given: Path) -> None:
    """Raise ``DataError`` where the base that the adapter names lies here, and has other weights than ``given``."""
    named = local_base(adapter)
    if named is None or not given.is_dir():
        return
    if other := _other_weights(named, given):
        raise DataError(
            f"{adapter / ADAPTER_CONFIG}: the adapter was trained on {named}, whose weights are not those of {given} "
            f"(such as '{other}'); take that base, or write {given} into base_model_name_or_path if it is meant"
        )


def _other_weights(one: Path, two: Path) -> str | None:
    """Return the name of a tensor that two checkpoints do not share, or None where they hold the same numbers.

    A tensor that only one has (a tied head) is no difference. Folders whose weights can't be read are not compared.
    """
    if one.resolve() == two.resolve():
        return None
    try:
        first, second = ({_today(n): r for p in chosen_weights(f) for n, r in _readers(p).items()} for f in (one, two))
    except DataError:
        return None
    return next(
        (name for name, read in first.items() if name in second and not _agrees(second[name], read, name)), None
    )


def broken_tensor(folder: Path) -> str | None:
    """Return the name of a tensor of a checkpoint that holds NaN or infinite numbers in the pieces looked at, or None.

    What training breaks is broken everywhere. ``.bin`` files of the older format, which can't be read in pieces, are
    not looked at.
    """
    for path in chosen_weights(folder):
        if path.suffix == ".safetensors" or zipfile.is_zipfile(path):
            for name, read in _readers(path).items():
                if not bool(torch.isfinite(pieces(read())).all()):
                    return _today(name)
    return None


def _readers(path: Path) -> dict[str, Read]:
    """Return what reads each tensor of a weight file, by name."""
    names = read_tensors(path)
    if path.suffix != ".safetensors":
        tensors = load_pickle(path)
        return {name: lambda name=name: tensors[name] for name in names}

    file = safe_open(path, "pt")  # once for all of its tensors; closed with the last of the readers
    return {name: lambda name=name: file.get_tensor(name) for name in names}


def _agrees(taken: Read | None, held: Read, name: str) -> bool:
    """Return whether both give the same numbers, one of them perhaps in a coarser format."""
    if taken is None:
        return name.endswith("inv_freq")
    one, two = taken(), held()
    if one.ndim == two.ndim == 3 and one.shape == two.mT.shape != two.shape:  # experts, as a release holds them
        two = two.mT
    if one.shape != two.shape:
        return False
    one, two = pieces(one), pieces(two)
    return torch.equal(one.to(two.dtype), two) or torch.equal(two.to(one.dtype), one)


def pieces(tensor: torch.Tensor) -> torch.Tensor:
    """Return up to 1,024 numbers each of a tensor's beginning, middle and end."""
    flat = tensor.reshape(-1)
    middle = max(len(flat) // 2 - _SAMPLE // 2, 0)
    return torch.cat([flat[:_SAMPLE], flat[middle : middle + _SAMPLE], flat[-_SAMPLE:]])


def _today(name: str) -> str:
    """Return a tensor's name without what releases of transformers put before it."""
    beginning = next((pair for pair in OLDER_NAMES if name.startswith(pair[0])), ("", ""))
    return beginning[1] + name.removeprefix(beginning[0])
