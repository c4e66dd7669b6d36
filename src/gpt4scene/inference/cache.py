"""Keys and values of one scene's row: the prefix, then the tokens of all branches in the order they were computed."""

from __future__ import annotations

import torch
from transformers.cache_utils import Cache, CacheLayerMixin


class RowLayer(CacheLayerMixin):
    """Keys and values ``[1, heads, S, channels]`` of one layer, in buffers with room to grow.

    transformers' own growing layer copies everything for each new token; this one copies when the room is used up,
    which doubles what lies behind the prefix.
    """

    is_sliding = False
    is_croppable = True

    def __init__(self) -> None:
        super().__init__()
        self.length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Take device, type, heads and channels from the first states."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys = key_states.new_empty((*key_states.shape[:2], 0, key_states.shape[-1]))
        self.values = value_states.new_empty((*value_states.shape[:2], 0, value_states.shape[-1]))
        self.first = key_states.shape[2]
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the new states and return views of all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        keys, values = self._buffers()
        needed = self.length + key_states.shape[2]
        if needed > keys.shape[2]:
            room = self.first + max(256, 2 * (needed - self.first)) if self.length else needed
            self.keys, self.values = keys, values = self._grown(keys, room), self._grown(values, room)
        keys[:, :, self.length : needed] = key_states
        values[:, :, self.length : needed] = value_states
        self.length = needed
        return keys[:, :, :needed], values[:, :, :needed]

    def _buffers(self) -> tuple[torch.Tensor, torch.Tensor]:
        assert self.keys is not None and self.values is not None
        return self.keys, self.values

    def _grown(self, states: torch.Tensor, room: int) -> torch.Tensor:
        larger = states.new_empty((*states.shape[:2], room, states.shape[-1]))
        larger[:, :, : self.length] = states[:, :, : self.length]
        return larger

    def keep(self, start: int, kept: torch.Tensor) -> None:
        """Keep what lies before ``start`` and the states at the indices ``kept`` (ascending), without gaps."""
        end = start + len(kept)
        for buffer in self._buffers():
            buffer[:, :, start:end] = buffer[:, :, kept]
        self.length = end

    def get_seq_length(self) -> int:
        """Return the number of tokens held."""
        return self.length

    def get_max_length(self) -> int:
        """Return -1: there is no bound."""
        return -1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the number of keys after ``query_length`` more tokens, and the offset 0."""
        return self.length + query_length, 0


class RowCache(Cache):
    """The key/value cache of one row. Branches come and go behind the prefix; nothing is copied per branch."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=RowLayer)

    def truncate(self, length: int) -> None:
        """Forget all tokens from ``length`` on, for the next branches of the same prefix."""
        for layer in self._row_layers():
            layer.length = min(layer.length, length)

    def keep(self, start: int, kept: torch.Tensor) -> None:
        """Keep the tokens before ``start`` and those at the indices ``kept``; finished branches make room this way."""
        for layer in self._row_layers():
            layer.keep(start, kept)

    def _row_layers(self) -> list[RowLayer]:
        return [layer for layer in self.layers if isinstance(layer, RowLayer)]
