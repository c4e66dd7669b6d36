"""transformers' Trainer on packs: what a batch is, what the loss is, and that both are exact however work is split.

Q questions a step and process become packs of up to K branches, as many as it takes. The Trainer's accumulation counts
Q micro-batches a step; where there are fewer packs, the first of these are ``None`` and nothing is run for them. The
loss of a step is the mean over all its rows on
all processes (``loss_average: row``) or over all their answer tokens (``token``), the same number for every way to
cut the step into packs, micro-batches and processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import EvalLoopOutput

from gpt4scene.data.packs import PackDataset, only
from gpt4scene.data.sampling import PackSampler, StepSampler
from gpt4scene.errors import DataError
from gpt4scene.model.compat import take_back_first_step
from gpt4scene.model.folder import save_processor_files
from gpt4scene.model.inputs import row_losses
from gpt4scene.model.loading import load_model
from gpt4scene.model.tower import Tower
from gpt4scene.training.finite import Watch
from gpt4scene.training.known_images import KnownImages, sharded
from gpt4scene.training.output import BatchPlan
from gpt4scene.training.own_optimizer import OwnOptimizer
from gpt4scene.training.processes import raise_first
from gpt4scene.training.signals import StopOnSignal
from gpt4scene.types import Batch


class PackTrainer(OwnOptimizer):
    """Trains on packs. ``train_dataset`` and ``eval_dataset`` are ``PackDataset``s; their ``len`` counts rows.

    Args:
        plan: how rows are shared out to steps and processes.
        loss_average: mean over rows, or over answer tokens.
        base: checkpoint folder that training starts from; its processor files go into every checkpoint.
        eval_branches: questions of one scene in a pack of the evaluation.
        stop: what signals of this process become; also one of ``callbacks``.
        kwargs: of ``OwnOptimizer`` and ``Trainer``.
    """

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        *,
        plan: BatchPlan,
        loss_average: Literal["row", "token"],
        base: Path,
        eval_branches: int = 1,
        stop: StopOnSignal | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan, self.loss_average, self.base = plan, loss_average, base
        self.eval_branches = eval_branches
        self._stop, self._failed = stop or StopOnSignal(), None
        self._operations_per_token: float | None = None
        self._eval_sums = torch.zeros(2)
        self._watch = Watch(self._folder(), self.args.device, fp16=self.args.fp16)
        self.remove_callback(PrinterCallback)
        rows = _packs(self.train_dataset)
        self.tower = Tower(
            cast(torch.nn.Module, self.model),
            rows.encoder.vision,
            whole=not sharded(self),
            autocast=lambda: self.accelerator.autocast(),
        )
        self._sampler = StepSampler(rows.groups, plan.questions_per_pack, plan.questions_per_step, **self._place())
        self.add_callback(_NextEpoch(self._sampler))
        if self.is_deepspeed_enabled:
            self.add_callback(_FreshOptimizer())

    def train(self, *args: Any, **kwargs: Any):
        """Train as ``Trainer`` does; when it ends, features are in their folder and no worker is left."""
        try:
            return super().train(*args, **kwargs)
        finally:
            self.tower.close()
            self._let_workers_go()

    def _let_workers_go(self) -> None:
        """End persistent workers now: left to the garbage collector, each would be waited for five seconds."""
        loader = self.callback_handler.train_dataloader
        if isinstance(loader, DataLoader):
            loader._iterator = None

    # Data: our sampler already shares packs out to processes, so accelerate must neither shard nor repeat any.

    def get_train_dataloader(self) -> DataLoader:
        """Return this process's packs of the epoch."""
        return self._loader(_packs(self.train_dataset), self._sampler, self.args.dataloader_persistent_workers)

    def get_eval_dataloader(self, eval_dataset: object = None) -> DataLoader:
        """Return this process's packs of the evaluation rows."""
        dataset = _packs(eval_dataset if eval_dataset is not None else self.eval_dataset)
        return self._loader(dataset, PackSampler(dataset.groups, self.eval_branches, **self._place()))

    def _place(self) -> dict[str, int]:
        """Return what a sampler must know of this process."""
        accelerator = self.accelerator
        return {"seed": self.plan.seed, "rank": accelerator.process_index, "ranks": accelerator.num_processes}

    def _loader(self, dataset: PackDataset, sampler: StepSampler | PackSampler, persistent: bool = False) -> DataLoader:
        """Return the loader of packs; an evaluation is one pass, after which its workers have nothing left to do."""
        workers = self.args.dataloader_num_workers
        return DataLoader(
            _Reporting(dataset),
            batch_size=1,
            sampler=KnownImages(sampler, dataset, self.tower),
            collate_fn=only,
            num_workers=workers,
            pin_memory=self.args.dataloader_pin_memory and self.args.device.type != "cpu",
            persistent_workers=persistent and workers > 0,
            prefetch_factor=self.args.dataloader_prefetch_factor if workers else None,
            generator=torch.Generator(),  # its own, so that opening a loader does not move the global random state
        )

    def get_total_train_batch_size(self, args) -> int:
        """Return the questions of a step on all processes."""
        return self.plan.questions_per_step * args.world_size

    # Where the Trainer passes a mapping of tensors, it passes our Batch here; hence other types of parameters.

    def _prepare_inputs(self, inputs: Batch) -> Batch:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the batch on this process's device."""
        return inputs.to(self.args.device)

    def training_step(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, model: torch.nn.Module, inputs: Batch | None, num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Run a pack forward and backward and return its share of the loss; 0 where there is nothing to run."""
        if inputs is None:
            return torch.zeros((), device=self.args.device)
        return super().training_step(model, cast(Any, inputs), num_items_in_batch)

    def floating_point_ops(self, inputs: Batch | None) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the estimate that the Trainer adds up as ``total_flos``: so many for each token."""
        if not inputs:
            return 0
        if self._operations_per_token is None:  # parameters are counted for it, one by one
            operations = super().floating_point_ops({"input_ids": inputs.input_ids})
            self._operations_per_token = operations / inputs.input_ids.numel()
        return int(self._operations_per_token * inputs.input_ids.numel())

    def _track_num_input_tokens(self, inputs: Batch | None) -> None:
        if inputs:
            super()._track_num_input_tokens({"input_ids": inputs.input_ids})

    # Loss

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch | DataError | None], num_batches: int, device: torch.device
    ) -> tuple[list[Batch | None], torch.Tensor]:
        """Return the micro-batches of a step, and the number of rows (or answer tokens) in it on all processes.

        Waits for no device: the number stays there. Raises DataError for an image that can't be read (see
        ``_instead_of``).
        """
        if self.state.global_step >= self.state.max_steps:
            return [], torch.zeros((), device=device)  # resumed at its end; the Trainer would take one step more
        loaded = islice(epoch_iterator, num_batches)
        batches = [self._instead_of(item) if isinstance(item, DataError) else item for item in loaded]
        rows = sum(float(self._counts(batch).numpy().sum()) for batch in batches if batch is not None)
        here = torch.full((), rows, device=device)
        return batches, cast(torch.Tensor, self.accelerator.reduce(here, reduction="sum"))

    def compute_loss(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        model: torch.nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ):
        """Return this pack's share of the step's loss, times the number of processes, which average gradients."""
        assert num_items_in_batch is not None and not return_outputs
        total, _ = self._sums(model, inputs)
        return total * self.accelerator.num_processes / num_items_in_batch

    def _counts(self, batch: Batch) -> torch.Tensor:
        """Return ``[K]``: what each branch counts for in the denominator."""
        if self.loss_average == "row":
            return batch.weights
        labels = torch.ones(len(batch.label_owners), device=batch.weights.device)
        return batch.weights * torch.zeros_like(batch.weights).index_add(0, batch.label_owners, labels)

    def _instead_of(self, error: DataError) -> Batch:
        """Return a filling pack, in place of one with an image that can't be read; raise in a run of one process.

        One of several processes goes on until all of them talk, at the end of the step or of the evaluation, and end
        together before weights change: else the others would wait for it.
        """
        if self.accelerator.num_processes == 1:
            raise error
        self._failed = self._failed or error
        return _packs(self.train_dataset)[()]

    def _sums(self, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sum of the pack's losses and the sum of what its branches count for."""
        rule = _packs(self.train_dataset).encoder.vision
        try:
            losses_K = row_losses(model, batch, rule, self.tower)
        except DataError as error:  # features were dropped, and the image that they were made of can't be read again
            batch = self._prepare_inputs(self._instead_of(error))
            losses_K = row_losses(model, batch, rule, self.tower)
        counts = self._counts(batch)
        self._watch.losses.add(losses_K, batch.origins)
        return (losses_K * counts).sum(), counts.sum()

    def _get_grad_norm(self, model: torch.nn.Module, grad_norm: torch.Tensor | float | None = None):
        """Return the gradient's norm, once step and losses are known to be finite: the weights are still untouched."""
        norm = super()._get_grad_norm(model, grad_norm)
        step, failed, noted = self.state.global_step + 1, self._failed, self._stop.noted
        judged = self._watch.step(step, norm, failed=failed, signal=noted)
        self._stop.agree(judged.signal)
        return judged.norm

    # Evaluation: sums over all packs and processes, since a mean over packs would weigh rows unequally.

    def prediction_step(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        model: torch.nn.Module,
        inputs: Batch | DataError,
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor, None, None]:
        """Add one pack to the evaluation's sums."""
        if isinstance(inputs, DataError):
            inputs = self._instead_of(inputs)
        with torch.no_grad():
            total, count = self._sums(model, self._prepare_inputs(inputs))
        self._eval_sums = self._eval_sums.to(total.device) + torch.stack([total, count])
        return total / count.clamp(min=1), None, None

    def evaluation_loop(self, dataloader, description, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Return the evaluation loss in the training loss's own definition.

        Raises DataError for an image that can't be read, and where the device's memory runs out.
        """
        self._eval_sums = torch.zeros(2, device=self.args.device)
        try:
            output = super().evaluation_loop(dataloader, description, *args, **kwargs)
        except torch.OutOfMemoryError as error:
            first = " ".join(str(error).split()).partition(". ")[0]
            raise DataError(
                f"evaluation after step {self.state.global_step}: the device's memory ran out ({first}); try a lower "
                "per_device_eval_batch_size, which counts the questions of a pack"
            ) from error
        self.tower.close()
        raise_first(self._failed)
        sums = cast(torch.Tensor, self.accelerator.reduce(self._eval_sums, reduction="sum"))
        total, count = sums.tolist()
        assert output.metrics is not None
        loss = total / count
        self._watch.evaluation(self.state.global_step, loss)
        output.metrics[f"{kwargs.get('metric_key_prefix', 'eval')}_loss"] = loss
        return output

    # Checkpoints

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
            unwrapped.save_pretrained(folder, state_dict=rounded)
            unwrapped.config.dtype = torch.bfloat16
            unwrapped.config.save_pretrained(folder)
            self._save_companions(folder)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Save all that is needed to go on, unless the weights are broken."""
        self._watch.weights(self.state.global_step, model)
        super()._save_checkpoint(model, trial)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save weights, tokenizer and processor files, so that every checkpoint loads on its own."""
        super().save_model(output_dir, _internal_call)
        if self.args.should_save:
            self._save_companions(output_dir if output_dir is not None else self._folder())

    def _folder(self) -> str:
        assert self.args.output_dir is not None  # config.parse asks for it
        return self.args.output_dir

    def _save_companions(self, folder: str) -> None:
        """Save what a checkpoint needs beside its weights."""
        _packs(self.train_dataset).encoder.tokenizer.save_pretrained(folder)
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
        """Load the weights of the best checkpoint, key names translated as in ``_load_from_checkpoint``."""
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_best_model()
            return
        assert self.state.best_model_checkpoint is not None
        self._load_from_checkpoint(self.state.best_model_checkpoint)


class _NextEpoch(TrainerCallback):
    """Tells the sampler which epoch begins, by the number of steps taken: right after a resume as well."""

    def __init__(self, sampler: StepSampler) -> None:
        self._sampler = sampler

    def on_epoch_begin(self, args, state, control, **_: object):
        self._sampler.set_epoch(state.global_step // self._sampler.steps)


class _FreshOptimizer(TrainerCallback):
    """Makes a fresh run under DeepSpeed begin at the optimizer's step 0."""

    def on_train_begin(self, args, state, control, *, optimizer, **_: object):  # pyright: ignore
        if state.global_step == 0:
            take_back_first_step(optimizer.optimizer)


class _Reporting(torch.utils.data.Dataset):
    """A pack dataset whose DataErrors travel as values: worker processes would wrap them in their own traceback.

    The key ``None`` gives None (see ``StepSampler``).
    """

    def __init__(self, dataset: PackDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, rows: tuple[int, ...] | None) -> Batch | DataError | None:
        try:
            return None if rows is None else self.dataset[rows]
        except DataError as error:
            return DataError(str(error))


def _packs(dataset: object) -> PackDataset:
    """Return ``dataset`` as what it is: the Trainer takes datasets of any kind, this one was given packs."""
    assert isinstance(dataset, PackDataset)
    return dataset
