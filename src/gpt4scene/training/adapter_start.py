"""The adapters that a LoRA run starts from, and what is kept beside those it writes, which mean nothing without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import TrainerCallback

from gpt4scene.errors import ConfigError, DataError
from gpt4scene.model.adapter_chain import chain, note_earlier
from gpt4scene.model.adapter_files import read_adapter
from gpt4scene.model.folder import ModelFolder, check_adapter_folder, identity, is_adapter
from gpt4scene.model.pissa import started_from, write_converted, write_start
from gpt4scene.model.weight_samples import refuse_other_base
from gpt4scene.settings.config import TrainConfig
from gpt4scene.settings.methods import MethodArguments, adapter_names


def starting_adapters(config: TrainConfig) -> tuple[list[Path], Path | None]:
    """Return the adapters to merge into the base first, and the one to go on with, None for a new one.

    As in LLaMA-Factory, all that are named but the last are merged, and that one, too, with ``create_new_adapter``.
    Raises ``ConfigError`` where some would have to be merged into a quantised or sharded base.
    """
    named = [Path(one) for one in adapter_names(config.model.adapter_name_or_path)]
    if not named:
        return [], None
    for one in named:
        check_adapter_folder(one)
    every = chain(named)
    merged, last = (every, None) if config.methods.create_new_adapter else (every[:-1], every[-1])
    if merged and (config.methods.quantization_bit or config.training.get("deepspeed")):
        raise ConfigError(
            f"adapter_name_or_path: {merged[0]} would have to be merged into a base that is quantised or shared out; "
            "merge it first with gpt4scene export"
        )
    return merged, last


def check_same_start(checkpoint: Path, folder: Path, merged: Sequence[Path]) -> None:
    """Raise ``DataError`` where a LoRA checkpoint lies on another base than ``folder`` with ``merged`` adapters in it.

    Its own files hold the adapter alone, so that it would go on, on other weights, without a word.
    """
    if not is_adapter(checkpoint):
        return
    refuse_other_base(checkpoint, folder)
    then, now = chain([checkpoint])[:-1], list(merged)
    if [identity(ModelFolder(one)) for one in then] != [identity(ModelFolder(one)) for one in now]:
        names = [", ".join(map(str, some)) or "no adapter" for some in (then, now)]
        raise DataError(
            f"{checkpoint}: can't be continued exactly: its run merged {names[0]} into the base first, and this one "
            f"{names[1]}; write adapter_name_or_path and create_new_adapter as in that run"
        )


class AdapterStart(TrainerCallback):
    """Writes what PiSSA started from, and which adapters were merged before, into each checkpoint before its mark.

    Made before training goes on from a checkpoint, when ``model`` still holds the start; by each process.
    """

    def __init__(self, methods: MethodArguments, model: torch.nn.Module, merged: Sequence[Path] = ()) -> None:
        self._merged = tuple(merged)
        self._convert = methods.pissa_convert
        self._pissa = started_from(model) if methods.pissa else None

    def on_save(self, args, state, control, **_: object):
        """Write into the checkpoint of this step."""
        if state.is_world_process_zero:
            self.write(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def write(self, folder: Path) -> None:
        """Write into an adapter's folder; only the first process may."""
        note_earlier(folder, self._merged)
        if self._pissa is not None:
            write_start(folder, self._pissa)

    def finish(self, folder: Path) -> str:
        """Write into the result's folder, which one process may; return what to say of it, if anything."""
        if self._merged or self._pissa is not None:
            self.write(folder)
        if self._pissa is None or not self._convert:
            return ""
        return f"as plain LoRA in {write_converted(read_adapter(folder))}"
