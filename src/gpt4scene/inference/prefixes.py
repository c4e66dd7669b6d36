"""The prefixes of scenes that are kept, each one tensor of all layers' keys, within a bound of bytes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import torch

from gpt4scene.data.image_rule import ImageRule
from gpt4scene.inference.weights import Mark
from gpt4scene.model.carried import Carried

PREFIX_MEMORY = 4 * 2**30
"""Bytes of prefixes kept: 8 scenes of 8,400 tokens at 7 billion weights in bfloat16, more of smaller models."""

VisitKey = tuple[tuple[str, ...], ImageRule, bytes]
"""What two questions must have in common to share a prefix: contents of the images, rule, and tokens before the cut."""


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys and values ``[layers, 2, key heads, P, channels]`` of a scene; None where nothing stands before the cut.

    ``next_position`` is where every branch begins, ``length`` the number P of tokens. ``carried`` is what recurrent
    layers carry behind its last token; branches copy it, and never write there.
    """

    states: torch.Tensor | None
    next_position: int
    length: int
    carried: Carried | None = None

    @property
    def size(self) -> int:
        """Bytes held."""
        return sum(one.nbytes for one in (self.states, self.carried) if one is not None)


NOTHING = Prefix(None, 0, 0)
"""The prefix of questions that share nothing."""


@dataclass
class PrefixStore:
    """Prefixes by key. Those beyond ``limit`` bytes are let go, the least recently used first, but for ones in use.

    Prefixes of weights with another mark are let go at once: a model that was trained on may not answer from them.
    """

    limit: int = PREFIX_MEMORY
    hits: int = 0
    misses: int = 0
    held: int = 0
    _kept: OrderedDict[VisitKey, Prefix] = field(default_factory=OrderedDict)
    _mark: Mark | None = None

    def __contains__(self, key: VisitKey) -> bool:
        return key in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    def peek(self, key: VisitKey) -> Prefix | None:
        """Return the prefix held under a key, whatever weights it was computed with; counts nothing."""
        return self._kept.get(key)

    def find(self, key: VisitKey, mark: Mark) -> Prefix | None:
        """Return the prefix of this key computed with weights of this mark, or None."""
        if mark != self._mark:
            self.clear()
            self._mark = mark
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, key: VisitKey, prefix: Prefix) -> None:
        """Keep a prefix computed with the weights that were last asked for; it was a miss."""
        self.misses += 1
        self.held += prefix.size
        self._kept[key] = prefix

    def shrink(self, in_use: set[int], limit: int | None = None) -> list[Prefix]:
        """Let prefixes go down to the limit and return them; those whose ``id`` is ``in_use`` stay."""
        limit, gone = self.limit if limit is None else limit, []
        for key, prefix in list(self._kept.items()):
            if self.held <= limit:
                break
            if id(prefix) not in in_use:
                gone.append(self._kept.pop(key))
                self.held -= prefix.size
        return gone

    def clear(self) -> None:
        """Let all prefixes go; branches that still read one keep it alive."""
        self._kept.clear()
        self.held = 0


def memory_of(most: int, device: torch.device) -> int:
    """Return the bytes to use of a device where nobody says: ``most``, or a quarter of what is free on a GPU."""
    return min(most, torch.cuda.mem_get_info(device)[0] // 4) if device.type == "cuda" else most
