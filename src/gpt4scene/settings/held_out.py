"""Which rows a run holds out: a share of its own (``val_size``), or those of other data sets (``eval_dataset``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

NEEDED = "val_size, the scenes to hold out, or eval_dataset"
"""What a key needs that has a meaning for held-out rows only."""


def holds_out(values: Mapping[str, Any]) -> bool:
    """Return whether the run has held-out rows; ``values`` holds what was set, by key."""
    return bool(values.get("val_size") or values.get("eval_dataset"))


def held_out_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for settings of held-out rows that cannot stand together."""
    share, named = values.get("val_size") or 0, values.get("eval_dataset") or []
    if share > 1 and share != int(share):
        yield f"val_size must be a share below 1 or a whole number of rows, not {share:g}"
    if share and named:
        yield "val_size and eval_dataset both say what is held out; leave one of them out"
    if named and values.get("tokenized_path"):
        yield "eval_dataset is not kept in tokenized_path, which holds one set of rows; leave one of them out"
    if twice := [name for name in dict.fromkeys(named) if named.count(name) > 1]:
        yield f"eval_dataset names '{twice[0]}' twice; name it once"
