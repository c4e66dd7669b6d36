"""Processes that a launcher started, before they can talk: what all of them find wrong is said once. Needs no torch."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from gpt4scene.errors import ConfigError, Stopped

Result = TypeVar("Result")

GRACE_S = 30.0
"""Seconds that a process waits for the first one of its node to say what is wrong, and for the launcher to act."""


class OtherProcessFailed(SystemExit):
    """Ends this process quietly, with exit status 1 or ``status``: another one has said what is wrong."""

    def __init__(self, status: int = 1) -> None:
        super().__init__(status)


def alike(work: Callable[[], Result]) -> Result:
    """Return ``work()``, which every process does before they can talk, with the same outcome on all of a node.

    Where it fails, the first process of the node says so; a launcher then ends the others, which go quietly, with the
    same status. One that is not ended within ``GRACE_S`` has failed on its own, and says so after all.
    """
    try:
        return work()
    except Exception as error:
        if _can_talk() or os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0")) == "0":
            raise
        try:
            time.sleep(GRACE_S)
        except Stopped:
            raise OtherProcessFailed(status_of(error)) from None
        raise


def status_of(error: Exception) -> int:
    """Return the exit status that ``cli.py`` gives to an error."""
    return 2 if isinstance(error, ConfigError) else 1


def _can_talk() -> bool:
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    return distributed is not None and distributed.is_available() and distributed.is_initialized()
