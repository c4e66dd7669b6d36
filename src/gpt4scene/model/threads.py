"""How many processor threads a model's work is worth: one for a tiny model, PyTorch's own choice for every other."""

from __future__ import annotations

import os

import torch

SMALL = 10**7
"""Parameters below which a model on a CPU works on one thread."""

CHOSEN_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables by which a user chooses the number of threads; then it stays as it is."""


def spare_threads(parameters: int, device: torch.device | str = "cpu") -> int:
    """Return the number of threads that PyTorch works with from now on.

    Threads share every single matrix and wait for the slowest of them. Matrices of a model of under ``SMALL``
    parameters take microseconds, so that a thread whose core is busy with another program holds up all others. One
    thread alone is hardly slower, and beside other work about twice as fast (``scripts/bench/threads.py``).
    """
    if torch.device(device).type == "cpu" and parameters < SMALL and not any(os.environ.get(key) for key in CHOSEN_BY):
        torch.set_num_threads(1)
    return torch.get_num_threads()
