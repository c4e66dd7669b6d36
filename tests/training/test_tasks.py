"""Losses by task: means over the rows of each, weighed as in the loss."""

from types import SimpleNamespace

import pytest
import torch

from gpt4scene.training import tasks
from gpt4scene.training.objective import RowLosses
from gpt4scene.training.tasks import TaskLosses, spelled, spellings, task_names
from gpt4scene.types import Origin

CPU = torch.device("cpu")


def origin(dataset, task=None):
    return Origin(dataset, "rows.json", 0, task)


def rows(losses, counts, origins):
    counts = torch.tensor(counts)
    return RowLosses(torch.tensor(losses, requires_grad=True), counts, (counts > 0).float(), tuple(origins))


def test_means_are_weighed_as_the_loss_is():
    found = TaskLosses(["qa", "captions"], CPU)
    found.add(rows([1.0, 2.0, 9.0], [1.0, 3.0, 0.0], [origin("a", "qa"), origin("a", "qa"), None]))
    found.add(rows([5.0], [2.0], [origin("captions")]))
    assert found.names == ("loss_captions", "loss_qa")
    assert found.take(lambda sums: sums) == {"loss_captions": 5.0, "loss_qa": 1.75}
    assert found.take(lambda sums: sums) == {}, "begun anew: no row, no figure"


def test_sums_of_all_processes_are_used():
    found = TaskLosses(["a", "b"], CPU)
    found.add(rows([1.0], [1.0], [origin("a")]))
    others = torch.tensor([[3.0, 1.0], [8.0, 2.0]])
    assert found.take(lambda sums: sums + others) == {"loss_a": 2.0, "loss_b": 4.0}


def test_one_task_is_the_loss_itself():
    found = TaskLosses(["a"], CPU)
    found.add(rows([1.0], [1.0], [origin("a")]))
    assert found.names == () and found.take(pytest.fail) == {}


def test_names_are_tasks_or_datasets(monkeypatch):
    dataset = SimpleNamespace(rows=[SimpleNamespace(origin=origin("mix", f"task {n % 3}")) for n in range(9)])
    other = SimpleNamespace(rows=[SimpleNamespace(origin=origin("plain"))])
    assert task_names(dataset, other, None) == ["plain", "task 0", "task 1", "task 2"]
    monkeypatch.setattr(tasks, "MOST_TASKS", 3)
    assert task_names(dataset, other) == ["mix", "plain"], "too many to tell apart"
    found = TaskLosses(["mix", "plain"], CPU)
    found.add(rows([1.0], [1.0], [origin("mix", "task 7")]))
    assert found.take(lambda sums: sums) == {"loss_mix": 1.0}
    assert found.names_in(dataset) == ("loss_mix",), "held-out rows have a figure for what is among them alone"
    assert TaskLosses(["task 1", "plain"], CPU).names_in(other) == ("loss_plain",)
    assert spelled("3D QA/val") == "3D_QA_val"


@pytest.mark.slow
def test_no_task_is_lost_where_two_are_spelled_alike():
    assert spellings(["a b", "a/b", "a_b", "c"]) == {"a b": "a_b", "a/b": "a_b.2", "a_b": "a_b.3", "c": "c"}
    found = TaskLosses(["a b", "a/b"], CPU)
    found.add(rows([1.0, 3.0], [1.0, 1.0], [origin("a b"), origin("a/b")]))
    assert found.take(lambda sums: sums) == {"loss_a_b": 1.0, "loss_a_b.2": 3.0}
