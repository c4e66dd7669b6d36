"""What fails on one process ends all, once. Two processes on gloo."""

import socket

import pytest
import torch.multiprocessing

from gpt4scene.training.processes import OtherProcessFailed, on_all, on_first


def test_one_process_needs_no_talk():
    assert on_all(lambda: 3) == 3 and on_first(lambda: 4) == 4
    with pytest.raises(ValueError, match="mine"):
        on_all(lambda: int("mine"))


def worker(rank, port, results):
    torch.distributed.init_process_group("gloo", f"tcp://localhost:{port}", rank=rank, world_size=2)
    found = [on_all(lambda: rank), on_first(lambda: f"from {rank}")]
    for failing in ({1}, {0, 1}):
        try:
            on_all(lambda failing=failing: 1 // (rank not in failing))
        except ZeroDivisionError:
            found.append("own error")
        except OtherProcessFailed as error:
            found.append(f"quiet {error.code}")
    try:
        on_first(lambda: 1 // 0)
    except (ZeroDivisionError, OtherProcessFailed) as error:
        found.append(type(error).__name__)
    results[rank] = found
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_errors_travel():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    with torch.multiprocessing.Manager() as manager:
        results = manager.dict()
        torch.multiprocessing.spawn(worker, (port, results), nprocs=2)
        assert results[0] == [0, "from 0", "quiet 1", "own error", "ZeroDivisionError"]
        assert results[1] == [1, "from 0", "own error", "quiet 1", "OtherProcessFailed"]
