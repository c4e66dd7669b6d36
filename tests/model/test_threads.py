"""A tiny model works on one thread; a real one, and a user's own choice, are left alone."""

import os

import pytest
import torch

from gpt4scene.model.threads import CHOSEN_BY, LONG, SMALL, spare_threads, threads_for


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    before = torch.get_num_threads()
    for key in CHOSEN_BY:
        monkeypatch.delenv(key, raising=False)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_a_small_model_on_a_cpu_gets_one():
    assert spare_threads(SMALL - 1) == 1 == torch.get_num_threads()


@pytest.mark.parametrize(
    ("parameters", "device"), [(SMALL, "cpu"), (7 * 10**9, "cpu"), (10**5, "cuda"), (10**5, "mps")]
)
def test_others_keep_theirs(parameters, device):
    assert spare_threads(parameters, device) == 2 == torch.get_num_threads()


@pytest.mark.parametrize("key", CHOSEN_BY)
def test_a_choice_of_the_user_stays(monkeypatch, key):
    monkeypatch.setenv(key, "2")
    assert spare_threads(1) == 2


def test_a_small_model_gets_all_cores_for_a_long_prefix_and_one_again_behind_it(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2})
    spare_threads(SMALL - 1)
    with pytest.raises(KeyError), threads_for(LONG, SMALL - 1):
        assert torch.get_num_threads() == 3
        raise KeyError
    assert torch.get_num_threads() == 1
    with threads_for(LONG - 1, SMALL - 1):
        assert torch.get_num_threads() == 1


@pytest.mark.parametrize(("parameters", "device", "chosen"), [(SMALL, "cpu", ""), (1, "cuda", ""), (1, "cpu", "2")])
def test_a_long_prefix_changes_nothing_for_others(parameters, device, chosen, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2})
    monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    with threads_for(LONG, parameters, device):
        assert torch.get_num_threads() == 2
