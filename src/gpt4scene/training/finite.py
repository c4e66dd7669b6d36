"""A number that is none stops the run: what of losses, gradients and weights is watched, and how it is said.

Losses and the gradient's norm stay on the device until the end of a step, where all that the host must know of it is
read at once: whether they are finite, on any process; whether a process could not read its rows, or got a signal.
All processes decide together, so that none waits for one that has stopped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from gpt4scene.errors import DataError
from gpt4scene.launched import OtherProcessFailed
from gpt4scene.training.output import good_checkpoint
from gpt4scene.training.processes import gather_all, raise_first
from gpt4scene.training.signals import highest_of_all
from gpt4scene.types import Origin

SHOWN = 5
"""Rows and weights that a message names."""

ENDLESS_SKIPS = 40
"""Steps in a row that fp16 may skip: halved so often, a loss scale of 65536 is far below 1 and can't be the cause."""


class Losses:
    """The losses of rows that were computed since the last ``clear``, still on their device, and whose they are."""

    def __init__(self) -> None:
        self._known: list[tuple[torch.Tensor, tuple[Origin | None, ...]]] = []

    def add(self, losses_K: torch.Tensor, origins: tuple[Origin | None, ...]) -> None:
        """Note the losses of a pack; ``None`` stands for a branch that is no row."""
        self._known.append((losses_K.detach(), origins))

    def broken(self) -> torch.Tensor | None:
        """Return whether any loss is NaN or infinite, on the device; None where there are no losses."""
        return ~torch.cat([losses for losses, _ in self._known]).isfinite().all() if self._known else None

    def rows(self, *, broken: bool) -> list[str]:
        """Return the rows, each with its loss where only the ``broken`` ones are asked for."""
        pairs = [
            (str(origin or "a filling row"), loss)
            for losses, origins in self._known
            for origin, loss in zip(origins, losses.tolist(), strict=True)
            if origin is not None or broken
        ]
        if not broken:
            return [row for row, _ in pairs]
        return [f"{row}: {loss}" for row, loss in pairs if not abs(loss) < float("inf")]

    def clear(self) -> None:
        """Forget all of them."""
        self._known.clear()


@dataclass(frozen=True)
class Judged:
    """What the host reads of a step: the gradient's norm, and the highest signal that any process got (0 for none)."""

    norm: float | None
    signal: int


class Watch:
    """Judges every step and everything that is saved; raises DataError on one process, and ends the others quietly.

    Args:
        output_dir: where checkpoints lie, to name the last good one.
        device: that processes talk about.
        fp16: whether gradients may overflow: the loss scale then falls and the step is skipped, which is no failure.
    """

    def __init__(self, output_dir: str | Path, device: torch.device, *, fp16: bool) -> None:
        self.losses = Losses()
        self._output_dir, self._device, self._fp16 = Path(output_dir), device, fp16
        self._skipped = 0

    def step(
        self,
        number: int,
        gradient_norm: torch.Tensor | float | None,
        *,
        failed: DataError | None = None,
        signal: int = 0,
    ) -> Judged:
        """Judge step ``number`` before the optimizer takes it, and forget its losses. Waits for the device, once.

        ``failed`` is why this process could not read its rows, ``signal`` the one that it got. Raises the ``failed``
        of one process, and ends the others quietly.
        """
        state = [torch.zeros((), device=self._device) if (broken := self.losses.broken()) is None else broken.float()]
        state += [_not_finite(gradient_norm, self._device), *_known(self._device, failed is not None, signal)]
        judged = torch.stack(state)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(judged, op=torch.distributed.ReduceOp.MAX)
        if isinstance(gradient_norm, torch.Tensor):
            judged = torch.cat([judged, _whole(gradient_norm).detach().float().reshape(1)])
        bad_loss, bad_gradient, failure, highest, *norm = judged.tolist()
        if failure:
            raise_first(failed)
        self._judge(number, bool(bad_loss), bool(bad_gradient))
        self.losses.clear()
        return Judged(norm[0] if isinstance(gradient_norm, torch.Tensor) else gradient_norm, int(highest))

    def _judge(self, number: int, bad_loss: bool, bad_gradient: bool) -> None:
        """Stop where a step is not to be taken."""
        if bad_loss:
            self._stop(f"step {number}: the loss is no finite number", self.losses.rows(broken=True))
        self._skipped = self._skipped + 1 if bad_gradient else 0
        if bad_gradient and not self._fp16:
            self._stop(
                f"step {number}: the gradient is no finite number, though the losses are",
                self.losses.rows(broken=False),
            )
        if self._skipped >= ENDLESS_SKIPS:
            self._stop(
                f"step {number}: the gradient was infinite or NaN in {self._skipped} steps one after the other, at any "
                "loss scale; fp16 does not hold this model, use bf16",
                self.losses.rows(broken=False),
            )

    def evaluation(self, number: int, loss: float) -> None:
        """Judge the evaluation after step ``number``, whose ``loss`` is that of all processes."""
        if not abs(loss) < float("inf"):
            self._stop(f"evaluation after step {number}: the loss is no finite number", self.losses.rows(broken=True))
        self.losses.clear()

    def weights(self, number: int, model: torch.nn.Module) -> None:
        """Judge the weights after step ``number``, which are about to be saved."""
        wrong = broken_tensors(model.named_parameters())
        if highest_of_all(bool(wrong), self._device):
            self._stop(f"after step {number}: weights are no finite numbers any more", wrong)

    def _stop(self, what: str, here: list[str]) -> None:
        """Raise on the first process, with what was found ``here`` on each of them."""
        found = [item for items in gather_all(here) for item in items]
        if torch.distributed.is_initialized() and torch.distributed.get_rank():
            raise OtherProcessFailed
        kept = good_checkpoint(self._output_dir)
        raise DataError(
            f"{what} ({_listed(found)}). Nothing of it was saved; "
            + (f"the last good checkpoint is {kept}" if kept else "there is no checkpoint from before")
            + ". Start anew"
            + (" from that checkpoint (model_name_or_path, or adapter_name_or_path for LoRA)" if kept else "")
            + " without a row that is wrong, with a lower learning_rate, or with bf16 instead of fp16"
        )


class RefuseBrokenStart(TrainerCallback):
    """Raises DataError before the first step where weights, or an optimizer's memory, are no finite numbers.

    ``place`` names the folder that they came from.
    """

    def __init__(self, place: str | Path) -> None:
        self._place = place

    def on_train_begin(self, args, state, control, *, model, optimizer, **_: object):  # pyright: ignore
        """Look at everything that training starts from, once."""
        wrong = broken_tensors(model.named_parameters())
        if state.global_step:
            wrong += broken_tensors(_memory(optimizer))
        if highest_of_all(bool(wrong), args.device):
            names = sorted({name for names in gather_all(wrong) for name in names})
            if torch.distributed.is_initialized() and torch.distributed.get_rank():
                raise OtherProcessFailed
            raise DataError(
                f"{self._place}: holds numbers that are NaN or infinite, in {_listed(names)}; nothing can be learned "
                "from there, choose another checkpoint"
            )


def broken_tensors(named: Iterable[tuple[str, torch.Tensor]]) -> list[str]:
    """Return the names of tensors with a NaN or an infinite number in what this process holds of them."""
    names, extremes = [], []
    for name, tensor in named:
        part = _here(tensor)
        if part.is_floating_point() and part.numel():
            names.append(name)
            extremes.append(torch.stack(torch.aminmax(part)).isfinite().all())
    if not names:
        return []
    return [name for name, good in zip(names, torch.stack(extremes).tolist(), strict=True) if not good]


def _known(device: torch.device, *numbers: float) -> list[torch.Tensor]:
    """Return numbers of the host on the device: filled in there, since a copy would wait for it."""
    return [torch.full((), float(number), device=device) for number in numbers]


def _not_finite(number: torch.Tensor | float | None, device: torch.device) -> torch.Tensor:
    """Return 1 for a number that is NaN or infinite and 0 for another or none, on the device."""
    if isinstance(number, torch.Tensor):
        return (~_whole(number).isfinite()).float()
    return _known(device, number is not None and not math.isfinite(number))[0]


def _whole(norm: torch.Tensor) -> torch.Tensor:
    """Return the norm of all processes; FSDP2 keeps each one's part."""
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def _here(tensor: torch.Tensor) -> torch.Tensor:
    """Return this process's part of a tensor; ZeRO-3 keeps it beside an empty one, FSDP2 inside of it."""
    if isinstance(tensor, DTensor):
        return tensor.to_local().detach()
    return getattr(tensor, "ds_tensor", tensor).detach()


def _memory(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield what an optimizer keeps of earlier steps."""
    for kept in optimizer.state.values():
        for name, value in kept.items():
            if isinstance(value, torch.Tensor):
                yield f"the optimizer's {name}", value


def _listed(items: list[str]) -> str:
    more = len(items) - SHOWN
    return "; ".join(items[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
