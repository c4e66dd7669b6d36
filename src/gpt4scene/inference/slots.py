"""Where the keys of running branches lie: one slot each, with room to grow; the first n slots are always in use.

A branch that ends is replaced by the last one, so that a decoding step reads the first n slots as they lie.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gpt4scene.model.carried import Carried, LayerKinds

ROOM = 64
"""Own keys are made room for in steps of so many."""


class Slots:
    """Keys ``[layers, 2, slots, key heads, T, channels]`` of branches, and what the next step needs to know of each.

    ``ids``, ``positions`` and ``lengths`` (own keys so far) are int64 ``[slots]`` on the device; the host knows the
    lengths as well, so that nothing must be asked of the device. ``carried`` is what recurrent layers carry in each
    slot, of which one takes the memory of ``carried_keys`` keys. Slots in stock, beyond those asked for, are made only
    while all together hold at most ``most_keys``.
    """

    def __init__(self, limit: int, device: torch.device, most_keys: int = 2**62, carried_keys: int = 0) -> None:
        self.limit, self.device, self.count = limit, device, 0
        self.most_keys, self.carried_keys = most_keys, carried_keys
        self.states: torch.Tensor | None = None
        self.carried: Carried | None = None
        self.ids, self.positions, self.lengths = (torch.zeros(0, dtype=torch.int64, device=device) for _ in range(3))
        self.known_lengths: list[int] = []

    @property
    def capacity(self) -> int:
        """Slots that there is room for now."""
        return len(self.ids)

    def reserve(
        self,
        count: int,
        longest: int,
        shape: tuple[int, int, int],
        dtype: torch.dtype,
        kinds: LayerKinds | None = None,
    ) -> torch.Tensor:
        """Return the states, with room for ``count`` slots of ``longest`` own keys.

        ``shape`` is layers with keys, key heads and channels; ``kinds`` is given where others are recurrent. What is
        new is zero: hidden values are weighed by 0, and must not be infinite.
        """
        layers, heads, channels = shape
        slots, room = self.sizes(count, longest)
        if self.states is not None and (slots, room) == (self.capacity, self.states.shape[4]):
            return self.states
        states = torch.zeros((layers, 2, slots, heads, room, channels), dtype=dtype, device=self.device)
        if self.states is not None and self.count:
            used = max(self.known_lengths)
            states[:, :, : self.count, :, :used] = self.states[:, :, : self.count, :, :used]
        if kinds is not None and (self.carried is None or slots != self.capacity):
            new = kinds.new(slots, dtype, self.device)
            self.carried = new if self.carried is None else self.carried.grown(new, self.count)
        self.states = states
        self.ids, self.positions, self.lengths = (
            torch.cat([one[: self.count], one.new_zeros(slots - self.count)])
            for one in (self.ids, self.positions, self.lengths)
        )
        return states

    def sizes(self, count: int, longest: int) -> tuple[int, int]:
        """Return the slots and own keys of each that ``reserve`` would leave: what is there, if it is enough."""
        room = 0 if self.states is None else self.states.shape[4]
        if self.capacity >= count and room >= longest:
            return self.capacity, room
        room = -(-longest // ROOM) * ROOM
        stock = self.most_keys // (room + self.carried_keys)
        return max(count, min(self.limit, 2 ** (max(8, count) - 1).bit_length(), stock)), room

    def add(self, lengths: Sequence[int], next_positions: Sequence[int]) -> None:
        """Take the next slots into use for branches whose ``lengths`` own keys are in place.

        ``next_positions`` are those of the tokens that follow.
        """
        end = self.count + len(lengths)
        both = torch.tensor([list(lengths), list(next_positions)], device=self.device)
        self.lengths[self.count : end], self.positions[self.count : end] = both[0], both[1]
        self.known_lengths += lengths
        self.count = end

    def advance(self) -> None:
        """Note that every running branch has one more key."""
        self.lengths[: self.count] += 1
        self.positions[: self.count] += 1
        self.known_lengths = [length + 1 for length in self.known_lengths]

    def blank(self, slots: Sequence[int]) -> None:
        """Set the keys of some slots to 0: no others may meet what is no number, hidden or not."""
        if self.states is not None:
            for slot in slots:
                self.states[:, :, slot] = 0

    def keep(self, moves: Sequence[tuple[int, int]], count: int) -> None:
        """Move slots (to, from) and keep the first ``count``. The keys are moved one by one, without memory beside."""
        if moves:
            to, source = torch.tensor(moves, device=self.device).unbind(1)
            for one in (self.ids, self.positions, self.lengths):
                one[to] = one[source]
            assert self.states is not None
            for target, origin in moves:
                used = self.known_lengths[target] = self.known_lengths[origin]
                self.states[:, :, target, :, :used] = self.states[:, :, origin, :, :used]
                if self.carried is not None:
                    self.carried.move(target, origin)
        self.lengths[count : self.count] = 0  # a step may run empty slots as well, within the room there is
        del self.known_lengths[count:]
        self.count = count

    def release(self) -> None:
        """Let go of all branches and of the memory."""
        self.__init__(self.limit, self.device, self.most_keys, self.carried_keys)


def moves_of(count: int, gone: set[int]) -> tuple[list[tuple[int, int]], int]:
    """Return the moves (to, from) that leave the first slots in use when ``gone`` of ``count`` end; and how many."""
    left = count - len(gone)
    holes = [slot for slot in sorted(gone) if slot < left]
    return list(zip(holes, [slot for slot in range(left, count) if slot not in gone], strict=True)), left
