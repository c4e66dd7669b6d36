"""Images for the model: the one place that says how the vision tower is run, for training and inference alike.

Where nothing of the tower learns, it is run outside of the model's own call, and what it makes of an image can be kept
(``features``). The model then gets features in place of pixels.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from gpt4scene.data.image_files import image_pixels
from gpt4scene.data.image_rule import ImageRule
from gpt4scene.data.packs import decoders
from gpt4scene.families.registry import family_of
from gpt4scene.files.contents import Contents
from gpt4scene.model import tower_attention
from gpt4scene.model.features import FeatureCache, Features, feature_key, weights_digest
from gpt4scene.model.pixels import normalise, numbers_of
from gpt4scene.model.tower_plan import TowerPlans
from gpt4scene.model.tower_tiles import AnyresPlans, TilePlans
from gpt4scene.types import Grid, Images

_BESIDE = ("transformers_version", "_name_or_path", "dtype")
"""Entries of a tower's config that features do not depend on, or by way of its weights alone."""
_AT_A_TIME = 4096
"""Patches that a CPU runs the tower on at a time, four images of usual size: what it makes of them stays in cache."""


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


def takes_features(network: PreTrainedModel) -> bool:
    """Return whether a model can be given features in place of pixels; those of transformers 5.17 can't."""
    base = network.get_submodule(family_of(network.config).tower.rpartition(".")[0])
    return "mm_encoder_outputs" in inspect.signature(base.forward).parameters


class Tower:
    """Runs the vision tower of a model.

    Args:
        model: with the tower, wrapped or not.
        rule: what an image becomes.
        whole: this process holds all weights of the tower. Where they are sharded (ZeRO-3, FSDP), only a call of the
            whole model brings them together.
        autocast: makes the context that the model computes in.
        cache: of features; only where the tower does not learn.
        contents: what image files hold; shared with others that ask.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        rule: ImageRule,
        *,
        whole: bool = True,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
        cache: FeatureCache | None = None,
        contents: Contents | None = None,
    ) -> None:
        network = next((module for module in model.modules() if isinstance(module, PreTrainedModel)), None)
        assert network is not None, "a model of transformers, or a wrapper around one"
        self.network, self.rule, self.whole, self.autocast = network, rule, whole, autocast
        family = family_of(network.config)
        self.plans: TowerPlans | TilePlans
        if family.seeing == "patches":
            self.plans = TowerPlans(network.get_submodule(family.tower), network.config.vision_config)
        else:
            self.plans = {"tiles": TilePlans, "anyres": AnyresPlans}[family.seeing](network, family)
        self.module = self.plans.module
        self._deepstack = any("deepstack" in merger for merger in family.mergers)
        self._takes_features = takes_features(network)
        self.cache = cache if self.can_keep else None
        self.contents = contents if contents is not None else Contents()
        self._weights: tuple[object, str] | None = None
        built = network.config.vision_config.to_dict().items()
        self._built = sorted((name, repr(value)) for name, value in built if name not in _BESIDE)
        self._numbers: tuple[object, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] | None = None

    @property
    def can_keep(self) -> bool:
        """Whether features can be given to the model in place of pixels, so that a cache is of use."""
        return self.whole and (self._takes_features or not self._deepstack)

    def close(self) -> None:
        """Wait until features are in their folder."""
        if self.cache is not None:
            self.cache.close()

    def knows(self, digests: Sequence[str | None], mark: Hashable = None) -> bool:
        """Return whether features of images with these hashes are kept, so that no pixels are needed."""
        if self.cache is None or None in digests:
            return False
        return self.cache.knows([key for key in self._keys(digests, mark) if key is not None])

    def knows_files(self, paths: Sequence[str]) -> bool:
        """Return whether features of these files are kept; no file is read."""
        return self.cache is not None and self.knows([self.contents.known(path) for path in paths])

    def inputs(
        self, images: Images, patches_u8: torch.Tensor, input_ids: torch.Tensor, mark: Hashable = None
    ) -> dict[str, Any]:
        """Return the keyword arguments about ``images`` for a call of the model with ``input_ids[1, L]``.

        ``patches_u8[P, patch length]`` are those of all images, on any device; without rows, images whose features are
        not kept are decoded here. Where nothing of the tower learns it is run here, without a graph; else the model
        gets pixels and runs it itself. ``mark`` differs once weights were changed in ways that PyTorch does not count.
        """
        if not images.grids:
            return {}
        device = input_ids.device
        if self._runs_apart():
            return self.given(self._encoded(images, patches_u8, device, mark), input_ids)
        pixels = self._normalised(self._patches(images, patches_u8, range(len(images.grids))), device)
        return self.plans.arguments(images.grids, pixels)

    def given(self, encoded: EncodedImages, input_ids: torch.Tensor) -> dict[str, Any]:
        """Return the keyword arguments that give the model features in place of images.

        transformers 5.17 has none for them: there they are put among the embeddings of ``input_ids``.
        """
        if self._takes_features:
            return {"mm_encoder_outputs": {"image": self.plans.form(encoded)}}
        embed = self.network.get_input_embeddings()
        assert embed is not None and not self._deepstack
        embeddings = embed(input_ids)
        features = torch.cat(encoded.pooler_output).to(embeddings)
        places = (input_ids == self.network.config.image_token_id)[..., None]
        return {"input_ids": None, "inputs_embeds": embeddings.masked_scatter(places, features)}

    def encode(self, grids: tuple[Grid, ...], pixels: torch.Tensor) -> EncodedImages:
        """Return what the tower makes of normalised ``pixels[P, patch length]`` of images, without a graph.

        The tensors may be saved for a backward pass later, also where inference mode is on around this call.
        """
        with torch.inference_mode(False), torch.no_grad(), self.autocast():
            merged, deep = self.plans.run(grids, pixels, self.rule)
            return EncodedImages(merged, deep)

    def _runs_apart(self) -> bool:
        """Return whether the tower can be run outside of the model's own call."""
        if not self.can_keep:
            return False
        return not torch.is_grad_enabled() or not any(part.requires_grad for part in self.module.parameters())

    def _encoded(self, images: Images, patches_u8: torch.Tensor, device: torch.device, mark: Hashable) -> EncodedImages:
        """Return features of all images: those that are kept, and the others computed together."""
        digests = self._digests(images)
        keys = self._keys(digests, mark)
        found = [None] * len(keys) if self.cache is None else self.cache.get(keys)
        ready: list[Features | None] = [
            kept.to(device) if kept is not None and len(kept.merged) == self.rule.tokens(grid) else None
            for kept, grid in zip(found, images.grids, strict=True)
        ]
        missing = [number for number, one in enumerate(ready) if one is None]
        sizes = list(map(self.rule.patches, images.grids))
        for group in _groups(missing, sizes, _AT_A_TIME if device.type == "cpu" else math.inf):
            pixels = self._normalised(self._patches(images, patches_u8, group), device)
            made = self.encode(tuple(images.grids[number] for number in group), pixels)
            for place, number in enumerate(group):
                one = Features(made.pooler_output[place], tuple(layer[place] for layer in made.deepstack_features))
                ready[number] = one
                if self.cache is not None and (key := keys[number]) is not None:
                    given = len(patches_u8) > 0  # else the file was decoded just now, and may have changed before
                    if given or self.contents(images.paths[number]) == digests[number]:
                        self.cache.put(key, one)
        whole = [one for one in ready if one is not None]
        layers = tuple(zip(*(one.deepstack for one in whole), strict=True))
        return EncodedImages(tuple(one.merged for one in whole), layers)

    def _normalised(self, patches_u8: torch.Tensor, device: torch.device) -> torch.Tensor:
        key = self.rule, device
        if self._numbers is None or self._numbers[0] != key:
            with torch.inference_mode(False):
                self._numbers = key, numbers_of(self.rule, device)
        return normalise(patches_u8.to(device, non_blocking=True), self.rule, self._numbers[1])

    def _patches(self, images: Images, patches_u8: torch.Tensor, chosen: Sequence[int]) -> torch.Tensor:
        """Return the patches of the ``chosen`` images: those given, or else decoded now."""
        if len(patches_u8) == 0:
            paths = [images.paths[number] for number in chosen if number < len(images.paths)]
            grids = [images.grids[number] for number in chosen]  # blank ones are the last
            return torch.from_numpy(image_pixels(paths, grids, self.rule, threads=decoders()))
        if len(chosen) == len(images.grids):
            return patches_u8
        parts = patches_u8.split([self.rule.patches(grid) for grid in images.grids])
        return torch.cat([parts[number] for number in chosen])

    def _digests(self, images: Images) -> list[str | None]:
        """Return the hash of each image's content; None for one that nobody can say, and for a blank one."""
        if self.cache is None:
            return [None] * len(images.grids)
        if not images.contents:
            found: list[str | None] = [self.contents(path) for path in images.paths]
        else:
            found = [None if content is None else content.digest for content in images.contents]
            for path, content in zip(images.paths, images.contents, strict=True):
                if content is not None and content.state:
                    self.contents.learn(path, content)
        return found + [None] * (len(images.grids) - len(found))

    def _keys(self, digests: Sequence[str | None], mark: Hashable) -> list[str | None]:
        """Return the key of each image; None where its content is not known, and for all without a cache."""
        if self.cache is None or all(digest is None for digest in digests):
            return [None] * len(digests)
        state = mark, tuple((part.data_ptr(), _version(part)) for part in self.module.parameters())
        if self._weights is None or self._weights[0] != state:
            self._weights = state, weights_digest(self.module)
        device = next(self.module.parameters()).device.type
        with self.autocast():
            autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        dtypes = sorted({str(part.dtype) for part in self.module.parameters()})
        computing = f"{dtypes} {autocast} {self.plans.attention} {self._built}"
        weights = self._weights[1]
        return [None if one is None else feature_key(one, self.rule, weights, computing) for one in digests]


def _groups(numbers: Sequence[int], sizes: Sequence[int], most: float) -> list[list[int]]:
    """Return images of ``sizes`` in groups of at most so many patches, or of one image."""
    groups: list[list[int]] = []
    room = 0.0
    for number in numbers:
        patches = sizes[number]
        if patches > room:
            groups.append([])
            room = most
        groups[-1].append(number)
        room -= patches
    return groups


def _version(tensor: torch.Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version
