"""Sizes of a model that memory and time depend on, from its config alone; no torch is needed."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ATTENTION = LINEAR[:4]
"""The linear modules of a language layer, and those of its attention."""


@dataclass(frozen=True)
class TowerShape:
    """A vision tower: ``depth`` blocks of ``width`` channels, whose MLP is ``gated`` (three matrices) or not.

    ``patch`` counts the values of a patch, ``merge`` patches of one token. ``parameters`` are those of the tower
    without its mergers, ``merger_parameters`` those of the mergers.
    """

    width: int
    depth: int
    heads: int
    intermediate: int
    gated: bool
    patch: int
    merge: int
    parameters: int
    merger_parameters: int

    @property
    def block_matmul(self) -> int:
        """Weights of a block that every patch is multiplied with."""
        return 4 * self.width**2 + (3 if self.gated else 2) * self.width * self.intermediate


@dataclass(frozen=True)
class RecurrentShape:
    """Those of a model's layers that carry a memory in place of keys: ``layers`` of them.

    Each of ``heads`` holds ``memory`` x ``channels`` numbers. Queries and keys have ``key_width`` channels together,
    which fewer heads than these may share. A convolution reads ``kernel`` tokens.
    """

    layers: int
    key_width: int
    heads: int
    channels: int
    memory: int
    kernel: int

    @property
    def width(self) -> int:
        """Channels of the values of all heads."""
        return self.heads * self.channels

    @property
    def mixed(self) -> int:
        """Channels of the convolution: queries, keys and values."""
        return 2 * self.key_width + self.width

    def linear(self, hidden: int) -> dict[str, tuple[int, int]]:
        """Return the sizes (in, out) of each linear module in place of a layer's attention."""
        rates = {f"in_proj_{name}": (hidden, self.heads) for name in "ba"}
        inputs = {"in_proj_qkv": (hidden, self.mixed), "in_proj_z": (hidden, self.width)}
        return {**inputs, **rates, "out_proj": (self.width, hidden)}

    @property
    def other_parameters(self) -> int:
        """Parameters of a layer in no linear module: the convolution, rates and biases of decay, the gated norm."""
        return self.mixed * self.kernel + 2 * self.heads + self.channels


@dataclass(frozen=True)
class ModelShape:
    """A language model, and its tower. ``tied``: the head has no weights of its own.

    ``intermediate`` counts the channels inside the MLP that a token passes. With ``experts`` in a layer, a token passes
    ``active`` of them, and ``intermediate`` are the channels of these together; ``shared`` are those of an MLP beside
    the experts that every token passes. A ``gated_query`` brings as many channels again, which gate the attention.
    Layers are equal, but for those that are ``recurrent``. ``centred`` norms multiply by 1 + their weights.
    """

    hidden: int
    layers: int
    heads: int
    key_heads: int
    channels: int
    intermediate: int
    vocabulary: int
    tied: bool
    qkv_bias: bool
    qk_norm: bool
    tower: TowerShape
    experts: int = 0
    active: int = 0
    shared: int = 0
    gated_query: bool = False
    centred: bool = False
    recurrent: RecurrentShape | None = None

    @property
    def query_width(self) -> int:
        """Channels of all query heads."""
        return self.heads * self.channels

    @property
    def key_width(self) -> int:
        """Channels of all key heads."""
        return self.key_heads * self.channels

    @property
    def recurrent_layers(self) -> int:
        """Layers without keys."""
        return self.recurrent.layers if self.recurrent is not None else 0

    def linear(self, recurrent: bool = False) -> dict[str, tuple[int, int]]:
        """Return the sizes (in, out) of each linear module of a layer, or of a ``recurrent`` one.

        Experts are none, but one tensor together.
        """
        h, q, k, i = self.hidden, self.query_width, self.key_width, self.shared or self.intermediate
        sizes = ((h, 2 * q if self.gated_query else q), (h, k), (h, k), (q, h), (h, i), (h, i), (i, h))
        found: dict[str, tuple[int, int]] = dict(zip(LINEAR, sizes, strict=True))
        if self.experts and not self.shared:
            found = {name: found[name] for name in ATTENTION}
        if self.shared:
            found["shared_expert_gate"] = h, 1
        if recurrent:
            assert self.recurrent is not None, "a model of equal layers has none of these"
            rest = {name: size for name, size in found.items() if name not in ATTENTION}
            return self.recurrent.linear(h) | rest
        return found

    def _matmul(self, recurrent: bool = False) -> int:
        experts = 3 * self.hidden * self.intermediate + self.hidden * self.experts if self.experts else 0
        return sum(rows * columns for rows, columns in self.linear(recurrent).values()) + experts

    @property
    def _kinds(self) -> list[tuple[int, dict[str, tuple[int, int]]]]:
        """How many layers there are of each kind, and the sizes of their linear modules."""
        whole = [(self.layers - self.recurrent_layers, self.linear())]
        return [*whole, (self.recurrent_layers, self.linear(recurrent=True))] if self.recurrent_layers else whole

    @property
    def linear_weights(self) -> int:
        """Weights of the linear modules of all language layers, which experts and routers are not."""
        return sum(layers * sum(i * o for i, o in sizes.values()) for layers, sizes in self._kinds)

    @property
    def layer_matmul(self) -> float:
        """Weights of a layer that every token is multiplied with: of experts, the active ones' and the router's.

        The mean of all layers.
        """
        if not self.recurrent_layers:
            return self._matmul()
        whole = self._matmul() * (self.layers - self.recurrent_layers) + self._matmul(True) * self.recurrent_layers
        return whole / self.layers

    def _parameters(self, recurrent: bool = False) -> int:
        """Return the parameters of a layer, norms and biases included, and all experts."""
        idle = self.experts - self.active
        resting = 3 * self.hidden * self.intermediate // self.active * idle if self.experts else 0
        own = (self.query_width + 2 * self.key_width if self.qkv_bias else 0) + (2 * self.channels) * self.qk_norm
        if recurrent:
            assert self.recurrent is not None, "a model of equal layers has none of these"
            own = self.recurrent.other_parameters
        return self._matmul(recurrent) + resting + 2 * self.hidden + own

    @property
    def layer_parameters(self) -> int:
        """Parameters of a language layer, the largest where there are two kinds."""
        return max(self._parameters(recurrent) for recurrent in {False, self.recurrent_layers > 0})

    @property
    def all_layer_parameters(self) -> int:
        """Parameters of all language layers."""
        if not self.recurrent_layers:
            return self.layers * self._parameters()
        whole = self.layers - self.recurrent_layers
        return whole * self._parameters() + self.recurrent_layers * self._parameters(True)

    @property
    def head_parameters(self) -> int:
        """Weights of the language head, whether or not they are those of the embeddings."""
        return self.vocabulary * self.hidden

    @property
    def language_parameters(self) -> int:
        """Parameters of layers, last norm, embeddings and head; tied ones once."""
        return self.all_layer_parameters + self.hidden + self.head_parameters * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """Parameters of the whole model."""
        return self.language_parameters + self.tower.parameters + self.tower.merger_parameters

    def lora_parameters(self, rank: int, targets: tuple[str, ...] | None = None) -> int:
        """Return the weights that adapters of ``rank`` have in the language layers: in all linear modules for None."""
        return sum(
            layers * rank * sum(sum(size) for name, size in sizes.items() if targets is None or name in targets)
            for layers, sizes in self._kinds
        )


def language_shape(
    config: Any,
    tower: TowerShape,
    *,
    channels: int,
    qkv_bias: bool,
    qk_norm: bool,
    intermediate: int | None = None,
    gated_query: bool = False,
    centred: bool = False,
    recurrent: RecurrentShape | None = None,
) -> ModelShape:
    """Return the shape of a transformers config whose language layers are Qwen's: gated, with grouped keys.

    ``intermediate`` are the channels inside the MLP, as the config says where they are left out.
    """
    text = config.text_config
    return ModelShape(
        hidden=text.hidden_size,
        layers=text.num_hidden_layers,
        heads=text.num_attention_heads,
        key_heads=text.num_key_value_heads,
        channels=channels,
        intermediate=text.intermediate_size if intermediate is None else intermediate,
        vocabulary=text.vocab_size,
        tied=bool(config.tie_word_embeddings),
        qkv_bias=qkv_bias,
        qk_norm=qk_norm,
        tower=tower,
        gated_query=gated_query,
        centred=centred,
        recurrent=recurrent,
    )


def tower_shape(
    vision: Any, width: int, inner: int, hidden: int, *, gated: bool, positions: int = 0, deep: int = 0
) -> TowerShape:
    """Count the parameters of one of Qwen's towers, in the order in which its modules are made.

    ``width`` and ``inner`` are the channels of its blocks and of their MLPs, ``hidden`` those of the language model.
    A ``gated`` MLP goes with root-mean-square norms, the other with layer norms. ``positions`` counts learned position
    embeddings (their patch embedding has a bias), ``deep`` the mergers of inner layers.
    """
    patch = 3 * vision.temporal_patch_size * vision.patch_size**2
    merged = vision.spatial_merge_size**2 * width
    norm = width if gated else 2 * width  # RMS norm, or layer norm with its bias
    mlp = 3 * width * inner + 2 * inner + width if gated else 2 * width * inner + inner + width
    block = 2 * norm + 4 * width**2 + 4 * width + mlp
    embedding = patch * width + (width * (1 + positions) if positions else 0)
    merger = norm + merged**2 + merged + merged * hidden + hidden
    return TowerShape(
        width=width,
        depth=vision.depth,
        heads=vision.num_heads,
        intermediate=inner,
        gated=gated,
        patch=patch,
        merge=vision.spatial_merge_size**2,
        parameters=embedding + vision.depth * block,
        merger_parameters=merger + deep * (merger - norm + 2 * merged),
    )


def _published(hidden: int, layers: int, heads: int, key_heads: int, inner: int, words: int, tied: bool) -> ModelShape:
    """Return the shape of a Qwen2-VL; its tower is the same in all sizes."""
    merger = 2 * 1280 + 5120**2 + 5120 + 5120 * hidden + hidden
    tower = TowerShape(1280, 32, 16, 5120, False, 1176, 4, 631_183_360, merger)
    return ModelShape(hidden, layers, heads, key_heads, 128, inner, words, tied, True, False, tower)


PUBLISHED = MappingProxyType(
    {
        "Qwen2-VL-2B": _published(1536, 28, 12, 2, 8960, 151_936, True),
        "Qwen2-VL-7B": _published(3584, 28, 28, 4, 18_944, 152_064, False),
    }
)
"""Shapes of published checkpoints, for plans where no checkpoint lies at hand."""
