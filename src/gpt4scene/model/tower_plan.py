"""All that a vision tower computes from the sizes of images, computed beforehand on the host and remembered.

transformers' towers take these tensors as keyword arguments of their call. Left to themselves they ask the device for
the sizes, which waits for all that runs there.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from transformers.vision_utils import (
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
    get_vision_window_index,
)

from gpt4scene.data.image_rule import ImageRule
from gpt4scene.model import tower_attention
from gpt4scene.model.tower_attention import Sequences, TowerLayout
from gpt4scene.types import Grid

Sizes = tuple[tuple[int, int, int], ...]
"""Frames, rows and columns of patches of each image."""

_REMEMBERED = 32
"""Sets of image sizes; a scene's images are mostly of the sizes of another's."""


class TowerPlans:
    """Gives the keyword arguments for calls of a tower.

    Args:
        module: the tower.
        config: its part of the model's config, which names its attention.
    """

    def __init__(self, module: torch.nn.Module, config: Any) -> None:
        self.module, self.config = module, config
        self.merge: int = config.spatial_merge_size
        self._known: OrderedDict[tuple[tuple[tuple[int, int, int], ...], torch.device, str], dict[str, Any]] = (
            OrderedDict()
        )

    @property
    def attention(self) -> str:
        """The attention that the tower computes with."""
        return str(self.config._attn_implementation)

    @property
    def _ours(self) -> bool:
        return self.attention == tower_attention.NAME

    def __call__(self, grids: tuple[Grid, ...], device: torch.device) -> dict[str, Any]:
        """Return the arguments beside pixels and grids; no device waits where the sizes came before."""
        grids = tuple(grid[:3] for grid in grids)  # when the frames of a video were is nothing to the tower
        key = grids, device, self.attention
        plan = self._known.pop(key, None)
        if plan is None:
            with torch.inference_mode(False):
                plan = self._made(grids, device)
            if len(self._known) >= _REMEMBERED:
                self._known.popitem(last=False)
        self._known[key] = plan
        return plan

    def arguments(self, grids: tuple[Grid, ...], pixels: torch.Tensor) -> dict[str, Any]:
        """Return the keyword arguments about images for the model, which runs the tower itself."""
        plan = self(grids, pixels.device)
        return {"pixel_values": pixels} | {f"image_{name}": value for name, value in plan.items()}

    def run(
        self, grids: tuple[Grid, ...], pixels: torch.Tensor, rule: ImageRule
    ) -> tuple[tuple[torch.Tensor, ...], tuple[tuple[torch.Tensor, ...], ...]]:
        """Return the features ``[tokens, width]`` of each image of ``grids``, and those of inner layers."""
        sizes = list(map(rule.tokens, grids))
        out = self.module(pixels, **self(grids, pixels.device))
        deep = out.get("deepstack_features") or ()
        return out.pooler_output.split(sizes), tuple(layer.split(sizes) for layer in deep)

    def form(self, encoded: Any) -> Any:
        """Return features as the model's ``mm_encoder_outputs`` takes those of images: as they are."""
        return encoded

    def windowed(self) -> frozenset[int]:
        """Return the identities (``id``) of the attention modules that attend within windows."""
        whole = getattr(self.config, "fullatt_block_indexes", None)
        if whole is None:
            return frozenset()
        blocks = self.module.get_submodule("blocks").children()
        return frozenset(id(block.get_submodule("attn")) for number, block in enumerate(blocks) if number not in whole)

    def _made(self, grids: Sizes, device: torch.device) -> dict[str, Any]:
        sizes = torch.tensor(grids)
        tensors = {"position_ids": get_vision_position_ids(sizes, self.merge)}
        lengths = [rows * columns for time, rows, columns in grids for _ in range(time)]
        windows: list[int] | None = None
        places = np.arange(sum(lengths))
        if self.windowed():
            units, windows = self._windows(sizes)
            tensors["window_index"] = torch.from_numpy(units)
            merged = self.merge**2
            places = np.argsort((units[:, None] * merged + np.arange(merged)).ravel())
        if "num_position_embeddings" in self.config.to_dict():
            module: Any = self.module
            indices, weights = get_vision_interpolation_indices_and_weights(
                sizes,
                num_grid_per_side=module.num_grid_per_side,
                mode=module.interpolation_mode,
                align_corners=module.interpolation_align_corners,
                spatial_merge_size=self.merge,
            )
            tensors |= {"interp_indices": indices, "interp_weights": weights}
        plan: dict[str, Any] = {name: tensor.to(device) for name, tensor in tensors.items()}
        plan["grid_thw"] = sizes  # on the host, where it is read
        if self._ours:
            return plan | self._in_one_call(lengths, windows, places, device)
        return plan | self._bounds(lengths, windows, device)

    def _windows(self, sizes: torch.Tensor) -> tuple[np.ndarray, list[int]]:
        """Return the order of merged patches in which windows are whole, and the windows' lengths in patches.

        For our attention the longest windows come first. Those of one length then lie one behind the other and are one
        batch without any copy.
        """
        index, bounds = get_vision_window_index(sizes, self.merge, self.config.window_size, self.config.patch_size)
        units, starts, lengths = index.numpy(), bounds.numpy() // self.merge**2, np.diff(bounds.numpy()).tolist()
        if not self._ours:
            return units, lengths
        order = sorted(range(len(lengths)), key=lambda window: -lengths[window])
        by_length = np.concatenate([units[starts[window] : starts[window + 1]] for window in order])
        return by_length, [lengths[window] for window in order]

    def _in_one_call(
        self, lengths: list[int], windows: list[int] | None, places: np.ndarray, device: torch.device
    ) -> dict[str, Any]:
        """Return what makes transformers call our attention once a layer: to it, all patches are one sequence.

        Its bounds are a NumPy array, since wrappers for several processes send tensors to the device, where reading
        them would wait.
        """
        whole = np.array([0, sum(lengths)])
        images = Sequences.ordered(lengths, places, device)
        if windows is None:
            return {"cu_seqlens": whole, "sequences": TowerLayout(images)}
        layout = TowerLayout(images, Sequences.of(windows, device), self.windowed())
        return {"cu_seqlens": whole, "cu_window_seqlens": whole, "sequences": layout}

    def _bounds(self, lengths: list[int], windows: list[int] | None, device: torch.device) -> dict[str, Any]:
        """Return the sequences as transformers' own attentions take them: flash-attn on the device, others here."""
        flash, plan = "flash" in self.attention, {}
        for name, parts in (("seqlen", lengths), ("window_seqlen", windows or [])):
            if parts:
                bounds = np.concatenate([[0], np.cumsum(parts)])
                plan[f"cu_{name}s"] = torch.tensor(bounds, dtype=torch.int32, device=device) if flash else bounds
                plan[f"max_{name}"] = max(parts)
        return plan
