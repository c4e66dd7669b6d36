"""Which token follows in every slot: settings side by side, in tensors on the device, and one look at the result.

The scores never leave the device. Numbers to draw by are sent once, when a branch begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gpt4scene.inference.decoding import GenerationSettings, draw, penalise

BROKEN = -1


@dataclass(frozen=True, eq=False)
class Choice:
    """How one branch chooses. ``seen`` holds the prompt's ids where the ``penalty`` is not 1."""

    settings: GenerationSettings
    penalty: float = 1.0
    uniforms: torch.Tensor | None = None
    seen: Sequence[np.ndarray] = ()


@dataclass(frozen=True)
class Chosen:
    """One token: its id; the model's log-probability of it and of the likeliest where the settings ask for them.

    ``id`` is ``BROKEN`` where the likeliest score is no finite number, so that there is none to choose.
    """

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Sampler:
    """Chooses tokens for slots; ``add``, ``keep`` and ``release`` follow those of the slots."""

    def __init__(self, limit: int, vocabulary: int, device: torch.device) -> None:
        self.limit, self.vocabulary, self.device = limit, vocabulary, device
        self.choices: list[Choice] = []
        self._numbers: torch.Tensor | None = None  # [slots, 3]: temperature, top_p, penalty
        self._uniforms: torch.Tensor | None = None  # [slots, longest answer]
        self._turns = torch.zeros(0, dtype=torch.int64, device=device)
        self._seen: torch.Tensor | None = None  # bool [slots, V]
        self._groups: dict[tuple[int, int], list[tuple[torch.Tensor, bool]]] = {}

    def add(self, choices: Sequence[Choice]) -> None:
        """Take the next slots into use."""
        first, end = len(self.choices), len(self.choices) + len(choices)
        if not first:
            self.release()
        self.choices += choices
        self._groups.clear()
        if self._numbers is None and all(one.uniforms is None and one.penalty == 1.0 for one in self.choices):
            return
        self._numbers = self._grown(self._numbers, end, 3)
        settings = [(one.settings.temperature, one.settings.top_p, one.penalty) for one in self.choices]
        self._numbers[:end] = torch.tensor(settings, dtype=torch.float32, device=self.device)
        if self._uniforms is not None or any(choice.uniforms is not None for choice in self.choices):
            self._add_uniforms(first, end)
        if self._seen is not None or any(choice.penalty != 1.0 for choice in self.choices):
            self._add_seen(first, end)

    def _add_uniforms(self, first: int, end: int) -> None:
        fresh = [choice.uniforms for choice in self.choices[first:]]
        width = max([1, *(len(one) for one in fresh if one is not None)])
        old = 0 if self._uniforms is None else self._uniforms.shape[1]
        if width > old and self._uniforms is not None:
            self._uniforms = torch.nn.functional.pad(self._uniforms, (0, width - old))
        self._uniforms = self._grown(self._uniforms, end, max(width, old))
        rows = torch.zeros((end - first, self._uniforms.shape[1]))
        for row, one in enumerate(fresh):
            if one is not None:
                rows[row, : len(one)] = one
        self._uniforms[first:end] = rows.to(self.device)
        self._turns = torch.cat([self._turns, self._turns.new_zeros(max(0, len(self._uniforms) - len(self._turns)))])
        self._turns[first:end] = 0

    def _add_seen(self, first: int, end: int) -> None:
        self._seen = self._grown(self._seen, end, self.vocabulary, torch.bool)
        self._seen[first:end] = False
        for row, choice in enumerate(self.choices[first:], first):
            if len(choice.seen):
                self._seen[row, torch.from_numpy(np.unique(np.concatenate(choice.seen))).to(self.device)] = True

    def _grown(
        self, old: torch.Tensor | None, rows: int, width: int, dtype: torch.dtype = torch.float32
    ) -> torch.Tensor:
        """Return ``old`` with room for so many rows; what is new is zero."""
        have = 0 if old is None else len(old)
        if old is not None and have >= rows:
            return old
        new = torch.zeros((min(self.limit, max(8, 2 * have, rows)), width), dtype=dtype, device=self.device)
        if old is not None:
            new[:have] = old
        return new

    def keep(self, moves: Sequence[tuple[int, int]], count: int) -> None:
        """Move slots (to, from) and keep the first ``count``."""
        self._groups.clear()
        for to, source in moves:
            self.choices[to] = self.choices[source]
        del self.choices[count:]
        tensors = [one for one in (self._numbers, self._uniforms, self._seen) if one is not None]
        tensors += [self._turns] if len(self._turns) else []
        if moves and tensors:
            to, source = torch.tensor(moves, device=self.device).unbind(1)
            for one in tensors:
                one[to] = one[source]

    @torch.inference_mode()
    def choose(self, scores_KV: torch.Tensor, first: int = 0) -> tuple[torch.Tensor, list[Chosen]]:
        """Return the next ids of the slots from ``first`` on, on the device, and what the host must know of them.

        The only wait for the device is the one for the result.
        """
        end = first + len(scores_KV)
        choices = self.choices[first:end]
        raw_KV, (best_K, ids) = scores_KV, scores_KV.max(-1)  # which is no number where one of them is none
        usable_K = best_K.isfinite()
        penalised = any(choice.penalty != 1.0 for choice in choices)
        if penalised:
            assert self._seen is not None and self._numbers is not None
            scores_KV = penalise(scores_KV, self._seen[first:end], self._numbers[first:end, 2])
            ids = scores_KV.argmax(-1)
        for rows, nucleus in self._groups_of(first, end):
            ids[rows] = self._drawn(scores_KV[rows], rows + first, nucleus)
        known = _known(raw_KV, ids, ids.where(usable_K, BROKEN), choices)
        if penalised:  # only now: what ran out of memory before is done again
            assert self._seen is not None
            self._seen[torch.arange(first, end, device=self.device), ids] = True
        if len(self._turns):
            self._turns[first:end] += 1
        return ids, known

    def _drawn(self, scores_KV: torch.Tensor, slots: torch.Tensor, nucleus: bool) -> torch.Tensor:
        assert self._numbers is not None and self._uniforms is not None
        numbers, turns = self._numbers[slots], self._turns[slots]
        uniforms = self._uniforms[slots].gather(1, turns[:, None])[:, 0]
        return draw(scores_KV, numbers[:, 0], numbers[:, 1] if nucleus else None, uniforms)

    def _groups_of(self, first: int, end: int) -> list[tuple[torch.Tensor, bool]]:
        """Return which rows draw, those under a ``top_p`` apart: nobody's way of drawing hangs on another's."""
        if (first, end) not in self._groups:
            found: dict[bool, list[int]] = {}
            for row, choice in enumerate(self.choices[first:end]):
                if choice.uniforms is not None:
                    found.setdefault(choice.settings.top_p < 1, []).append(row)
            self._groups[first, end] = [
                (torch.tensor(rows, device=self.device), nucleus) for nucleus, rows in found.items()
            ]
        return self._groups[first, end]

    def release(self) -> None:
        """Let go of all slots and of their memory."""
        self.__init__(self.limit, self.vocabulary, self.device)


def _known(raw_KV: torch.Tensor, ids: torch.Tensor, told: torch.Tensor, choices: Sequence[Choice]) -> list[Chosen]:
    """Bring the ids that are ``told``, and the log-probabilities that are asked for, to the host at once."""
    if not any(choice.settings.return_logprobs for choice in choices):
        return [Chosen(id) for id in told.tolist()]
    most = max(choice.settings.top_logprobs for choice in choices)
    lse_K1 = raw_KV.logsumexp(-1, keepdim=True)
    top, places = raw_KV.topk(min(most, raw_KV.shape[1]), -1)
    parts = [told[:, None], raw_KV.gather(-1, ids[:, None]) - lse_K1, top - lse_K1, places]
    found = []
    for choice, row in zip(choices, torch.cat([part.double() for part in parts], 1).tolist(), strict=True):
        if not choice.settings.return_logprobs:
            found.append(Chosen(int(row[0])))
            continue
        wanted = choice.settings.top_logprobs
        values, tokens = row[2 : 2 + top.shape[1]][:wanted], row[2 + top.shape[1] :][:wanted]
        found.append(
            Chosen(int(row[0]), row[1], tuple((int(id), value) for id, value in zip(tokens, values, strict=True)))
        )
    return found
