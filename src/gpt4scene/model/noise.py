"""NEFTune (arXiv 2310.05914) on packs: uniform noise on the embeddings of tokens, as large as it is in a single row.

In a row of L tokens of width H, transformers adds numbers between -alpha/sqrt(L H) and alpha/sqrt(L H) to every
embedding; those of image tokens are replaced by the tower's features afterwards, so that only text is noisy, though
images count in L. In a pack the L of a branch is that of its own row: prefix and branch. The prefix, which all branches
share, has one draw, for their mean length.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel

from gpt4scene.errors import ConfigError
from gpt4scene.model.tower import takes_features
from gpt4scene.types import PackLayout


def check_noise(model: PreTrainedModel) -> None:
    """Raise ``ConfigError`` where embeddings are made outside of the model's call, which alone knows the pack."""
    if not takes_features(model):
        version = transformers.__version__
        raise ConfigError(f"neftune_noise_alpha needs a newer transformers than {version}: pip install -U transformers")


def add_noise(model: PreTrainedModel, alpha: float) -> None:
    """Make ``model`` add NEFTune's noise of size ``alpha`` while it is in training mode, from torch's random numbers.

    ``model`` is the one that is called with ``layout=``.
    """
    layouts: list[PackLayout | None] = []

    def enter(_: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        layouts[:] = [kwargs.get("layout")]

    def noisy(module: torch.nn.Module, _: object, embedded: torch.Tensor) -> torch.Tensor:
        if not module.training:
            return embedded
        rows, tokens, width = embedded.shape
        layout = layouts[0] if layouts else None
        lengths_L = np.full(tokens, tokens, np.float32) if layout is None else row_lengths(layout)
        sizes_L = torch.from_numpy(alpha / np.sqrt(lengths_L * np.float32(width))).to(embedded.device, embedded.dtype)
        return embedded + torch.empty_like(embedded).uniform_(-1, 1) * sizes_L[None, :, None]

    model.register_forward_pre_hook(enter, with_kwargs=True)
    model.get_input_embeddings().register_forward_hook(noisy)


def row_lengths(layout: PackLayout) -> np.ndarray:
    """Return ``float32[L]``: for each token of a pack, how long the row is that it would be in alone."""
    own, seeing = list(layout.lengths), len(layout.lengths) - layout.apart
    rows = [layout.prefix_length + length if index < seeing else length for index, length in enumerate(own)]
    prefix = float(np.mean(rows[:seeing])) if seeing else float(layout.prefix_length)
    return np.repeat(np.array([prefix, *rows], np.float32), [layout.prefix_length, *own])
