"""Time stamps: which of a list belongs to a moment."""

from __future__ import annotations

import numpy as np


def nearest_stamp(times: np.ndarray, stamp: float, closest: float) -> int | None:
    """Index of the nearest of ``times``, float [N] in seconds; None where it is more than ``closest`` away."""
    if not len(times):
        return None
    index = int(np.argmin(np.abs(times - stamp)))
    return index if abs(times[index] - stamp) <= closest else None
