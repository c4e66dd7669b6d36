"""transformers' Trainer on packs: what a batch is, what the loss is, and that both are exact however work is split.

Q questions a step and process become packs of up to K branches, as many as it takes. The Trainer's accumulation counts
Q micro-batches a step; where there are fewer packs, the first of these are ``None`` and nothing is run for them. The
loss of a step is the mean of what its objective gives over all its rows on all processes, the same number for every
way to cut the step into packs, micro-batches and processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, cast

import torch
from torch.utils.data import DataLoader
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import EvalLoopOutput

from gpt4scene.data.packs import PackDataset, only
from gpt4scene.data.sampling import PackSampler, StepSampler
from gpt4scene.errors import DataError
from gpt4scene.model.compat import take_back_first_step
from gpt4scene.model.tower import Tower
from gpt4scene.training.known_images import KnownImages, sharded
from gpt4scene.training.means import Means
from gpt4scene.training.objective import Objective, RowLosses
from gpt4scene.training.output import BatchPlan
from gpt4scene.training.processes import raise_first
from gpt4scene.training.saving import SavingTrainer
from gpt4scene.training.signals import StopOnSignal
from gpt4scene.training.speed import Operations, Speed, peak_operations
from gpt4scene.training.tasks import TaskLosses, task_names
from gpt4scene.types import Batch


class PackTrainer(SavingTrainer):
    """Trains on packs. ``train_dataset`` and ``eval_dataset`` are ``PackDataset``s; their ``len`` counts rows.

    Args:
        plan: how rows are shared out to steps and processes.
        objective: what a step makes smaller.
        eval_branches: questions of one scene in a pack of the evaluation.
        stop: what signals of this process become; also one of ``callbacks``.
        operations: counts those of a pack that are useful, for the utilisation.
        half: whether matrices are multiplied in 16 bits.
        answers: asks held-out questions at each evaluation, and returns figures about the answers.
        kwargs: of ``SavingTrainer``.
    """

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        *,
        plan: BatchPlan,
        objective: Objective,
        eval_branches: int = 1,
        stop: StopOnSignal | None = None,
        operations: Operations | None = None,
        half: bool = False,
        answers: Callable[[PackTrainer], dict[str, float]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan, self.objective, self.eval_branches = plan, objective, eval_branches
        self._stop, self._failed = stop or StopOnSignal(), None
        self._operations_per_token: float | None = None
        self._eval_sums = torch.zeros(2)
        self._means, self._eval_means = (Means(objective.figures, self.args.device) for _ in range(2))
        self._answers = answers
        names = task_names(_packs(self.train_dataset), cast("PackDataset | None", self.eval_dataset))
        self._tasks, self._eval_tasks = (TaskLosses(names, self.args.device) for _ in range(2))
        place, device = self._place(), self.args.device
        peak = peak_operations(device, half)
        self.speed = Speed(device, place["rank"], place["ranks"], operations, peak)
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
            result = super().train(*args, **kwargs)
            self.speed.take(self._all)
            return result
        finally:
            self.tower.close()
            self._let_workers_go()

    @property
    def evaluated(self) -> list[str]:
        """The names of what an evaluation gives, but for answers to questions."""
        tasks = self._eval_tasks.names_in(_packs(self.eval_dataset)) if self.eval_dataset is not None else ()
        return ["loss", *tasks, *self.objective.figures]

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
        """Return the micro-batches of a step, and what its rows count for on all processes.

        Waits for no device: the number stays there. Raises DataError for an image that can't be read (see
        ``_instead_of``).
        """
        if self.state.global_step >= self.state.max_steps:
            return [], torch.zeros((), device=device)  # resumed at its end; the Trainer would take one step more
        if self.state.global_step == self._initial_global_step:
            self.speed.begin()  # what happens before the first step is no part of its speed
        asked = time.perf_counter()
        loaded = list(islice(epoch_iterator, num_batches))
        waited = time.perf_counter() - asked
        batches = [self._instead_of(item) if isinstance(item, DataError) else item for item in loaded]
        counts = [self.objective.counts(batch).numpy() for batch in batches if batch is not None]
        self.speed.loaded(batches, sum(int((one > 0).sum()) for one in counts), waited)
        rows = sum(float(one.sum()) for one in counts)
        here = torch.full((), rows, device=device)
        return batches, self._all(here)

    def compute_loss(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        model: torch.nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ):
        """Return this pack's share of the step's loss, times the number of processes, which average gradients."""
        assert num_items_in_batch is not None and not return_outputs
        rows = self._losses(model, inputs)
        self._means.add(rows.figures, rows.weights)
        self._tasks.add(rows)
        return (rows.losses * rows.counts).sum() * self.accelerator.num_processes / num_items_in_batch

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log with the loss its parts by task, further figures and the speed; every process calls this."""
        if "loss" in logs:
            logs |= self._tasks.take(self._all) | self._means.take(self._all) | self.speed.take(self._all)
        super().log(logs, *args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate; the time is no part of the training's speed."""
        with self.speed.paused():
            return super().evaluate(*args, **kwargs)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        with self.speed.paused():
            super()._save_checkpoint(*args, **kwargs)

    def _all(self, here: torch.Tensor) -> torch.Tensor:
        """Return the sum over all processes."""
        return cast(torch.Tensor, self.accelerator.reduce(here, reduction="sum"))

    def _instead_of(self, error: DataError) -> Batch:
        """Return a filling pack, in place of one with an image that can't be read; raise in a run of one process.

        One of several processes goes on until all of them talk, at the end of the step or of the evaluation, and end
        together before weights change: else the others would wait for it.
        """
        if self.accelerator.num_processes == 1:
            raise error
        self._failed = self._failed or error
        return _packs(self.train_dataset)[()]

    def _losses(self, model: torch.nn.Module, batch: Batch) -> RowLosses:
        """Return the losses of the pack's rows, which are watched."""
        try:
            rows = self.objective.losses(model, batch, self.tower)
        except DataError as error:  # features were dropped, and the image that they were made of can't be read again
            rows = self.objective.losses(model, self._prepare_inputs(self._instead_of(error)), self.tower)
        self._watch.losses.add(rows.losses, rows.origins)
        return rows

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
            rows = self._losses(model, self._prepare_inputs(inputs))
        total, count = (rows.losses * rows.counts).sum(), rows.counts.sum()
        self._eval_means.add(rows.figures, rows.weights)
        self._eval_tasks.add(rows)
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
        total, count = self._all(self._eval_sums).tolist()
        assert output.metrics is not None
        loss = total / count
        self._watch.evaluation(self.state.global_step, loss)
        prefix = kwargs.get("metric_key_prefix", "eval")
        found = {"loss": loss} | self._eval_tasks.take(self._all) | self._eval_means.take(self._all)
        if self._answers is not None:
            found |= self._answers(self)
        if self.step_of_best is not None:
            found["best_step"] = self.step_of_best
        output.metrics.update({f"{prefix}_{name}": value for name, value in found.items()})
        return output


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
