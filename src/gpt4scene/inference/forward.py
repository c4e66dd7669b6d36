"""The three calls of the model that answers are made of: a prefix, questions behind it, one token of every branch."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from gpt4scene.data.encoding import SpecialTokens
from gpt4scene.data.packs import position_ids
from gpt4scene.inference.prefixes import Prefix
from gpt4scene.inference.preparing import Prepared
from gpt4scene.inference.slots import Slots
from gpt4scene.inference.stems import stems_of
from gpt4scene.model.branches import BranchFill, BranchStep, Levels, PrefixDone, PrefixFill
from gpt4scene.model.carried import Carried, kinds_of
from gpt4scene.model.kept_attention import Prefixes
from gpt4scene.model.threads import threads_for
from gpt4scene.model.tower import Tower
from gpt4scene.types import Content, Images


@dataclass(eq=False)
class Prefill:
    """A scene's prefix while it is computed: the keys of its first ``done`` tokens, with ``shown`` images, are there.

    ``carried`` is what recurrent layers carry behind these tokens.
    ``positions_RP`` are those of all its tokens, ``ends`` the places behind its images, ``mark`` that of the weights it
    is computed with.
    """

    prepared: Prepared
    pixels: np.ndarray
    mark: Hashable
    positions_RP: np.ndarray
    ends: np.ndarray
    states: torch.Tensor
    carried: Carried | None = None
    done: int = 0
    shown: int = 0

    def next_cut(self, most: int | None) -> tuple[int, int]:
        """Return where the next piece ends, behind a whole image: its tokens and images counted from the beginning.

        A piece has at most ``most`` tokens, but for a single image that has more; None is all that is left.
        """
        ends = self.ends
        fitting = len(ends) if most is None else int(np.searchsorted(ends, self.done + most, side="right"))
        shown = max(fitting, self.shown + 1)
        return (len(self.prepared.prefix_P), len(ends)) if shown >= len(ends) else (int(ends[shown - 1]), shown)

    def prefix(self) -> Prefix | None:
        """Return the prefix, or None where some of it is left to do."""
        whole = len(self.prepared.prefix_P)
        if self.done < whole:
            return None
        return Prefix(self.states, int(self.positions_RP.max()) + 1, whole, self.carried)


class Network:
    """A model with kept keys: what it computes for prefixes, questions and steps, and the sizes of its states.

    ``shape`` is layers that keep keys, key heads and channels; ``kinds`` is None where no layer is recurrent.
    """

    def __init__(self, model: PreTrainedModel, tower: Tower) -> None:
        text = model.config.get_text_config()
        self.model, self.device, self.tower = model, model.device, tower
        self.dtype = computing_dtype(model)
        self.kinds = kinds_of(text)
        layers = text.num_hidden_layers if self.kinds is None else self.kinds.key_layers
        channels = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        self.shape = (layers, text.num_key_value_heads, channels)
        self.context: int | None = getattr(text, "max_position_embeddings", None)
        self._parameters = model.num_parameters()

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values in all layers."""
        layers, heads, channels = self.shape
        return 2 * layers * heads * channels * self.dtype.itemsize

    @property
    def carried_keys(self) -> int:
        """Tokens whose keys take as much memory as what recurrent layers carry of one prefix or branch."""
        return 0 if self.kinds is None else -(-self.kinds.sequence_bytes(self.dtype) // self.token_bytes)

    def held(self, tokens: int) -> int:
        """Return the bytes that so many tokens of one prefix or branch hold."""
        return (tokens + self.carried_keys) * self.token_bytes

    def reserve(self, slots: Slots, count: int, longest: int) -> torch.Tensor:
        """Return the states of ``slots``, with room for ``count`` of ``longest`` own keys."""
        return slots.reserve(count, longest, self.shape, self.dtype, self.kinds)

    def _carried(self, count: int) -> Carried | None:
        return None if self.kinds is None else self.kinds.new(count, self.dtype, self.device)

    def prefill(self, prepared: Prepared, pixels: np.ndarray, special: SpecialTokens, mark: Hashable = None) -> Prefill:
        """Return the prefix of a question, nothing of it computed yet.

        ``pixels`` are the patches of all images, or none where the tower knows them; ``mark`` is that of the weights.
        """
        ids_P, grids, rule = prepared.prefix_P, prepared.grids, prepared.rule
        positions_RP = rule.positions(ids_P, grids, special.image_pad)
        ends = special.image_ends(ids_P, grids, rule)
        layers, heads, channels = self.shape
        sizes = (layers, 2, heads, len(prepared.prefix_P), channels)
        states = torch.empty(sizes, dtype=self.dtype, device=self.device)
        return Prefill(prepared, pixels, mark, positions_RP, ends, states, self._carried(1))

    @torch.inference_mode()
    def go_on(self, prefill: Prefill, end: int, shown: int) -> None:
        """Run the tokens of a prefix up to ``end``, and the images up to number ``shown``, through the model."""
        here, images = slice(prefill.done, end), slice(prefill.shown, shown)
        prepared, ids = prefill.prepared, {"input_ids": self._row(prefill.prepared.prefix_P[here])}
        contents = tuple(map(Content, prepared.key[0][images]))
        seen = Images(prepared.grids[images], prepared.images[images], contents)
        sizes = np.cumsum([0, *map(prepared.rule.patches, prepared.grids)])
        pixels = torch.from_numpy(prefill.pixels[sizes[prefill.shown] : sizes[shown]])
        with suppress(PrefixDone), threads_for(end - prefill.done, self._parameters, self.device):
            self.model(
                **(ids | self.tower.inputs(seen, pixels, ids["input_ids"], prefill.mark)),
                position_ids=position_ids(prefill.positions_RP[:, here]).to(self.device),
                layout=PrefixFill(prefill.states, prefill.done, prefill.carried),
                use_cache=False,
                logits_to_keep=1,
            )
            raise AssertionError("the attention of the language part does not know kept keys")
        prefill.done, prefill.shown = end, shown

    @torch.inference_mode()
    def fill(self, slots: Slots, branches: Sequence[np.ndarray], prefix: Prefix) -> torch.Tensor:
        """Run questions behind their prefix into the next slots and return fp32 scores ``[K, V]`` of what follows.

        What many of them begin with is run once.
        """
        lengths, first = [len(ids) for ids in branches], slots.count
        end = first + len(lengths)
        states = self.reserve(slots, end, max([*lengths, *slots.known_lengths]))
        if slots.carried is not None:
            slots.carried.fork(slice(first, end), prefix.carried)
        stems, starts, scene = stems_of(branches), [0] * len(lengths), [] if prefix.states is None else [prefix.states]
        shared: list[tuple[torch.Tensor, tuple[int, ...]]] = []
        if stems:
            words = [branches[stem.members[0]][: stem.length] for stem in stems]
            longest, (layers, heads, channels) = max(map(len, words)), self.shape
            known = states.new_zeros((layers, 2, len(stems), heads, longest, channels))
            carried = self._carried(len(stems))
            if carried is not None:
                carried.fork(slice(0, len(stems)), prefix.carried)
            level = [(one, None) for one in scene]
            with suppress(PrefixDone):
                self._run(words, known, carried, 0, [0] * len(stems), [level], prefix, predict=False)
            for number, stem in enumerate(stems):
                keys = known[:, :, number, :, : stem.length]
                shared.append((keys, stem.members))
                members = torch.tensor(stem.members, device=self.device) + first
                states[:, :, members, :, : stem.length] = keys.unsqueeze(2)
                if slots.carried is not None:
                    slots.carried.fork(members, carried, number)
                for member in stem.members:
                    starts[member] = stem.length
        rests = [ids[start:] for ids, start in zip(branches, starts, strict=True)]
        levels: list[Levels] = [[(one, None) for one in scene], shared]
        logits = self._run(rests, states, slots.carried, first, starts, levels, prefix)
        slots.add(lengths, [prefix.next_position + length for length in lengths])
        return logits

    def _run(
        self,
        rows: Sequence[np.ndarray],
        states: torch.Tensor,
        carried: Carried | None,
        first: int,
        starts: Sequence[int],
        levels: Sequence[Levels],
        prefix: Prefix,
        predict: bool = True,
    ) -> torch.Tensor:
        """Run tokens of several branches in one row; return fp32 scores after each branch."""
        lengths = [len(ids) for ids in rows]
        positions = [np.arange(length) + start for length, start in zip(lengths, starts, strict=True)]
        logits = self.model(
            input_ids=self._row(np.concatenate(rows)),
            position_ids=self._places(self._row(np.concatenate(positions) + prefix.next_position)),
            layout=BranchFill.build(states, first, starts, lengths, levels, predict, carried),
            use_cache=False,
            logits_to_keep=torch.from_numpy(np.cumsum(lengths) - 1).to(self.device),
        ).logits
        return logits[0].float()

    @torch.inference_mode()
    def step(self, slots: Slots, prefixes: Prefixes, rows: int, room: int) -> torch.Tensor:
        """Run the next token of the first ``rows`` slots, of at most ``room`` own keys; return fp32 scores."""
        assert slots.states is not None and room <= slots.states.shape[4]
        logits = self.model(
            input_ids=slots.ids[None, :rows],
            position_ids=self._places(slots.positions[None, :rows]),
            layout=BranchStep.build(slots.states, slots.lengths[:rows], room, prefixes, slots.carried),
            use_cache=False,
        ).logits
        return logits[0].float()

    def _places(self, positions: torch.Tensor) -> torch.Tensor:
        """Return positions ``[1, R]`` of text as the model takes them."""
        rows = self.tower.rule.position_rows
        return positions if rows == 1 else positions.expand(rows, 1, -1)

    def _row(self, ids: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(ids, dtype=np.int64)).to(self.device)[None]


def computing_dtype(model: PreTrainedModel) -> torch.dtype:
    """Return what keys are computed in: that of autocast where it is on (a model in training), else the weights'."""
    device = model.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else model.dtype


def prefixes_of(used: Sequence[Prefix], device: torch.device) -> Prefixes:
    """Return the prefixes that the branches in the first slots read, with the rows of each."""
    rows: dict[int, list[int]] = {}
    for row, prefix in enumerate(used):
        if prefix.states is not None:
            rows.setdefault(id(prefix), []).append(row)
    by_id = {id(prefix): prefix.states for prefix in used}
    if len(rows) == 1 and len(next(iter(rows.values()))) == len(used):
        rows = {next(iter(rows)): []}
    return [
        (states, torch.tensor(found, device=device) if found else None)
        for one, found in rows.items()
        if (states := by_id[one]) is not None
    ]
