"""What a step makes smaller: a loss for each row of a pack, and what the row counts for in the mean over the step.

The trainer knows rows only. It sums ``losses * counts`` over all packs, micro-batches and processes of a step, and
divides by the sum of the counts. So every objective is exact however the step is cut, if the loss of a row hangs on
nothing but its own row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch

from gpt4scene.model.inputs import row_losses
from gpt4scene.model.tower import Tower
from gpt4scene.types import Batch, Origin


@dataclass(frozen=True, eq=False)
class RowLosses:
    """The losses of the R rows of a pack, on their device.

    ``counts`` are what the rows count for in the mean, ``origins`` where they come from (None for filling).
    ``figures`` are further numbers of every row by name; the log shows their means, weighed by ``weights``.
    """

    losses: torch.Tensor  # float32 [R]
    counts: torch.Tensor  # float32 [R]
    weights: torch.Tensor  # float32 [R]: 1 for a row, 0 for filling
    origins: tuple[Origin | None, ...]
    figures: Mapping[str, torch.Tensor] = field(default_factory=dict)  # each float32 [R], without a gradient


class Objective(Protocol):
    """What a step makes smaller. ``figures`` are the names of the further numbers that it gives of every row."""

    figures: tuple[str, ...]

    def counts(self, batch: Batch) -> torch.Tensor:
        """Return ``float32[R]``, what each row counts for, where the batch is, without a pass of the model."""
        ...

    def losses(self, model: torch.nn.Module, batch: Batch, tower: Tower) -> RowLosses:
        """Return the losses of the rows of ``batch``, which is on the model's device."""
        ...


class FineTuning:
    """Supervised fine-tuning: a row's loss is the mean cross entropy over its labels.

    Args:
        average: the mean of a step is one over rows, or over answer tokens.
    """

    figures: tuple[str, ...] = ()

    def __init__(self, average: Literal["row", "token"]) -> None:
        self._average = average

    def counts(self, batch: Batch) -> torch.Tensor:
        """Return the weight of each branch, or its number of labels."""
        if self._average == "row":
            return batch.weights
        labels = torch.ones(len(batch.label_owners), device=batch.weights.device)
        return batch.weights * torch.zeros_like(batch.weights).index_add(0, batch.label_owners, labels)

    def losses(self, model: torch.nn.Module, batch: Batch, tower: Tower) -> RowLosses:
        """Return the loss of each branch."""
        losses_K = row_losses(model, batch, tower.rule, tower)
        return RowLosses(losses_K, self.counts(batch), batch.weights, batch.origins)
