"""What stands between the texts of a row: images, and videos, whose frames some families put behind a time each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gpt4scene.data.templates import Segment
from gpt4scene.types import Grid

LONGEST_TIME = len("<99999.9 seconds>")
"""Bytes of a time that is written before a frame, and so tokens, at most."""


def in_pieces(grid: Grid) -> bool:
    """Return whether the frames of a video stand in the text one by one."""
    return len(grid) > 3 and grid[3] == 0


def spelled(
    segments: Iterable[Segment], shown: Iterable[tuple[Grid, Sequence[str]]]
) -> Iterator[tuple[str | Grid, bool]]:
    """Yield texts and the grids between them, each with whether it is learned.

    ``shown`` are the images and videos of the segments: a grid, and the times before each of its frames, if any. A
    video with times is one grid for each. The first of them belongs to the text before it: tokens may span the two.
    """
    left, before, learned = iter(shown), "", False
    for segment in segments:
        if not segment.image:
            if before:
                yield before, learned
            before, learned = segment.text, segment.learned
            continue
        grid, times = next(left)
        for time in times or ("",):
            if before + time:
                yield before + time, learned
            yield ((1, grid[1], grid[2]) if times else grid), False
            before, learned = "", False
    if before:
        yield before, learned
