import re

import numpy as np
import pytest

from gpt4scene.benchmarks.published import beside, print_beside, published_figures
from gpt4scene.benchmarks.reports import Report, RowScores
from gpt4scene.benchmarks.text import TEXT_METRICS
from gpt4scene.types import TASKS

NAMES = {
    "scanrefer": {"Acc@0.25", "Acc@0.50"},
    "multi3dref": {"all F1@0.25", "all F1@0.50"},
    "scan2cap": {f"{name}@{iou}" for name in TEXT_METRICS for iou in ("0.25", "0.50")},
    "scanqa": {"EM1", "EM1_refined", *TEXT_METRICS},
    "sqa3d": {"EM1", "EM1_refined", *TEXT_METRICS},
}


def report(scene="scene0011_00", task="scanrefer"):
    rows = RowScores((0,), (scene,), {}, {"Acc@0.25": np.array([1.0])})
    return Report(task, {"Acc@0.25": 1.0, "Acc@0.50": 0.5}, {"answers": 1}, (), rows)


def test_every_figure_names_its_paper_and_table_and_a_metric_of_ours():
    for entry in published_figures():
        assert entry.task in TASKS
        assert set(entry.figures) <= NAMES[entry.task]
        assert re.fullmatch(r"\d{4}\.\d{5}", entry.arxiv)
        assert re.fullmatch(r"Table \d+", entry.table)
        assert entry.split in ("val", "test")
        assert all(0 < value < 200 for value in entry.figures.values())


def test_only_the_same_split_and_only_scannet(capsys):
    assert {entry.split for entry in beside(report())} == {"val"}
    assert beside(report(), split="test") == []
    assert beside(report(scene="room00_00")) == []
    print_beside(report(scene="room00_00"))
    assert capsys.readouterr().out == ""


def test_table(capsys):
    print_beside(report())
    out = capsys.readouterr().out
    assert "100.00" in out
    assert "arXiv:2412.18450, Table 2" in out


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_figures_of_gpt4scene(task):
    assert any(entry.task == task and entry.model.startswith("GPT4Scene") for entry in published_figures())
