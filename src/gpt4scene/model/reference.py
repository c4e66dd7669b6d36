"""The model that a policy is compared with: the policy without its adapters, or a frozen model of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import ModulesToSaveWrapper
from transformers import PreTrainedModel

from gpt4scene.model.inputs import label_losses, model_inputs
from gpt4scene.model.tower import Tower
from gpt4scene.types import Batch


class Reference:
    """Gives the log-probabilities of labels under the reference, without a graph.

    Args:
        network: a frozen model of its own; None for the policy with its adapters off.
    """

    def __init__(self, network: PreTrainedModel | None = None) -> None:
        self._network = None if network is None else network.eval().requires_grad_(False)
        self._tower: Tower | None = None

    def log_probabilities(
        self, policy: torch.nn.Module, batch: Batch, tower: Tower, inputs: Mapping[str, Any]
    ) -> torch.Tensor:
        """Return ``float32[M]``, one for each label; ``tower`` and ``inputs`` are those of the ``policy``."""
        with torch.no_grad():
            if self._network is not None:
                with tower.autocast():
                    own = model_inputs(batch, self._own(tower, self._network, keeps=True))
                    return -label_losses(self._network, batch, own)[0]
            with adapters_off(policy):
                if _adapted(tower) or "inputs_embeds" in inputs:
                    inputs = model_inputs(batch, self._own(tower, tower.network))
                return -label_losses(policy, batch, inputs)[0]

    def _own(self, tower: Tower, network: PreTrainedModel, *, keeps: bool = False) -> Tower:
        """Return the reference's tower. One that ``keeps`` features does so beside the policy's, by its own weights.

        With adapters off, weights are others than those that features are kept by, so nothing is kept.
        """
        if self._tower is None:
            self._tower = Tower(network, tower.rule, whole=tower.whole, autocast=tower.autocast)
        if keeps and self._tower.can_keep:
            self._tower.cache, self._tower.contents = tower.cache, tower.contents
        return self._tower


def _adapted(tower: Tower) -> bool:
    """Return whether features that the policy's tower makes may be others than without adapters."""
    return any(isinstance(part, BaseTunerLayer | ModulesToSaveWrapper) for part in tower.module.modules())


@contextmanager
def adapters_off(model: torch.nn.Module) -> Iterator[None]:
    """Let ``model`` compute as before it got adapters, inside the block; parameters learn after it as before it."""
    tuned = next((part for part in model.modules() if isinstance(part, PeftModel)), None)
    assert tuned is not None, "a model with adapters"
    learned = [(part, part.requires_grad) for part in tuned.parameters()]
    try:
        with tuned.disable_adapter():
            yield
    finally:  # peft lets all of the active adapter learn, also what is frozen of one that is gone on with
        for part, learns in learned:
            part.requires_grad_(learns)
