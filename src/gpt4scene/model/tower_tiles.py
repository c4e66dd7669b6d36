"""Towers that see images as batches of square tiles, and projectors beside them: InternVL's, LLaVA-OneVision's.

Their first layers are convolutions of whole tiles. Patches are put together again on the device, so that the host
carries bytes of patches for every family alike.
"""

from __future__ import annotations

from itertools import groupby
from types import SimpleNamespace
from typing import Any

import torch
from transformers import PreTrainedModel

from gpt4scene.data.anyres import ALONE
from gpt4scene.data.image_rule import ImageRule
from gpt4scene.families.family import Family
from gpt4scene.types import Grid


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
        self, grids: tuple[Grid, ...], pixels: torch.Tensor, rule: ImageRule
    ) -> tuple[tuple[torch.Tensor, ...], tuple[tuple[torch.Tensor, ...], ...]]:
        """Return the features ``[tokens, width]`` of each image of ``grids``, and none of inner layers."""
        base: Any = self.base
        made = base.get_image_features(self.tiles(pixels), return_dict=True).pooler_output
        return made.flatten(0, 1).split(list(map(rule.tokens, grids))), ()

    def form(self, encoded: Any) -> Any:
        """Return features as the model's ``mm_encoder_outputs`` takes those of images: in one tensor."""
        return SimpleNamespace(pooler_output=torch.cat(encoded.pooler_output)[None])

    def tiles(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return patches ``[P, 3 * p * p]`` as tiles ``[T, 3, H, W]``."""
        side, patch = self._side, self._patch
        parts = pixels.view(-1, side, side, 3, patch, patch)
        return parts.permute(0, 3, 1, 4, 2, 5).reshape(-1, 3, side * patch, side * patch)


class AnyresPlans(TilePlans):
    """Runs LLaVA-OneVision's tower, and lays the features of an image's tiles in rows that its newline ends."""

    def arguments(self, grids: tuple[Grid, ...], pixels: torch.Tensor) -> dict[str, Any]:
        """Return the keyword arguments about images for the model, which runs the tower itself.

        It cuts an image into tiles where it is the only one of a row of its batch, so that images among others are
        counted together.
        """
        rows: list[int] = []
        for shown, members in groupby(grid[0] for grid in grids):
            count = len(list(members))
            assert shown == ALONE or count > 1, "an image among others has company in its pack"
            rows += [1] * count if shown == ALONE else [count]
        sizes = [grid[1:] for grid in grids]
        return {"pixel_values": self.tiles(pixels), "image_sizes": sizes, "batch_num_images": rows}

    def run(
        self, grids: tuple[Grid, ...], pixels: torch.Tensor, rule: ImageRule
    ) -> tuple[tuple[torch.Tensor, ...], tuple[tuple[torch.Tensor, ...], ...]]:
        """Return the features ``[tokens, width]`` of each image of ``grids``, and none of inner layers."""
        base, config = self.base, self.network.config
        one: Any = base
        tiles = self.tiles(pixels)
        states = one.vision_tower(tiles, output_hidden_states=True, return_dict=True).hidden_states
        chosen = config.vision_feature_layer
        chosen = [chosen] if isinstance(chosen, int) else chosen
        made = one.multi_modal_projector(torch.cat([states[layer] for layer in chosen], dim=-1))
        parts = made.split([rule.patches(grid) // self._side**2 for grid in grids])
        sizes = [grid[1:] for grid in grids]
        packed, _ = one.pack_image_features(
            parts, sizes, image_newline=one.image_newline, vision_aspect_ratio=config.vision_aspect_ratio
        )
        return tuple(packed), ()

    def form(self, encoded: Any) -> Any:
        """Return features as the model's ``mm_encoder_outputs`` takes those of images: as they are."""
        return encoded
