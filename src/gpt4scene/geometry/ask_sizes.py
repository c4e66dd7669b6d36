"""Questions for sizes: the longest side of an object in centimetres, the floor area of a room in square metres."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gpt4scene.geometry.asking import Asking
from gpt4scene.geometry.question import Made
from gpt4scene.geometry.room import plain

SEVERAL = "several objects of the kind"
SIZELESS = "a kind whose size is known or not fixed"
GUESSABLE = "thinned: a usual size of its kind"
NO_SIZE = "a size that rounds to 0"
NO_AREA = "no outline or area of the floor"


@dataclass(frozen=True)
class LongestSide:
    """The longest side of the only object of its kind, in whole centimetres.

    ``usual`` gives, by kind, two limits in centimetres and the share kept of sizes between them.
    """

    left_out: frozenset[str] = frozenset()
    usual: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)

    def reason(self, label: str, centimetres: float, chance: float) -> str | None:
        """Return why an object is not asked about, or None; ``chance`` is a drawn number from 0 to 1."""
        if plain(label) in self.left_out:
            return SIZELESS
        if f"{centimetres:.0f}" == "0":
            return NO_SIZE
        low, high, keep = self.usual.get(plain(label), (0.0, 0.0, 1.0))
        return GUESSABLE if low < centimetres < high and chance > keep else None

    def made(self, asking: Asking) -> Made:
        """Return the questions, and what was dropped by reason."""
        reasons = Counter({SEVERAL: len(asking.labels) - len(asking.singles)})
        kept = []
        for label, place in asking.singles.items():
            centimetres = asking.room.objects[place].longest_side * 100
            reason = self.reason(label, centimetres, asking.generator.random())
            if reason is None:
                kept.append((label, place, f"{centimetres:.0f}"))
            else:
                reasons[reason] += 1
        questions = [
            asking.question("size", truth, (place,), label=label) for label, place, truth in asking.drawn(kept, reasons)
        ]
        return asking.made(questions, reasons)


@dataclass(frozen=True)
class FloorArea:
    """The floor area with one decimal. ``rooms`` asks only about areas of ``one`` room, or of ``several``."""

    rooms: Literal["any", "one", "several"] = "any"

    def made(self, asking: Asking) -> Made:
        """Return the question, or why there is none."""
        room = asking.room
        if self.rooms not in ("any", "several" if room.several_rooms else "one"):
            return asking.made([], {})
        if room.area is None:
            return asking.made([], {NO_AREA: 1})
        truth = f"{room.area:.1f}"
        if float(truth) == 0:
            return asking.made([], {NO_SIZE: 1})
        reasons: Counter[str] = Counter()
        wording = "area_main" if self.rooms == "one" else "area"
        return asking.made([asking.question(wording, truth, ()) for _ in asking.drawn([truth], reasons)], reasons)
