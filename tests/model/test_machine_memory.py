"""The memory of this machine, as its kernel and its container say it."""

import sys

import pytest
import torch

from gpt4scene.model.machine_memory import free_memory, held_memory
from gpt4scene.training.fitting import free_bytes


def test_memory_is_that_of_the_container(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert free_memory(tmp_path) == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(tmp_path) > 600 and free_memory(tmp_path / "none") > 600


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells pages of a process from shared ones")
def test_what_this_process_holds_grows_with_what_it_writes():
    before = held_memory()
    written = torch.ones(64 << 20, dtype=torch.uint8)
    assert held_memory() - before > len(written) // 2


def test_processes_of_a_machine_share_its_memory(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    four = free_bytes(cpu)
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    one = free_bytes(cpu)
    assert 0 < four < one
    assert free_bytes(torch.device("meta")) is None
