"""What fails on one process ends all, once. Two processes on gloo."""

import re
import socket
from pathlib import Path

import pytest
import torch.multiprocessing

from gpt4scene.launched import OtherProcessFailed
from gpt4scene.training.processes import on_all, on_first


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


LEAST = "--model_name_or_path m --dataset d --finetuning_type full --output_dir"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "sentences"),
    [
        ("--lernin_rate 3 --cutof_len 4", ["'--lernin_rate' is not a key", "'--cutof_len' is not a key"]),
        ("--report_to neptune", ["report_to: neptune needs the package"]),
        ("--ddp_backend foo", ["ddp_backend: foo is not known"]),
        ('--lr_scheduler_kwargs {"cycles":1}', ["lr_scheduler_type: cosine with"]),
    ],
)
def test_two_processes_say_a_wrong_start_once(forked, tmp_path, root, flags, sentences):
    words = [str(root / "src" / "train.py"), *LEAST.split(), str(tmp_path / "out"), *flags.split()]
    done = forked.run(words, tmp_path)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if "error: " in line]
    assert len(lines) == len(sentences), lines
    assert all(sentence in line and line.startswith("error: ") for sentence, line in zip(sentences, lines, strict=True))
    ends = re.findall(r"exitcode  : (-?\d+)", done.stderr)  # one that is late to end may be ended by the launcher
    assert "2" in ends and set(ends) <= {"2", "-15"}
    assert not Path(tmp_path / "out").exists()
