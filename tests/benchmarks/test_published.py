import re

import numpy as np
import pytest
from five import FIVE

from gpt4scene.benchmarks.published import beside, print_beside, published_figures
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.metrics.scores import Report, RowScores
from gpt4scene.metrics.texts import TEXT_METRICS

NAMES = {
    "scanrefer": {"Acc@0.25", "Acc@0.50"},
    "multi3dref": {"all F1@0.25", "all F1@0.50"},
    "scan2cap": {f"{name}@{iou}" for name in TEXT_METRICS for iou in ("0.25", "0.50")},
    "scanqa": {"EM1", "EM1_refined", *TEXT_METRICS},
    "sqa3d": {"EM1", "EM1_refined", *TEXT_METRICS},
}


def report(scene="scene0011_00", task="scanrefer", kind="unique", **counts):
    rows = RowScores((0,), (scene,), {"kind": (kind,)}, {"Acc@0.25": np.array([1.0])})
    scores = {"EM1": 0.5} if task == "sqa3d" else {"Acc@0.25": 1.0, "Acc@0.50": 0.5}
    return Report(task, scores, {"answers": 1, **counts}, (), rows)


def test_every_figure_names_its_paper_and_table_and_a_metric_of_ours():
    for entry in published_figures():
        assert entry.task in BENCHMARKS
        assert set(entry.figures) <= NAMES[entry.task]
        assert re.fullmatch(r"\d{4}\.\d{5}", entry.arxiv)
        assert re.fullmatch(r"Table \d+", entry.table)
        assert entry.split in ("val", "test")
        assert all(0 < value < 200 for value in entry.figures.values())


def test_only_the_same_split_and_only_scannet(capsys):
    assert {entry.split for entry in beside(report())} == {"val"}
    assert beside(report(scene="room00_00")) == []
    print_beside(report(scene="room00_00"))
    assert capsys.readouterr().out == ""


def test_sqa3d_is_published_on_test_which_its_size_tells_from_val():
    assert beside(report(task="sqa3d", answers=3261)) == []
    assert {entry.split for entry in beside(report(task="sqa3d", answers=3519))} == {"test"}
    parts = {"answers": 3000, "missing questions": 519}
    assert {entry.split for entry in beside(report(task="sqa3d", **parts))} == {"test"}


def test_nr3d_is_not_set_beside_scanrefer():
    assert beside(report(kind="easy_dep")) == []


def test_table(capsys):
    print_beside(report())
    out = capsys.readouterr().out
    assert "100.00" in out
    assert "arXiv:2412.18450, Table 2" in out
    print_beside(report(task="sqa3d", answers=3519))
    assert "test" in capsys.readouterr().out


@pytest.mark.parametrize("task", FIVE)
def test_every_task_has_figures_of_gpt4scene(task):
    assert any(entry.task == task and entry.model.startswith("GPT4Scene") for entry in published_figures())
