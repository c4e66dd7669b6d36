"""Adapters that were merged into a base before another one was trained on top: noted beside it, merged again first."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from transformers import PreTrainedModel

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json, write_json
from gpt4scene.model.adapters import check_adapter, merge_adapter_into
from gpt4scene.model.folder import ModelFolder, identity
from gpt4scene.model.weight_samples import refuse_other_base

NOTE = "merged_adapters.json"
"""File in an adapter's folder: of each adapter to merge into the base first, in order, its folder and its identity."""
_KEYS = ("folder", "weights")


def chain(adapters: Iterable[Path]) -> list[Path]:
    """Return adapters in the order in which they are put on a base, each after those that it was trained on top of.

    Raises ``DataError`` where one of those is not here any more, or was trained anew since.
    """
    found: list[Path] = []
    for adapter in adapters:
        found += [one for one in (*_earlier(adapter), adapter) if one.resolve() not in {f.resolve() for f in found}]
    return found


def note_earlier(folder: Path, adapters: Iterable[Path]) -> None:
    """Note beside the adapter in ``folder`` which ones were merged into its base; nothing where there are none."""
    if notes := [{"folder": str(one.resolve()), "weights": identity(ModelFolder(one))} for one in adapters]:
        write_json(folder / NOTE, notes, indent=2)


def check_chain(adapters: Iterable[Path], network: PreTrainedModel, base: Path) -> None:
    """Raise ``DataError`` where an adapter does not fit ``network``, which may lie on the meta device, or its base."""
    for one in adapters:
        check_adapter(one, network)
        refuse_other_base(one, base)


def merge_all(model: PreTrainedModel, adapters: Iterable[Path]) -> PreTrainedModel:
    """Return ``model`` with adapters merged into its weights, one after the other, in place."""
    for one in adapters:
        model = merge_adapter_into(model, one)
    return model


def _earlier(adapter: Path) -> list[Path]:
    file = adapter / NOTE
    if not file.is_file():
        return []
    notes = read_json(file, "list of adapters")
    if not isinstance(notes, list) or not all(isinstance(one, dict) and one.keys() == {*_KEYS} for one in notes):
        raise DataError(f"{file}: must be a list of folders with their weights' identities; save the adapter again")
    merged = "was merged into the base before this adapter was trained, and"
    for one in notes:
        if not Path(one["folder"]).is_dir():
            raise DataError(f"{file}: {one['folder']} {merged} is not here; put it back, or write where it is")
        if identity(ModelFolder(Path(one["folder"]))) != one["weights"]:
            raise DataError(f"{file}: {one['folder']} {merged} has other weights now; put back those of that time")
    return [Path(one["folder"]) for one in notes]
