"""Ctrl-C and SIGTERM: finish the step, save a checkpoint, stop. On several processes, all of them together."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

import torch
from transformers import TrainerCallback

from gpt4scene.signals import Requests


class StopOnSignal(TrainerCallback):
    """Turns the first SIGINT or SIGTERM into a checkpoint and an end of training; a second one kills.

    Use it as a context manager around ``Trainer.train``; afterwards ``received`` is the signal that all processes
    stopped for, or 0. What a launcher passes on is no second signal, also while the run writes its last words.
    Every process learns in each step whether any other got one, so that all save the same step: ``agree`` tells what
    they found, at a time when they talk anyway; else they ask each other when the step is over.
    """

    def __init__(self) -> None:
        self.received = 0
        self._agreed: int | None = None
        self._noted = 0  # apart, since a signal may come while the processes are being asked
        self._requests = Requests()
        self._before: dict[signal.Signals, Any] = {}  # what signal.signal takes back: a handler, or its kind

    @property
    def noted(self) -> int:
        """The signal that this process got, or 0."""
        return self._noted

    def agree(self, number: int) -> None:
        """Take ``number`` for the highest signal that any process got before the end of this step."""
        self._agreed = number

    def __enter__(self) -> StopOnSignal:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._requests.before(self._note))
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, self._requests.before(handler) if self._noted and callable(handler) else handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self._noted:
            os._exit(128 + number)
        self._noted = number
        # A handler must not use the buffered stream: it may interrupt a write to it.
        os.write(2, b"\nstopping after this step, then saving; a second signal stops at once\n")

    def on_step_end(self, args, state, control, **_: object):
        """When any process got a signal, log, save and stop. What comes after they agreed is for the next step."""
        agreed, self._agreed = self._agreed, None
        alone = not (torch.distributed.is_available() and torch.distributed.is_initialized())
        if agreed is None or alone or state.global_step >= state.max_steps:
            agreed = highest_of_all(self._noted, args.device)
        self.received = agreed
        if self.received:
            control.should_log = control.should_save = control.should_training_stop = True
        return control


def highest_of_all(number: int, device: torch.device) -> int:
    """Return the highest ``number`` that any process gave; all must call."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return number
    highest = torch.tensor(number, device=device)
    torch.distributed.all_reduce(highest, op=torch.distributed.ReduceOp.MAX)
    return int(highest.item())
