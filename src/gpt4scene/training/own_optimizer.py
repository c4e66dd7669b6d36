"""The Trainer's optimizer where a method asks for another, or for groups of parameters with rates of their own."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from transformers import Trainer

from gpt4scene.families.family import Family
from gpt4scene.settings.methods import MethodArguments
from gpt4scene.training.parameter_groups import asks_for_groups, optimizer_of

_PROJECTORS = (
    ("galore_torch.galore_projector", "GaLoreProjector"),
    ("apollo_torch.svd_projector", "GaLoreProjector"),
    ("apollo_torch.random_projector", "GradientProjector"),
)
"""Classes whose objects the optimizers of low-rank gradients keep in their state: their numbers, and a matrix."""


class OwnOptimizer(Trainer):
    """A Trainer with the optimizer that ``methods`` ask for; ``family`` says which part a parameter belongs to.

    What the groups are is told when the Trainer asks: FSDP puts other parameters in the place of a model's.
    """

    def __init__(
        self, *args: Any, methods: MethodArguments | None = None, family: Family | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._methods, self._family = methods or MethodArguments(), family

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """Make the optimizer, as the Trainer does where no method asks for anything."""
        if self.optimizer is None and asks_for_groups(self._methods):
            chosen = cast(torch.nn.Module, self.model if model is None else model)
            decaying = self.get_decay_parameter_names(chosen)
            assert self._family is not None
            made = optimizer_of(chosen, decaying, self._methods, self.args, self._family)
            self.optimizer_cls_and_kwargs = made
        return super().create_optimizer(model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Load what optimizer and schedule keep, projectors of low-rank gradients among it."""
        with known_projectors():
            super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint and self.optimizer is not None:
            bring_projectors(cast(torch.optim.Optimizer, self.optimizer))


@contextmanager
def known_projectors() -> Iterator[None]:
    """Let ``torch.load`` make the projectors that GaLore and APOLLO keep; no other code of a checkpoint is run."""
    there = [(module, name) for module, name in _PROJECTORS if importlib.util.find_spec(module.partition(".")[0])]
    kinds: list[Callable[..., Any]] = [getattr(importlib.import_module(module), name) for module, name in there]
    with torch.serialization.safe_globals([*kinds]):
        yield


def bring_projectors(optimizer: torch.optim.Optimizer) -> None:
    """Bring the matrices of projectors to their parameters' devices, as PyTorch does with tensors of the state.

    The Trainer reads a checkpoint to the CPU, and PyTorch passes over tensors inside of objects.
    """
    for parameter, kept in optimizer.state.items():
        if (projector := kept.get("projector")) is None:
            continue
        held = projector.ortho_matrix
        if isinstance(held, torch.Tensor):
            projector.ortho_matrix = held.to(parameter.device)
        elif held is not None:  # one matrix for each side
            projector.ortho_matrix = [one.to(parameter.device) for one in held]
