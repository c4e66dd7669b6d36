import re

import numpy as np
import pytest
from five import FIVE

from gpt4scene.benchmarks.published import (
    OWN,
    UNKNOWN,
    beside,
    counted_as,
    left_out,
    left_out_line,
    print_beside,
    published_figures,
)
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


def report(scene="scene0011_00", task="scanrefer", kind="unique", rules="", **counts):
    rows = RowScores((0,), (scene,), {"kind": (kind,)}, {"Acc@0.25": np.array([1.0])})
    scores = {"EM1": 0.5} if task in ("sqa3d", "scanqa") else {"Acc@0.25": 1.0, "Acc@0.50": 0.5}
    return Report(task, scores, {"answers": 1, **counts}, (), rows, rules=rules)


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


def test_a_table_without_a_figure_is_not_printed(capsys):
    ours = Report(**{**vars(report(task="scanqa")), "scores": {"EM1_refined": 0.5}})
    assert beside(ours) == []
    assert "Chat-Scene" not in models(left_out(ours))
    print_beside(ours)
    assert "these answers" not in capsys.readouterr().out


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


def test_every_model_has_rules_that_are_known_or_said_not_to_be():
    for entry in published_figures():
        assert entry.rules in (*BENCHMARKS[entry.task].rule_names, OWN, UNKNOWN)
        assert entry.seen


def models(entries):
    return {entry.model for entry in entries}


def test_a_figure_stands_beside_ours_under_the_same_rules_only():
    for rules in BENCHMARKS["scanqa"].rule_names:
        ours = report(task="scanqa", rules=rules)
        assert {entry.rules for entry in beside(ours)} <= {rules}
        assert rules not in {entry.rules for entry in left_out(ours)}
    assert "Video-3D LLM" in models(beside(report(task="scanqa", rules="raw")))
    assert "Video-3D LLM" in models(left_out(report(task="scanqa")))
    assert models(beside(report(task="scanqa"))) == models(beside(report(task="scanqa", rules="gpt4scene")))


def test_rules_that_give_the_same_figures_are_the_same_rules():
    assert counted_as("scanrefer", "raw") == counted_as("scanrefer", "") == "gpt4scene"
    assert counted_as("scanqa", "raw") == "raw"
    assert models(beside(report(rules="raw"))) == models(beside(report()))
    assert "Video-3D LLM" in models(beside(report()))
    assert beside(report(rules="strict")) == []


def test_a_line_says_who_is_left_out_why_and_how_to_see_them(capsys):
    line = left_out_line(left_out(report(task="scanqa")))
    assert line.startswith("5 published models are left out, since other rules count them or nobody knows which: ")
    assert "Video-3D LLM, Spatial-MLLM-4B (--rules raw shows them)" in line
    assert "LLaVA-3D, 3D-LLaVA (--rules llava3d shows them)" in line
    assert "VeBrain (unknown rules)" in line
    print_beside(report(rules="strict"))
    said = capsys.readouterr().out
    assert "beside published figures" not in said
    assert said.startswith("10 published models are left out") and "(--rules gpt4scene shows them)" in said
    assert left_out_line(left_out(report(task="scanqa"))[:1]).startswith("1 published model is left out")
