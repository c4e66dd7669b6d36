"""What fails on one process ends all, once. Two processes on gloo."""

import re
import socket
from pathlib import Path

import pytest
import torch.multiprocessing

from gpt4scene.errors import ConfigError, DataError, Stopped
from gpt4scene.training import processes
from gpt4scene.training.processes import OtherProcessFailed, alike, on_all, on_first


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


def failing(error):
    raise error


@pytest.mark.parametrize("error", [ConfigError("wrong call"), DataError("wrong file")], ids=["call", "file"])
@pytest.mark.parametrize("rank", ["0", "1", None])
@pytest.mark.parametrize("ended", [True, False])
def test_before_they_can_talk_the_first_of_a_node_says_it(monkeypatch, error, rank, ended):
    waits = []
    monkeypatch.setattr(
        processes.time, "sleep", lambda seconds: waits.append(seconds) or ended and failing(Stopped(""))
    )
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
        monkeypatch.setenv("RANK", str(8 + int(rank)))
    assert alike(lambda: 3) == 3
    quiet = rank == "1" and ended
    with pytest.raises(OtherProcessFailed if quiet else type(error)) as caught:
        alike(lambda: failing(error))
    assert waits == ([processes.GRACE_S] if rank == "1" else [])
    if quiet:
        assert caught.value.code == (2 if isinstance(error, ConfigError) else 1)


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
