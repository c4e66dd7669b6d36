"""Training and validation rows: by scene, so that no image is on both sides, or by row on request."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SPLITS = ("scene", "row")


def scene_groups(images: Sequence[tuple[str, ...]]) -> list[int]:
    """Return a number for every row, equal where rows are linked by common images.

    Rows with 9 and with 33 images of a scene thus belong together. A row without images stands alone.
    """
    parent: dict[tuple[str, ...] | str, tuple[str, ...] | str] = {}

    def root(item: tuple[str, ...] | str) -> tuple[str, ...] | str:
        while parent.setdefault(item, item) != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for shown in dict.fromkeys(images):
        for path in shown:
            parent[root(path)] = root(shown)
    numbers: dict[object, int] = {}
    return [numbers.setdefault(root(shown) if shown else index, len(numbers)) for index, shown in enumerate(images)]


def split_rows(
    images: Sequence[tuple[str, ...]], val_size: float, *, seed: int = 0, by: str = "scene"
) -> tuple[list[int], list[int]]:
    """Return the indices of training and of validation rows, both in order.

    Args:
        images: the ``images`` of every row.
        val_size: share of the rows below 1, number of rows from 1 on; 0 for no validation rows. By scene, whole
            scenes are taken until that many rows are reached; one scene at least stays on each side.
        seed: of the draw.
        by: ``scene`` or ``row``.

    Raises ValueError when nothing would be left on one side.
    """
    if by not in SPLITS:
        raise ValueError(f"the split '{by}' is none of {', '.join(SPLITS)}")
    rows = len(images)
    if val_size == 0:
        return list(range(rows)), []
    wanted = round(val_size * rows) if val_size < 1 else int(val_size)
    wanted = max(1, wanted)
    groups = scene_groups(images) if by == "scene" else list(range(rows))
    members: dict[int, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    if val_size < 0 or wanted >= rows or len(members) < 2:
        kinds = f"{len(members)} scene{'s' * (len(members) != 1)}" if by == "scene" else f"{rows} rows"
        raise ValueError(
            f"val_size {val_size} leaves no training rows out of {rows} ({kinds}); lower it"
            + (", or split by row" if by == "scene" else "")
        )
    order = np.random.default_rng(seed).permutation(sorted(members))
    validation: list[int] = []
    for group in order[:-1]:
        if len(validation) >= wanted:
            break
        validation += members[group]
    chosen = set(validation)
    return [row for row in range(rows) if row not in chosen], sorted(chosen)
