"""The vision tower's first layer as what it is: a product of matrices, since no two patches overlap.

transformers makes it a 3-D convolution over patches that are one kernel wide. On a CPU that takes five times as long as
the product (Qwen2-VL's sizes), and PyTorch's convolutions of this kind were slow on GPUs as well.
"""

from __future__ import annotations

import torch
from torch.nn.functional import linear
from transformers import PreTrainedModel

from gpt4scene.families.registry import family_of


class PatchProduct(torch.nn.Conv3d):
    """A convolution with the weights of another one, for inputs ``[P, C, T, p, p]`` of the size of its kernel."""

    def __init__(self, conv: torch.nn.Conv3d) -> None:
        time, rows, columns = conv.kernel_size
        whole = time, rows, columns
        super().__init__(conv.in_channels, conv.out_channels, whole, whole, bias=conv.bias is not None, device="meta")
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return ``[P, out channels, 1, 1, 1]``."""
        assert input.shape[2:] == self.kernel_size, "a patch is one kernel wide"
        return linear(input.flatten(1), self.weight.flatten(1), self.bias)[:, :, None, None, None]


def embed_by_products(model: PreTrainedModel) -> None:
    """Exchange the convolution that embeds patches; its weights stay under their names.

    Towers that see tiles keep theirs: a 2-D convolution.
    """
    family = family_of(model.config)
    if family.seeing != "patches":
        return
    embed = model.get_submodule(family.tower).get_submodule("patch_embed")
    conv = embed.get_submodule("proj")
    assert isinstance(conv, torch.nn.Conv3d) and conv.kernel_size == conv.stride
    embed.register_module("proj", PatchProduct(conv).train(conv.training))
