"""Towers that see images as batches of square tiles, and projectors beside them: InternVL's.

Their first layers are convolutions of whole tiles. Patches are put together again on the device, so that the host
carries bytes of patches for every family alike.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel

from gpt4scene.families.family import Family
from gpt4scene.types import Grid

if TYPE_CHECKING:
    from gpt4scene.model.tower import EncodedImages


class TilePlans:
    """Runs a tower on tiles; stands where ``TowerPlans`` does for towers of Qwen's kind.

    ``module`` holds all that features depend on: the tower, and the projector and whatever else stands beside it.
    """

    def __init__(self, network: PreTrainedModel, family: Family) -> None:
        self.network, self.base = network, network.get_submodule(family.tower.rpartition(".")[0])
        vision = network.config.vision_config
        size, patch = vision.image_size, vision.patch_size
        self._patch: int = patch if isinstance(patch, int) else patch[0]
        self._side = (size if isinstance(size, int) else size[0]) // self._patch
        self.module = torch.nn.Module()
        for path in (family.tower, *family.mergers):
            name, parent = path.rpartition(".")[2], network.get_submodule(path.rpartition(".")[0])
            part = getattr(parent, name)
            if isinstance(part, torch.nn.Parameter):
                self.module.register_parameter(name, part)
            else:
                self.module.add_module(name, part)

    @property
    def attention(self) -> str:
        """The attention that the tower computes with."""
        return str(self.network.config.vision_config._attn_implementation)

    def arguments(self, grids: tuple[Grid, ...], pixels: torch.Tensor) -> dict[str, Any]:
        """Return the keyword arguments about images for the model, which runs the tower itself."""
        return {"pixel_values": self.tiles(pixels)}

    def run(
        self, grids: tuple[Grid, ...], pixels: torch.Tensor, sizes: list[int]
    ) -> tuple[tuple[torch.Tensor, ...], tuple[tuple[torch.Tensor, ...], ...]]:
        """Return the features ``[tokens, width]`` of each image of ``sizes`` tokens, and no deeper ones."""
        base: Any = self.base
        made = base.get_image_features(self.tiles(pixels), return_dict=True).pooler_output
        return made.flatten(0, 1).split(sizes), ()

    def form(self, encoded: EncodedImages) -> Any:
        """Return features as the model's ``mm_encoder_outputs`` takes those of images: in one tensor."""
        return SimpleNamespace(pooler_output=torch.cat(encoded.pooler_output)[None])

    def tiles(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return patches ``[P, 3 * p * p]`` as tiles ``[T, 3, H, W]``."""
        side, patch = self._side, self._patch
        parts = pixels.view(-1, side, side, 3, patch, patch)
        return parts.permute(0, 3, 1, 4, 2, 5).reshape(-1, 3, side * patch, side * patch)
