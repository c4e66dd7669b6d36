"""What a LoRA run started from, kept beside every adapter that it writes, where the adapter means nothing without."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import TrainerCallback

from gpt4scene.model.adapter_files import read_adapter
from gpt4scene.model.pissa import started_from, write_converted, write_start
from gpt4scene.settings.methods import MethodArguments


class AdapterStart(TrainerCallback):
    """Writes what PiSSA started from into each checkpoint, before the checkpoint is marked complete.

    Made before training goes on from a checkpoint, when ``model`` still holds the start; by each process.
    """

    def __init__(self, methods: MethodArguments, model: torch.nn.Module) -> None:
        self._convert = methods.pissa_convert
        self._pissa = started_from(model) if methods.pissa else None

    def on_save(self, args, state, control, **_: object):
        """Write into the checkpoint of this step."""
        if state.is_world_process_zero:
            self.write(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def write(self, folder: Path) -> None:
        """Write into an adapter's folder; only the first process may."""
        if self._pissa is not None:
            write_start(folder, self._pissa)

    def finish(self, folder: Path) -> str:
        """Write into the result's folder, which one process may; return what to say of it, if anything."""
        self.write(folder)
        if self._pissa is None or not self._convert:
            return ""
        return f"as plain LoRA in {write_converted(read_adapter(folder))}"
