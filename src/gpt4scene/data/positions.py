"""Positions of tokens in plain numpy: Qwen's three rows, equal to Hugging Face's ``get_rope_index``, or one number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gpt4scene.types import Grid, Pack

if TYPE_CHECKING:
    from gpt4scene.data.image_rule import ImageRule


def grid_positions(
    ids_L: np.ndarray, grids: Sequence[Grid], image_token_id: int, merge_size: int, start: int = 0
) -> np.ndarray:
    """Return int64 positions ``[3, L]`` (time, row, column) of one row of tokens that begins at ``start``.

    Text counts up on all three rows. The tokens of an image lie on its merged grid, offset by the position reached;
    the text after it goes on at that position + the grid's longest side, that of time included (Qwen2-VL's paper,
    section 2.1). A video's frames are its grid's step apart. Raises ValueError when image tokens and grids disagree.
    """
    length = len(ids_L)
    grids = [piece for grid in grids for piece in _pieces(grid)]
    positions_3L = np.empty((3, length), dtype=np.int64)
    pads = np.flatnonzero(ids_L == image_token_id)
    counts = [time * rows * columns // merge_size**2 for time, rows, columns, _ in grids]
    if len(pads) != sum(counts):
        raise ValueError(f"{len(pads)} image tokens, but the grids of {len(grids)} images make {sum(counts)}")
    done, used, position = 0, 0, start
    for (time, rows, columns, step), count in zip(grids, counts, strict=True):
        first = int(pads[used])
        if pads[used + count - 1] != first + count - 1:
            raise ValueError(f"the {count} tokens of an image are not in one piece")
        positions_3L[:, done:first] = np.arange(position, position + first - done)
        position += first - done
        rows, columns = rows // merge_size, columns // merge_size
        places = np.indices((time, rows, columns)).reshape(3, -1)
        if time > 1:
            places[0] = (places[0].astype(np.float32) * np.float32(step)).astype(np.int64)
        positions_3L[:, first : first + count] = places + position
        position += int(places.max()) + 1
        done, used = first + count, used + count
    positions_3L[:, done:] = np.arange(position, position + length - done)
    return positions_3L


def _pieces(grid: Grid) -> list[tuple[int, int, int, float]]:
    """Return the grids of a video's frames where each stands on its own, else the grid alone, with its step."""
    time, rows, columns = grid[:3]
    step = grid[3] if len(grid) > 3 else 1.0
    return [(1, rows, columns, 1.0)] * time if step == 0 else [(time, rows, columns, step)]


def plain_positions(ids_L: np.ndarray, images: Sequence[int], image_token_id: int, start: int = 0) -> np.ndarray:
    """Return int64 positions ``[1, L]`` that count up from ``start``, whatever a token is.

    ``images`` are the tokens of each image. Raises ValueError when there are not as many image tokens.
    """
    found = int(np.count_nonzero(ids_L == image_token_id))
    if found != sum(images):
        raise ValueError(f"{found} image tokens, but the grids of {len(images)} images make {sum(images)}")
    return np.arange(start, start + len(ids_L), dtype=np.int64)[None]


def pack_positions(pack: Pack, image_token_id: int, rule: ImageRule) -> np.ndarray:
    """Return int64 positions ``[R, L]`` of prefix and branches, R for each token as the ``rule`` has it.

    Every branch begins at the prefix's maximum + 1, and one that does not see the prefix at 0. Grids are used up in
    the order of the row, so images may also stand in branches. Raises ValueError when image tokens and grids disagree.
    """
    left = list(pack.grids)

    def take(ids: np.ndarray) -> list[Grid]:
        wanted, taken = int(np.count_nonzero(ids == image_token_id)), []
        while left and wanted > 0:
            wanted -= rule.tokens(left[0])
            taken.append(left.pop(0))
        return taken

    prefix_RP = rule.positions(pack.prefix_P, take(pack.prefix_P), image_token_id)
    start = int(prefix_RP.max()) + 1 if prefix_RP.size else 0
    parts = [prefix_RP]
    for number, branch in enumerate(pack.branches):
        begin = start if number < len(pack.branches) - pack.apart else 0
        parts.append(rule.positions(branch.ids_L, take(branch.ids_L), image_token_id, begin))
    if left:
        raise ValueError(f"{len(left)} of {len(pack.grids)} image grids have no tokens")
    return np.concatenate(parts, axis=1)
