"""Muon for matrices and AdamW for all else, as one optimizer with one state, both of them PyTorch's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch


class MuonAndAdamW(torch.optim.Optimizer):
    """Steps groups that say ``muon`` by Muon, with the size of update of AdamW (arXiv 2502.16982), others by AdamW."""

    def __init__(
        self, params: Iterable[dict[str, Any]], lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        given = list(params)
        muon = [{name: group[name] for name in group if name != "muon"} for group in given if group.get("muon")]
        others = [group for group in given if not group.get("muon")]
        self._muon = torch.optim.Muon(muon or [{"params": []}], lr=lr, adjust_lr_fn="match_rms_adamw")
        self._adamw = torch.optim.AdamW(others or [{"params": []}], lr=lr, betas=betas, eps=eps)
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {"lr": lr})
        self._share()

    def _share(self) -> None:
        """Let both parts work on this optimizer's groups and state: what a schedule or a checkpoint sets is theirs."""
        matrices = len(self._muon.param_groups)
        self._muon.param_groups, self._adamw.param_groups = self.param_groups[:matrices], self.param_groups[matrices:]
        self._muon.state = self._adamw.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take groups and state of a checkpoint, for both parts."""
        super().load_state_dict(state_dict)
        self._share()

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore
        """Take a step with both; return what ``closure`` does."""
        loss = self._muon.step(closure)  # pyright: ignore[reportArgumentType]
        self._adamw.step()
        return loss
