"""Images for the model: the one place that says how the vision tower is run, for training and inference alike."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from gpt4scene.data.vision import VisionRule
from gpt4scene.model import tower_attention
from gpt4scene.model.families import family_of
from gpt4scene.model.pixels import normalise
from gpt4scene.model.tower_plan import TowerPlans
from gpt4scene.types import Grid, Images


@dataclass(frozen=True)
class EncodedImages:
    """What the tower made of images, in the form that a model's ``mm_encoder_outputs`` takes.

    ``pooler_output`` are features ``[tokens, width]`` of each image, ``deepstack_features`` those that Qwen3-VL adds in
    its first language layers, a tuple of images for each of these layers.
    """

    pooler_output: tuple[torch.Tensor, ...]
    deepstack_features: tuple[tuple[torch.Tensor, ...], ...] = ()


def tower_attention_name(attention: str) -> str:
    """Return the attention of the tower where ``attention`` was asked for: ours in place of PyTorch's fused one."""
    return tower_attention.NAME if attention == "sdpa" else attention


class Tower:
    """Runs the vision tower of a model.

    Args:
        model: with the tower, wrapped or not.
        rule: what an image becomes.
        whole: this process holds all weights of the tower. Where they are sharded (ZeRO-3, FSDP), only a call of the
            whole model brings them together.
        autocast: makes the context that the model computes in.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        rule: VisionRule,
        *,
        whole: bool = True,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        network = next((module for module in model.modules() if isinstance(module, PreTrainedModel)), None)
        assert network is not None, "a model of transformers, or a wrapper around one"
        self.network, self.rule, self.whole, self._autocast = network, rule, whole, autocast
        family = family_of(network.config)
        self.module = network.get_submodule(family.tower)
        self._deepstack = any("deepstack" in merger for merger in family.mergers)
        base = network.get_submodule(family.tower.rpartition(".")[0])
        self._takes_features = "mm_encoder_outputs" in inspect.signature(base.forward).parameters
        self.plans = TowerPlans(self.module, network.config.vision_config)

    def inputs(self, images: Images, patches_u8: torch.Tensor, input_ids: torch.Tensor) -> dict[str, Any]:
        """Return the keyword arguments about ``images`` for a call of the model with ``input_ids[1, L]``.

        ``patches_u8[P, 3*T*p*p]`` are those of all images, on any device. Where nothing of the tower
        learns it is run here, without a graph; else the model gets pixels and runs it itself.
        """
        grids = images.grids
        if not grids:
            return {}
        device = input_ids.device
        pixels = normalise(patches_u8.to(device, non_blocking=True), self.rule)
        if self._runs_apart():
            return self.given(self.encode(grids, pixels), input_ids)
        plan = {f"image_{name}": value for name, value in self.plans(grids, device).items()}
        return {"pixel_values": pixels, "image_grid_thw": torch.tensor(grids), **plan}

    def given(self, encoded: EncodedImages, input_ids: torch.Tensor) -> dict[str, Any]:
        """Return the keyword arguments that give the model features in place of images.

        transformers before 5.20 has none for them: there they are put among the embeddings of ``input_ids``.
        """
        if self._takes_features:
            return {"mm_encoder_outputs": {"image": encoded}}
        embed = self.network.get_input_embeddings()
        assert embed is not None and not self._deepstack
        embeddings = embed(input_ids)
        features = torch.cat(encoded.pooler_output).to(embeddings)
        places = (input_ids == self.network.config.image_token_id)[..., None]
        return {"input_ids": None, "inputs_embeds": embeddings.masked_scatter(places, features)}

    def encode(self, grids: tuple[Grid, ...], pixels: torch.Tensor) -> EncodedImages:
        """Return what the tower makes of normalised ``pixels[P, 3*T*p*p]`` of images of ``grids``, without a graph.

        The tensors may be saved for a backward pass later, also where inference mode is on around this call.
        """
        plan = self.plans(grids, pixels.device)
        with torch.inference_mode(False), torch.no_grad(), self._autocast():
            out = self.module(pixels, grid_thw=torch.tensor(grids), **plan)
            sizes = [rows * columns * time // self.rule.merge_size**2 for time, rows, columns in grids]
            deep = out.deepstack_features if self._deepstack else ()
            return EncodedImages(out.pooler_output.split(sizes), tuple(layer.split(sizes) for layer in deep))

    def _runs_apart(self) -> bool:
        """Return whether the tower can be run outside of the model's own call."""
        if not self.whole or (self._deepstack and not self._takes_features):
            return False
        return not torch.is_grad_enabled() or not any(part.requires_grad for part in self.module.parameters())
