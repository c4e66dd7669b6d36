"""Work spread over processes, so that one that dies takes nothing with it but the item it was at."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Item], Result], items: Sequence[Item], count: int, died: Callable[[Item, int], Result]
) -> Iterator[Result]:
    """What ``work`` makes of the items, in the order in which they are done, by at most ``count`` processes.

    An item whose process ends before its time is tried once more when all others are done, alone, because it may have
    been short of memory only beside them. If that process ends as well, ``died(item, exit code)`` stands in; a negative
    exit code is a signal's number. ``work`` must be importable and raise nothing. When the caller stops early (Ctrl-C),
    the processes finish what they are at and are given nothing else.
    """
    again = []
    for done in _done(work, items, count):
        if done.exit_code is None:
            yield done.result
        else:
            again.append(done.item)
    for item in again:
        for done in _done(work, [item], 1):
            yield done.result if done.exit_code is None else died(item, done.exit_code)


@dataclass(frozen=True)
class _Done:
    """What became of an item: a result, or the exit code of the process that had it."""

    item: Any
    result: Any = None
    exit_code: int | None = None


@dataclass
class _Worker(Generic[Item]):
    process: SpawnProcess
    pipe: Connection
    item: Item

    def give(self, item: Item) -> None:
        """Send the next item; if nobody is there to take it, that is noticed when its result is waited for."""
        self.item = item
        with suppress(OSError):
            self.pipe.send(item)

    def end(self) -> int:
        """Let the process finish what it is at; its exit code."""
        self.pipe.close()
        self.process.join()
        return self.process.exitcode or 0


def _done(work: Callable, items: Sequence, count: int) -> Iterator[_Done]:
    waiting, workers = list(reversed(items)), []
    try:
        while waiting or workers:
            while waiting and len(workers) < count:
                workers.append(_started(work, waiting.pop()))
            ready = wait([worker.pipe for worker in workers])
            for worker in [worker for worker in workers if worker.pipe in ready]:
                item = worker.item
                try:
                    done = _Done(item, worker.pipe.recv())
                except (EOFError, OSError):
                    workers.remove(worker)
                    yield _Done(item, exit_code=worker.end())
                    continue
                if waiting:
                    worker.give(waiting.pop())
                else:
                    workers.remove(worker)
                    worker.end()
                yield done
    finally:
        for worker in workers:
            worker.end()


def _started(work: Callable, item: object) -> _Worker:
    """A new process at work on ``item``. It never sees Ctrl-C: that is the caller's to answer."""
    context = get_context("spawn")
    resource_tracker.ensure_running()  # when it starts on its own it lifts the mask below
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(work, theirs), daemon=True)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited, from the first instruction on
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()
    worker = _Worker(process, ours, item)
    worker.give(item)
    return worker


def _serve(work: Callable, pipe: Connection) -> None:
    """Answer items with results until the other end is closed, or gone."""
    while True:
        try:
            item = pipe.recv()
        except (EOFError, OSError):
            return
        result = work(item)
        with suppress(OSError):
            pipe.send(result)
