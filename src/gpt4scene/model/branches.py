"""Attention over kept keys: a scene's prefix is read where it lies, and each branch has keys of its own.

The model call carries one of these layouts as its keyword argument ``layout``; the registered attention hands every
layer to it. ``PrefixFill`` keeps the keys of a prefix. ``BranchFill`` runs whole questions behind kept prefixes.
``BranchStep`` runs one token of every branch: the query heads of one key head are laid side by side as rows, so that
a prefix is read once for all branches. Both merge the two parts by their log-sum-exp. Recurrent layers have no keys:
they ask a layout to advance what its sequences carry. Letters: R tokens of the row, K branches, T own keys, G query
heads a key head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gpt4scene.model.carried import Carried, Mix
from gpt4scene.model.kept_attention import Prefixes, on_own, with_levels
from gpt4scene.model.kernels import attention_part, merge

Levels = Sequence[tuple[torch.Tensor, Sequence[int] | None]]
"""Prefixes before the layout is made: states, and the numbers of the branches that see them; None says all of them."""


class PrefixDone(Exception):
    """The last layer's keys of a prefix are kept; what the model would go on to compute is needed by nobody."""


class KeptKeys:
    """A layout that attends by itself, on keys that it keeps; the rows of a call are tokens of one packed row.

    ``states`` are the keys of the layers that have any, ``carried`` is what the others carry, where there are others.
    """

    states: torch.Tensor
    carried: Carried | None

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Return attention ``[1, R, heads, channels]`` of one layer; arguments are ``[1, heads, R, channels]``."""
        raise NotImplementedError

    def advance(
        self, layer: int, mixed: torch.Tensor, decay: torch.Tensor, beta: torch.Tensor, mix: Mix
    ) -> torch.Tensor:
        """Return ``[1, R, heads, value channels]`` of one recurrent layer, whose memories and windows move on.

        ``mixed[1, R, C]`` are the inputs of its convolution, ``decay`` and ``beta`` ``[1, R, heads]`` in log space and
        as a share. ``mix`` is what the layer computes of them.
        """
        raise NotImplementedError

    def _carried(self) -> Carried:
        assert self.carried is not None, "a model with recurrent layers is run with room for what they carry"
        return self.carried

    def _place(self, layer: int) -> int:
        """Return where the keys of a layer lie in ``states``."""
        return layer if self.carried is None else self.carried.kinds.place(layer)

    def _is_last(self, layer: int) -> bool:
        return layer + 1 == (len(self.states) if self.carried is None else len(self.carried.kinds.recurrent))


@dataclass(frozen=True, eq=False)
class PrefixFill(KeptKeys):
    """The row is a prefix, or a piece of it from token ``start`` on: its keys come to lie in ``states``, of all layers.

    ``states`` is ``[layers, 2, key heads, P, channels]``, its first ``start`` places those of the pieces before;
    ``carried``, of one sequence, is what they left. The call ends with ``PrefixDone`` once the last layer's are kept.
    """

    states: torch.Tensor
    start: int = 0
    carried: Carried | None = None

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Keep the states; attend causally, and to the pieces before whole."""
        end, place = self.start + key.shape[2], self._place(layer)
        for kept, new in zip(self.states[place], (key, value), strict=True):
            kept[:, self.start : end] = new[0]
        if self._is_last(layer):
            raise PrefixDone
        out, lse = attention_part(query, key, value, causal=True, scale=scale)
        if self.start:
            before = self.states[place, :, None, :, : self.start]
            out, _ = merge(*attention_part(query, before[0], before[1], causal=False, scale=scale), out, lse)
        return out.transpose(1, 2)

    def advance(
        self, layer: int, mixed: torch.Tensor, decay: torch.Tensor, beta: torch.Tensor, mix: Mix
    ) -> torch.Tensor:
        """Carry on from the pieces before."""
        out = self._carried().advance(layer, slice(0, 1), mixed, decay, beta, mix)
        if self._is_last(layer):
            raise PrefixDone
        return out


@dataclass(frozen=True, eq=False)
class BranchFill(KeptKeys):
    """The row holds K branches one behind the other; their keys come to lie in slots of ``states``.

    ``states`` is ``[layers, 2, slots, key heads, T, channels]``; the keys of token r lie in slot ``slots_R`` at place
    ``places_R``. ``padded_KL`` says which token of the row stands at each place of a branch (its last, behind its end),
    ``flat_R`` where a token stands among all K x L places. Every level holds keys that lie before the branches: the
    scene's prefix, then what some branches begin with. In the last layer only the tokens ``last_K`` are attended from,
    since what follows is predicted by them; where there are none, ``PrefixDone`` ends the call there.

    Recurrent layers go on from what the slots ``carried`` before the call, the fork of a prefix: ``first`` is the slot
    of the first branch, ``ends_K`` counts the tokens of each.
    """

    states: torch.Tensor
    slots_R: torch.Tensor
    places_R: torch.Tensor
    padded_KL: torch.Tensor
    flat_R: torch.Tensor
    levels: Sequence[Prefixes]
    last_K: torch.Tensor | None
    last_levels: Sequence[Prefixes]
    hidden_KL: torch.Tensor
    first: int
    ends_K: torch.Tensor | None = None
    carried: Carried | None = None

    @staticmethod
    def build(
        states: torch.Tensor,
        first: int,
        starts: Sequence[int],
        lengths: Sequence[int],
        levels: Sequence[Levels],
        predict: bool = True,
        carried: Carried | None = None,
    ) -> BranchFill:
        """Return the layout of branches of these ``lengths`` in the slots from ``first`` on.

        The keys of branch k lie from place ``starts[k]`` on. A level gives states, and the branches that see them
        (None: all of them).
        """
        device, counts_K, longest = states.device, np.asarray(lengths), max(lengths)
        firsts_K = np.cumsum(counts_K) - counts_K
        within_L = np.arange(longest)
        owners_R = np.repeat(np.arange(len(counts_K)), counts_K)
        inside_R = np.arange(len(owners_R)) - firsts_K[owners_R]

        def on(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device)

        def level(parts: Levels, of_tokens: bool) -> Prefixes:
            rows = [None if some is None else np.asarray(some) for _, some in parts]
            if of_tokens:
                rows = [None if some is None else np.flatnonzero(np.isin(owners_R, some)) for some in rows]
            return [(keys, None if some is None else on(some)) for (keys, _), some in zip(parts, rows, strict=True)]

        hidden_KL = np.where(within_L < counts_K[:, None], np.float32(0), np.float32(-np.inf))
        return BranchFill(
            states,
            on(owners_R + first),
            on(np.asarray(starts)[owners_R] + inside_R),
            on(firsts_K[:, None] + np.minimum(within_L, counts_K[:, None] - 1)),
            on(owners_R * longest + inside_R),
            [level(parts, True) for parts in levels if parts],
            on(firsts_K + counts_K - 1) if predict else None,
            [level(parts, False) for parts in levels if parts],
            on(hidden_KL),
            first,
            None if carried is None else on(counts_K),
            carried,
        )

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Keep the states of the branches; attend to them causally and to every level whole."""
        place = self._place(layer)
        for kept, new in zip(self.states[place], (key, value), strict=True):
            kept[self.slots_R, :, self.places_R] = new[0].transpose(0, 1)
        if self._is_last(layer):
            return self._last(place, query, key, value, scale)
        own = [states[0].transpose(0, 1)[self.padded_KL].transpose(1, 2) for states in (query, key, value)]
        out, lse = attention_part(own[0], own[1], own[2], causal=True, scale=scale)
        out_RHC = out.transpose(1, 2).flatten(0, 1)[self.flat_R]
        lse_RH = lse.transpose(1, 2).flatten(0, 1)[self.flat_R]
        return with_levels(place, query[0].transpose(0, 1), out_RHC, lse_RH, self.levels, scale)[None]

    def advance(
        self, layer: int, mixed: torch.Tensor, decay: torch.Tensor, beta: torch.Tensor, mix: Mix
    ) -> torch.Tensor:
        """Carry on in every slot, the branches as one batch padded behind their ends."""
        rows, real_KL1 = slice(self.first, self.first + len(self.hidden_KL)), (self.hidden_KL == 0)[..., None]
        inputs, *rates = (one[0][self.padded_KL] for one in (mixed, decay, beta))
        decay, beta = (one.where(real_KL1, 0) for one in rates)
        out = self._carried().advance(layer, rows, inputs, decay, beta, mix, self.ends_K)
        if self.last_K is None and self._is_last(layer):
            raise PrefixDone
        return out.flatten(0, 1)[self.flat_R][None]

    def _last(
        self, place: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Attend from the last token of every branch; what stands for the others is 0, and nobody's."""
        if self.last_K is None:
            raise PrefixDone
        query_RHC = query[0].transpose(0, 1)
        query_KHC = query_RHC[self.last_K]
        own_key, own_value = (states[0].transpose(0, 1)[self.padded_KL].transpose(1, 2) for states in (key, value))
        folded = query_KHC.unflatten(1, (key.shape[1], -1))
        out, lse = on_own(folded, own_key, own_value, self.hidden_KL, scale)
        found = with_levels(place, query_KHC, out.flatten(1, 2), lse.flatten(1, 2), self.last_levels, scale)
        return torch.zeros_like(query_RHC).index_copy_(0, self.last_K, found)[None]


@dataclass(frozen=True, eq=False)
class BranchStep(KeptKeys):
    """The row holds the next token of the branches in the first R slots.

    ``lengths_R`` counts the own keys before it, at most T - 1; ``hidden_RT`` is minus infinity at own keys that are
    none yet, and 0 elsewhere.
    """

    states: torch.Tensor
    lengths_R: torch.Tensor
    rows_R: torch.Tensor
    hidden_RT: torch.Tensor
    prefixes: Prefixes
    carried: Carried | None = None

    @staticmethod
    def build(
        states: torch.Tensor,
        lengths_R: torch.Tensor,
        room: int,
        prefixes: Prefixes,
        carried: Carried | None = None,
    ) -> BranchStep:
        """Return the layout of a step in which no branch has more than ``room`` keys of its own, the new ones with."""
        keys_T = torch.arange(room, device=lengths_R.device)
        hidden_RT = torch.zeros((), device=lengths_R.device).where(keys_T <= lengths_R[:, None], float("-inf"))
        rows_R = torch.arange(len(lengths_R), device=lengths_R.device)
        return BranchStep(states, lengths_R, rows_R, hidden_RT, prefixes, carried)

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Keep the new states; attend to each branch's own keys and to the prefixes whole."""
        rows, room = self.hidden_RT.shape
        place = self._place(layer)
        keys, values = self.states[place, 0], self.states[place, 1]
        keys[self.rows_R, :, self.lengths_R] = key[0].transpose(0, 1)
        values[self.rows_R, :, self.lengths_R] = value[0].transpose(0, 1)
        query_RKGC = query[0].transpose(0, 1).unflatten(1, (key.shape[1], -1))
        out, lse = on_own(query_RKGC, keys[:rows, :, :room], values[:rows, :, :room], self.hidden_RT, scale)
        query_RHC, out_RHC, lse_RH = query[0].transpose(0, 1), out.flatten(1, 2), lse.flatten(1, 2)
        return with_levels(place, query_RHC, out_RHC, lse_RH, [self.prefixes], scale)[None]

    def advance(
        self, layer: int, mixed: torch.Tensor, decay: torch.Tensor, beta: torch.Tensor, mix: Mix
    ) -> torch.Tensor:
        """Carry on in the first R slots by a token each."""
        inputs, decay, beta = (one.transpose(0, 1) for one in (mixed, decay, beta))
        return self._carried().advance(layer, slice(0, len(self.rows_R)), inputs, decay, beta, mix).transpose(0, 1)
