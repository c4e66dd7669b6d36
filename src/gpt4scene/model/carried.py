"""What recurrent layers carry from token to token, and how many tokens' keys take as much memory.

A layer of Qwen3.5's GatedDeltaNet keeps no keys. It carries a memory, which each token changes, and a window: the last
inputs of its short convolution. To go on from a prefix in many ways is to copy both. Letters: N sequences side by
side, T tokens, W inputs of a window, C channels of the convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig

Mix = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Takes inputs ``[N, W + T, C]`` that begin with a window, decays and update rates ``[N, T, heads]``, and memories
``[N, heads, key channels, value channels]``; returns ``[N, T, heads, value channels]`` and the memories behind T."""

Rows = slice | torch.Tensor
"""Which of the N sequences."""


@dataclass(frozen=True)
class LayerKinds:
    """Which layers are recurrent, the others keeping keys; and the shapes that one sequence carries in each.

    ``memory`` is heads, key channels, value channels; ``window`` inputs and channels.
    """

    recurrent: tuple[bool, ...]
    memory: tuple[int, int, int]
    window: tuple[int, int]

    @property
    def key_layers(self) -> int:
        """Layers that keep keys."""
        return self.recurrent.count(False)

    def place(self, layer: int) -> int:
        """Return the number of a layer among those of its kind."""
        return self.recurrent[:layer].count(self.recurrent[layer])

    def new(self, count: int, dtype: torch.dtype, device: torch.device) -> Carried:
        """Return what ``count`` sequences carry before their first token: zeros. ``dtype`` is the model's."""
        layers = self.recurrent.count(True)
        memory = torch.zeros((layers, count, *self.memory), dtype=torch.float32, device=device)
        return Carried(self, memory, torch.zeros((layers, count, *self.window), dtype=dtype, device=device))

    def sequence_bytes(self, dtype: torch.dtype) -> int:
        """Return the bytes that one sequence carries in all layers, in a model of ``dtype``."""
        (heads, keys, values), (inputs, channels) = self.memory, self.window
        return self.recurrent.count(True) * (4 * heads * keys * values + dtype.itemsize * inputs * channels)


def kinds_of(config: PreTrainedConfig) -> LayerKinds | None:
    """Return the kinds of a language model's layers; None where all of them keep keys."""
    types = getattr(config, "layer_types", None) or []
    if "linear_attention" not in types:
        return None
    heads, channels = config.linear_num_value_heads, config.linear_value_head_dim
    key_channels = config.linear_key_head_dim
    mixed = 2 * config.linear_num_key_heads * key_channels + heads * channels
    return LayerKinds(
        tuple(kind == "linear_attention" for kind in types),
        (heads, key_channels, channels),
        (config.linear_conv_kernel_dim - 1, mixed),
    )


@dataclass(frozen=True, eq=False)
class Carried:
    """What N sequences carry: ``memory[layers, N, heads, key channels, value channels]`` in fp32, as the rule computes,
    and ``window[layers, N, W, C]``; of the recurrent layers alone. Written in place.
    """

    kinds: LayerKinds
    memory: torch.Tensor
    window: torch.Tensor

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.memory.nbytes + self.window.nbytes

    @property
    def places(self) -> tuple[int, int]:
        """Where in memory it lies."""
        return self.memory.data_ptr(), self.window.data_ptr()

    def fork(self, rows: Rows, source: Carried | None, row: int = 0) -> None:
        """Let ``rows`` go on from where sequence ``row`` of ``source`` is; None begins anew. The source stays."""
        if source is None:
            self.memory[:, rows], self.window[:, rows] = 0, 0
        else:
            self.memory[:, rows] = source.memory[:, row : row + 1]
            self.window[:, rows] = source.window[:, row : row + 1]

    def move(self, to: int, origin: int) -> None:
        """Let sequence ``to`` carry what ``origin`` does."""
        for one in (self.memory, self.window):
            one[:, to] = one[:, origin]

    def grown(self, room: Carried, used: int) -> Carried:
        """Return ``room``, the first ``used`` sequences of which carry what they do here."""
        for new, old in ((room.memory, self.memory), (room.window, self.window)):
            new[:, :used] = old[:, :used]
        return room

    def advance(
        self,
        layer: int,
        rows: slice,
        mixed: torch.Tensor,
        decay: torch.Tensor,
        beta: torch.Tensor,
        mix: Mix,
        ends: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Run T tokens of each of ``rows`` through a recurrent layer; return ``[N, T, heads, value channels]``.

        ``ends[N]`` counts the tokens of each sequence where not all have T: behind them, ``decay`` and ``beta`` are 0,
        so that nothing is forgotten and nothing learned.
        """
        place = self.kinds.place(layer)
        memory, window = self.memory[place, rows], self.window[place, rows]
        inputs = torch.cat([window, mixed], 1)
        out, after = mix(inputs, decay, beta, memory)
        memory.copy_(after)
        kept = window.shape[1]
        if ends is None:
            window.copy_(inputs[:, -kept:])
        else:
            places = ends[:, None] + torch.arange(kept, device=ends.device)
            window.copy_(inputs.gather(1, places[..., None].expand(-1, -1, inputs.shape[2])))
        return out
