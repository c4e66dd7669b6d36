"""transformers' Trainer, where it saves and loads: every checkpoint is whole, and none is loaded in part."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer

from gpt4scene.errors import DataError
from gpt4scene.model.folder import save_processor_files
from gpt4scene.model.loading import load_model
from gpt4scene.training.finite import Watch
from gpt4scene.training.own_optimizer import OwnOptimizer

_WRITER = ("PytorchStreamWriter failed", "file write failed", "unexpected pos")
"""Words of torch's own errors where a file can't be written."""


class SavingTrainer(OwnOptimizer):
    """Saves checkpoints that load on their own, unless their weights are broken.

    Args:
        base: checkpoint folder that training starts from; its processor files go into every checkpoint.
        tokenizer: of the run; it goes into every checkpoint, too.
        kwargs: of ``OwnOptimizer`` and ``Trainer``.
    """

    def __init__(self, *, base: Path, tokenizer: PreTrainedTokenizerBase, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.base, self._tokenizer = base, tokenizer
        self.step_of_best: int | None = None
        self._watch = Watch(self._folder(), self.args.device, fp16=self.args.fp16)

    def save_trained(self) -> None:
        """Save the result of the run to ``output_dir``.

        Checkpoints keep fp32, to go on exactly. The result of a bf16 run is written in bf16, as it will be used;
        low-rank adapters stay as they are, and DeepSpeed gathers what it computed with. Broken weights are refused.
        """
        self._watch.weights(self.state.global_step, cast(torch.nn.Module, self.model))
        unwrapped = self.accelerator.unwrap_model(self.model)
        if not self.args.bf16 or self.is_deepspeed_enabled or not isinstance(unwrapped, PreTrainedModel):
            self.save_model()
            return
        weights = cast(Mapping[str, torch.Tensor], self.accelerator.get_state_dict(self.model))
        if self.args.should_save:
            shared: dict[int, torch.Tensor] = {}  # tied weights stay one tensor
            rounded = {
                name: shared.setdefault(weight.data_ptr(), weight.to(torch.bfloat16))
                for name, weight in weights.items()
            }
            folder = self._folder()
            with _told_when_full(folder):
                unwrapped.save_pretrained(folder, state_dict=rounded)
                unwrapped.config.dtype = torch.bfloat16
                unwrapped.config.save_pretrained(folder)
                self._save_companions(folder)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Save all that is needed to go on, unless the weights are broken; older ones stay until it has its mark."""
        self._watch.weights(self.state.global_step, model)
        folder = Path(self._folder()) / f"checkpoint-{self.state.global_step}"
        with _told_when_full(folder), _older_ones_kept():
            super()._save_checkpoint(model, trial)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save weights, tokenizer and processor files, so that every checkpoint loads on its own."""
        folder = output_dir if output_dir is not None else self._folder()
        with _told_when_full(folder):
            super().save_model(output_dir, _internal_call)
            if self.args.should_save:
                self._save_companions(folder)

    def _folder(self) -> str:
        assert self.args.output_dir is not None  # config.parse asks for it
        return self.args.output_dir

    def _save_companions(self, folder: str) -> None:
        """Save what a checkpoint needs beside its weights."""
        self._tokenizer.save_pretrained(folder)
        save_processor_files(self.base, Path(folder))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        """Load weights to go on with.

        The Trainer would read a whole model's file key by key, but files carry the published key names and the model
        its own, so nothing would match and nothing be said. Here all weights must be found.
        """
        try:
            if self.is_fsdp_enabled or not (Path(resume_from_checkpoint) / "config.json").is_file():
                super()._load_from_checkpoint(resume_from_checkpoint, model)
                return
            into = model if model is not None else self.model
            assert into is not None
            into.load_state_dict(load_model(resume_from_checkpoint, dtype=torch.float32).state_dict())
        except RuntimeError as error:  # what torch raises for other names or shapes
            shown = " ".join(str(error).split())[:300]
            raise DataError(f"{resume_from_checkpoint}: its weights do not fit this run's model ({shown})") from error

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Load what the optimizer and the schedule keep; DataError where that is not of this run's parameters."""
        try:
            super()._load_optimizer_and_scheduler(checkpoint)
        except (ValueError, KeyError, RuntimeError) as error:
            shown = " ".join(str(error).split())[:300]
            raise DataError(f"{checkpoint}: its optimizer or schedule does not fit this run ({shown})") from error
        memory = getattr(self.optimizer, "state", {}) if checkpoint else {}
        for parameter, kept in memory.items():
            for name in ("exp_avg", "exp_avg_sq", "momentum_buffer"):
                other = kept.get(name) is not None and "projector" not in kept
                if other and kept[name].shape != parameter.shape:
                    raise DataError(
                        f"{checkpoint}: its optimizer's {name} is of shape {list(kept[name].shape)}, and the parameter "
                        f"of {list(parameter.shape)}; take an earlier checkpoint"
                    )

    def _load_best_model(self) -> None:
        """Load the weights of the best checkpoint, key names translated as in ``_load_from_checkpoint``.

        ``step_of_best`` is its step from then on.
        """
        assert self.state.best_model_checkpoint is not None
        self.step_of_best = int(self.state.best_model_checkpoint.rpartition("-")[2])
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_best_model()
            return
        self._load_from_checkpoint(self.state.best_model_checkpoint)


@contextmanager
def _older_ones_kept() -> Iterator[None]:
    """Let the Trainer delete no checkpoint: it would before other processes and callbacks have written theirs."""
    module: Any = sys.modules[Trainer.__module__]
    deletes = module.rotate_checkpoints
    module.rotate_checkpoints = lambda **_: None
    try:
        yield
    finally:
        module.rotate_checkpoints = deletes


@contextmanager
def _told_when_full(folder: str | Path) -> Iterator[None]:
    """Raise DataError where a file can't be written; torch raises RuntimeError then, and safetensors its own."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(words in str(error) for words in _WRITER):
            raise
        shown = " ".join(str(error).split())[:200]
        raise DataError(
            f"{folder}: could not be saved ({shown}); make room, then go on with --resume_from_checkpoint true"
        ) from error
