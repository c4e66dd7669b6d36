"""Means of further figures over rows: summed on the device, shared by all processes once they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch


class Means:
    """Weighed means of named figures since they were last taken; all processes use the same ``names``.

    Args:
        names: of the figures, in the order in which processes add them up.
        device: that the sums are kept on.
    """

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self._names, self._device = tuple(names), device
        self._sums = self._counts = torch.zeros(len(self._names), device=device)

    def add(self, figures: Mapping[str, torch.Tensor], weights: torch.Tensor) -> None:
        """Add figures of rows, ``float32[R]`` each, weighed by ``weights``. Waits for no device."""
        if not self._names:
            return
        values = torch.stack([figures[name].detach().float() for name in self._names])
        self._sums = self._sums + (values * weights).sum(1)
        self._counts = self._counts + weights.sum()

    def take(self, reduce: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, float]:
        """Return the means over all processes, whose sums ``reduce`` gives, and begin anew; none without rows."""
        if not self._names:
            return {}
        sums, counts = reduce(torch.stack([self._sums, self._counts])).tolist()
        self._sums = self._counts = torch.zeros(len(self._names), device=self._device)
        pairs = zip(self._names, sums, counts, strict=True)
        return {name: total / count for name, total, count in pairs if count}
