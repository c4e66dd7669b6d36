"""Which tokens of a packed row see each other, as integers that are known before any device is asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from gpt4scene.types import PackLayout

_SPREAD = 4
"""Branches share a kernel call where the longest is at most so many times as long as the shortest."""


def pack_layout(prefix_length: int, lengths: Sequence[int], apart: int = 0) -> PackLayout:
    """Return the layout of a row of ``prefix_length`` tokens and branches of ``lengths``, all of them above 0.

    The last ``apart`` branches do not see the prefix.
    """
    assert prefix_length >= 0 and 0 <= apart <= len(lengths) and all(length > 0 for length in lengths)
    known = tuple(map(int, lengths))
    if len(set(known)) <= 1:
        groups = ((len(known), known[0]),) if known else ()
        return PackLayout(prefix_length, known, apart, groups, torch.empty(0, dtype=torch.int64))
    order = sorted(range(len(known)), key=lambda branch: -known[branch])
    members: list[list[int]] = []
    for branch in order:
        if members and known[members[-1][0]] <= _SPREAD * known[branch]:
            members[-1].append(branch)
        else:
            members.append([branch])
    starts, groups, start = [0] * len(known), [], 0
    for group in members:
        longest = known[group[0]]
        groups.append((len(group), longest))
        for branch in sorted(group):
            starts[branch] = start
            start += longest
    places = np.concatenate([np.arange(length) + begin for begin, length in zip(starts, known, strict=True)])
    return PackLayout(prefix_length, known, apart, tuple(groups), torch.from_numpy(places.astype(np.int64)))
