"""How many processor threads a model's work is worth: one for a tiny model, PyTorch's own choice for every other.

A row of thousands of tokens is worth all cores, whatever the model.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 10**7
"""Parameters below which a model on a CPU works on one thread."""

LONG = 2048
"""Tokens of a row from which on the products of a small model take milliseconds rather than microseconds."""

CHOSEN_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables by which a user chooses the number of threads; then it stays as it is."""


def spare_threads(parameters: int, device: torch.device | str = "cpu") -> int:
    """Return the number of threads that PyTorch works with from now on.

    Threads share every single matrix and wait for the slowest of them. Matrices of a model of under ``SMALL``
    parameters take microseconds, so that a thread whose core is busy with another program holds up all others. One
    thread alone is hardly slower, and beside other work about twice as fast (``scripts/bench/threads.py``).
    """
    if _ours_to_choose(parameters, device):
        torch.set_num_threads(1)
    return torch.get_num_threads()


@contextmanager
def threads_for(tokens: int, parameters: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Work on all cores meanwhile where a model of one thread (``spare_threads``) runs ``LONG`` tokens or more at once.

    33 images are 8,400 tokens: two cores take little over half the time of one.
    """
    if tokens < LONG or not _ours_to_choose(parameters, device):
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _ours_to_choose(parameters: int, device: torch.device | str) -> bool:
    chosen = any(os.environ.get(key) for key in CHOSEN_BY)
    return torch.device(device).type == "cpu" and parameters < SMALL and not chosen
