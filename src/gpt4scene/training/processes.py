"""Several processes, one outcome: what fails on one of them stops all, and is said once."""

from __future__ import annotations

import atexit
import os
import socket
from collections.abc import Callable
from typing import TypeVar

import torch

from gpt4scene.launched import OtherProcessFailed, status_of
from gpt4scene.model.compat import end_without_finalizing

Result = TypeVar("Result")


def processes_here() -> int:
    """Return how many processes of the run are on this machine, as their launcher says; 1 without one."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def join_alone() -> None:
    """Make this process a world of its own, as ``torchrun --nproc_per_node 1`` would, where no launcher has started it.

    DeepSpeed and FSDP want a launcher's variables; without them DeepSpeed would look for MPI.
    """
    if "RANK" in os.environ or "WORLD_SIZE" in os.environ:
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(given)


def on_all(work: Callable[[], Result]) -> Result:
    """Return ``work()``, done by every process.

    Where it fails, the failing process raises its own error (the first of several), the others
    ``OtherProcessFailed`` with the same exit status: none waits for one that has gone. All must call. What happened on
    each is exchanged after the work, so no process may leave it by other means.
    """
    if not _is_distributed():
        return work()
    error: Exception | None = None
    result: Result | None = None
    try:
        result = work()
    except Exception as caught:  # noqa: BLE001 (raised again below)
        error = caught
    raise_first(error)
    return result  # type: ignore[return-value]


def raise_first(error: Exception | None) -> None:
    """Raise ``error`` on the first process that has one, ``OtherProcessFailed`` on the others; all must call.

    Where none has one, nothing happens.
    """
    statuses = gather_all(0 if error is None else status_of(error))
    first = next((rank for rank, status in enumerate(statuses) if status), None)
    if first is None:
        return
    if error is not None and (len(statuses) == 1 or first == torch.distributed.get_rank()):
        raise error
    raise OtherProcessFailed(statuses[first])


def on_first(work: Callable[[], Result]) -> Result:
    """Return the result of ``work()`` on the first process, to all processes. Fails as ``on_all`` does."""
    if not _is_distributed():
        return work()
    first = torch.distributed.get_rank() == 0
    parcel = [on_all(lambda: work() if first else None)]
    torch.distributed.broadcast_object_list(parcel, src=0)
    return parcel[0]  # type: ignore[return-value]


def gather_all(value: Result) -> list[Result]:
    """Return what every process gave, in their order; all must call."""
    if not _is_distributed():
        return [value]
    values: list[Result] = [value] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def leave_in_order() -> None:
    """Wait for all processes of a run that ends well, and close their connections when the interpreter ends.

    A process that goes while another still listens to it can take that one down with it.
    """
    if _is_distributed():
        torch.distributed.barrier()
        atexit.register(_disconnect)


def end_of_several(status: int) -> int:
    """Return ``status`` in a run of one process; one of several ends here with it."""
    if _is_distributed():
        end_without_finalizing(status)
    return status


def _disconnect() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _is_distributed() -> bool:
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
