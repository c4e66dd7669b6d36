"""What work costs by count, so that utilisation means the same in every benchmark here.

A product of matrices counts 2 operations a multiplication. Weights of the language model are used once in the forward
pass and twice in the backward pass (once where they are frozen: no gradient of their own); the frozen tower in the
forward pass only. Attention counts the pairs that see each other. What is computed again does not count.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from gpt4scene.types import IGNORED, Pack


@dataclass(frozen=True)
class Counts:
    """Weights that every token meets (``layers``) or only learned ones (``head``), and widths of attention."""

    layers: int
    head: int
    tower: int
    width: int
    tower_width: int

    @classmethod
    def of(cls, model: torch.nn.Module) -> Counts:
        """Return the counts of a model with Qwen2-VL's module names."""
        text, vision = model.config.get_text_config(), model.config.vision_config
        language, tower = model.model.language_model.layers, model.model.visual
        return cls(
            layers=sum(one.numel() for one in language.parameters() if one.dim() == 2),
            head=model.lm_head.weight.numel(),
            tower=sum(one.numel() for one in tower.parameters() if one.dim() > 1),
            width=text.num_hidden_layers * text.hidden_size,
            tower_width=vision.depth * vision.embed_dim,
        )

    def training(self, pack: Pack, *, frozen: bool, tower: bool = True) -> float:
        """Return operations of one pack, forward and backward; ``frozen`` weights (LoRA) have no gradients.

        ``tower`` is false where features come from a cache.
        """
        learned = sum(int((branch.labels_L != IGNORED).sum()) for branch in pack.branches)
        products = (4 if frozen else 6) * (self.layers * pack.length + self.head * learned)
        return products + 12 * self.pairs(pack) * self.width + (self.seeing(pack) if tower else 0.0)

    @staticmethod
    def pairs(pack: Pack) -> float:
        """Return pairs of tokens that see each other."""
        prefix, lengths = len(pack.prefix_P), [len(branch.ids_L) for branch in pack.branches]
        return prefix**2 / 2 + sum(prefix * length + length**2 / 2 for length in lengths)

    def seeing(self, pack: Pack) -> float:
        """Return operations of the tower over the images of a pack, forward only."""
        sizes = [rows * columns for _, rows, columns in pack.grids]
        return 2 * self.tower * sum(sizes) + 4 * sum(size**2 for size in sizes) * self.tower_width


def rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return operations a second of the best of several large products of matrices on ``device``."""
    size = 8192 if device.type == "cuda" else 2048
    one = torch.randn(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        one @ one
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
