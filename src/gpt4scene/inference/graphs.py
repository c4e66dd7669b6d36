"""Decoding steps recorded once and replayed: one launch a step instead of over a thousand.

A recorded step reads and writes the same memory each time, so it is known by its sizes and addresses. Sizes are
rounded up to few values; rows beyond those in use compute as well, and nobody looks at them.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from gpt4scene import talk
from gpt4scene.inference.slots import ROOM, Slots
from gpt4scene.model.kept_attention import Prefixes

Step = Callable[[Slots, Prefixes, int, int], torch.Tensor]
"""A decoding step: slots, prefixes, rows and own keys; returns the scores of the rows."""
Record = Callable[[Callable[[], torch.Tensor]], Callable[[], torch.Tensor]]
"""Takes a function without arguments; returns one that does the same work again on the same memory."""

_TIMES = 3
"""A step is recorded when its sizes are met so often: recording costs about as much as that many steps."""
_MOST = 64

_Key = tuple[object, ...]


@dataclass(eq=False)
class _Recorded:
    """A recorded step, and the rows of prefixes that it reads."""

    replay: Callable[[], torch.Tensor]
    rows: list[torch.Tensor]


def on_cuda(device: torch.device) -> Record:
    """Return what records CUDA graphs, all in one pool of memory: a result holds until the next replay.

    PyTorch refuses a pool whose graphs are all gone, so that the next one gets another. Work on another device than
    that of the stream is not recorded, without a word, so the stream is one of ``device``, the model's.
    """
    alive: weakref.WeakSet[torch.cuda.CUDAGraph] = weakref.WeakSet()
    pool = stream = None

    def record(work: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        nonlocal pool, stream
        if not alive:
            pool = torch.cuda.graph_pool_handle()
        graph, stream = torch.cuda.CUDAGraph(), stream or torch.cuda.Stream(device)
        with torch.cuda.device(device), torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):
            out = work()
        alive.add(graph)

        def replay() -> torch.Tensor:
            graph.replay()
            return out

        return replay

    return record


def padded_rows(rows: int, capacity: int) -> int:
    """Return the number of rows that ``rows`` are rounded up to: a power of two, or all slots there are."""
    return min(1 << (rows - 1).bit_length(), capacity)


def padded_prefixes(prefixes: Prefixes) -> Prefixes:
    """Return prefixes whose rows are rounded up to powers of two by the last row again, which changes nothing."""
    found = []
    for states, rows in prefixes:
        if rows is not None:
            missing = padded_rows(len(rows), 2 * len(rows)) - len(rows)
            rows = torch.cat([rows, rows[-1:].expand(missing)])
        found.append((states, rows))
    return found


@dataclass(eq=False)
class StepGraphs:
    """Runs steps on padded sizes, and replays those whose sizes and addresses came before.

    Recorded steps leave their scores in one place, as large as the largest: else each would hold 80 MB of its own.
    Where a step can't be recorded, that is said once and all steps run unrecorded.
    """

    step: Step
    record: Record | None
    _met: OrderedDict[_Key, int] = field(default_factory=OrderedDict)
    _recorded: OrderedDict[_Key, _Recorded] = field(default_factory=OrderedDict)
    _scores: torch.Tensor | None = None

    def __call__(self, slots: Slots, prefixes: Prefixes, room: int) -> torch.Tensor:
        """Return the scores of the slots in use; ``prefixes`` are padded, no branch has over ``room`` own keys."""
        assert slots.states is not None
        rows, room = padded_rows(slots.count, slots.capacity), -(-room // ROOM) * ROOM
        sizes = [(states.data_ptr(), states.shape, 0 if one is None else len(one)) for states, one in prefixes]
        places = (slots.states.data_ptr(), slots.states.shape, slots.ids.data_ptr(), slots.lengths.data_ptr())
        if slots.carried is not None:
            places += slots.carried.places
        key = (rows, room, *places, slots.positions.data_ptr(), *sizes)
        given = [one for _, one in prefixes if one is not None]
        known = self._recorded.get(key)
        if known is None and self.record is not None and self._is_worth(key):
            known = self._try(key, slots, prefixes, rows, room)
        if known is None:
            return self._plain(slots, prefixes, rows, room)[: slots.count]
        self._recorded.move_to_end(key)
        for kept, now in zip(known.rows, given, strict=True):
            kept.copy_(now)
        return known.replay()[: slots.count]

    def _plain(self, slots: Slots, prefixes: Prefixes, rows: int, room: int) -> torch.Tensor:
        """Run a step unrecorded; see to it that there is a place for the scores of recorded ones."""
        scores_RV = self.step(slots, prefixes, rows, room)
        if self.record is not None and (self._scores is None or len(self._scores) < rows):
            self._scores = torch.empty(scores_RV.shape, dtype=scores_RV.dtype, device=scores_RV.device)
        return scores_RV

    def _is_worth(self, key: _Key) -> bool:
        """Count how often sizes were met; whether it is time to record them."""
        self._met[key] = self._met.pop(key, 0) + 1
        while len(self._met) > 4 * _MOST:
            self._met.popitem(last=False)
        return self._met[key] >= _TIMES

    def _try(self, key: _Key, slots: Slots, prefixes: Prefixes, rows: int, room: int) -> _Recorded | None:
        """Record a step; None, and no more tries, where that fails."""
        assert self.record is not None
        place = self._scores
        if place is None or len(place) < rows:
            return None  # the plain step that runs instead makes it
        kept = [(states, None if one is None else one.clone()) for states, one in prefixes]
        try:
            replay = self.record(lambda: place[:rows].copy_(self.step(slots, kept, rows, room)))
        except RuntimeError as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            talk.note(f"decoding goes on without CUDA graphs ({said})")
            self.record = None
            self.clear()
            return None
        self._recorded[key] = _Recorded(replay, [one for _, one in kept if one is not None])
        while len(self._recorded) > _MOST:
            self._recorded.popitem(last=False)
        return self._recorded[key]

    def clear(self) -> bool:
        """Forget what was recorded, since memory or weights lie elsewhere now; return whether there was anything."""
        recorded = bool(self._recorded)
        self._met.clear()
        self._recorded.clear()
        self._scores = None
        return recorded
