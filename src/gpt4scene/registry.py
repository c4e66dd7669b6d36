"""Names of things a user can choose: templates, model families, benchmarks, scan readers."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

Value = TypeVar("Value")


def nearest(name: str, known: list[str], cutoff: float = 0.6) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known name, or an empty string when nothing is close.

    ``cutoff`` is the least likeness, 0 to 1; where many names are known, a high one keeps far-fetched hints away.
    Hyphens before the names of flags make no likeness.
    """
    bare = {each.lstrip("-"): each for each in known}
    close = difflib.get_close_matches(name.lstrip("-"), list(bare), n=1, cutoff=cutoff)
    return f"; did you mean '{bare[close[0]]}'?" if close else ""


class Registry(Mapping[str, Value], Generic[Value]):
    """A read-only mapping from name to value, filled by explicit ``add`` calls.

    A name can be added once. A miss raises ``ValueError`` with the nearest name and all known ones.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._values: dict[str, Value] = {}

    def add(self, name: str, value: Value) -> Value:
        """Store ``value`` under ``name`` and return it."""
        if name in self._values:
            raise ValueError(f"{self.kind} '{name}' is registered twice")
        self._values[name] = value
        return value

    def __getitem__(self, name: str) -> Value:
        try:
            return self._values[name]
        except KeyError:
            known = sorted(self._values)
            raise ValueError(
                f"{self.kind} '{name}' is not known{nearest(name, known)} (known: {', '.join(known)})"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
