"""Which frames of a recording are shown to the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.types import Frame, Scan


def tracked_frames(scan: Scan) -> list[Frame]:
    """The frames whose pose is known, in order; DataError when there is none."""
    frames = [frame for frame in scan.frames if frame.camera.tracked]
    if not frames:
        raise DataError(f"{scan.source}: none of the {len(scan.frames)} frames has a pose")
    return frames


def evenly(count: int, wanted: int) -> list[int]:
    """Indices ``floor((i - 1) * count / wanted)`` for i = 1 ... wanted, as published; all of them when fewer exist."""
    if wanted >= count:
        return list(range(count))
    return [i * count // wanted for i in range(wanted)]


def covering(areas_FN: np.ndarray, wanted: int) -> list[int]:
    """Indices of ``wanted`` frames, in recording order, that together show every object as well as can be.

    ``areas_FN[f, n]`` is the share of frame f that object n covers, 0 where it is not shown. Greedy: first the frames
    that bring most objects not shown yet (the larger area decides between equals), then those that add most to the
    best view of each object. Ends of ties go to the earlier frame.
    """
    count = len(areas_FN)
    if wanted >= count:
        return list(range(count))
    chosen: list[int] = []
    best_N = np.zeros(areas_FN.shape[1])
    free = np.ones(count, dtype=bool)
    while len(chosen) < wanted:
        gains = np.maximum(areas_FN - best_N, 0)
        fresh = ((areas_FN > 0) & (best_N == 0)).sum(axis=1)
        # A new object outweighs any gain in area, because areas of one frame sum to at most the image.
        score = np.where(free, fresh * (1.0 + areas_FN.shape[1]) + gains.sum(axis=1), -1.0)
        if score.max() <= 0:
            break
        index = int(np.argmax(score))
        chosen.append(index)
        free[index] = False
        best_N = np.maximum(best_N, areas_FN[index])
    return _filled(chosen, count, wanted)


def _filled(chosen: Sequence[int], count: int, wanted: int) -> list[int]:
    """Sorted indices, filled up one by one with the frame farthest in time from those chosen."""
    picked = sorted(chosen)
    while len(picked) < wanted:
        distance = np.full(count, count, dtype=np.int64)
        if picked:
            distance = np.abs(np.arange(count)[:, None] - np.array(picked)[None]).min(axis=1)
        picked = sorted([*picked, int(np.argmax(distance))])
    return picked
