"""Verdicts where a benchmark has no judge of its own, and the values that a judge gets."""

from pathlib import Path

import numpy as np
import pytest

from gpt4scene.benchmarks import scanqa
from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.judging import judge_by, short_answer_judge
from gpt4scene.files.answers import AnswerRow

NOWHERE = Annotation(Path("nowhere"))
ROW = AnswerRow("s", "a bed", ref_captions=("bed", "sofa"))


@pytest.mark.parametrize(
    ("figures", "verdict"),
    [({"Acc": 1.0}, "right"), ({"Acc": 0.4}, "partly"), ({"Acc": 0.0}, "wrong"), ({"Acc": np.nan}, ""), ({}, "")],
)
def test_the_main_metric_decides(figures, verdict):
    judged = judge_by("Acc")(ROW, figures, NOWHERE)
    assert (judged.verdict, judged.references) == (verdict, ("bed", "sofa"))


JUDGE = short_answer_judge(lambda text: text.removeprefix("a "), str.upper)


def test_short_answers_go_by_exact_match():
    figures = [{"EM1": 1.0, "EM1_refined": 1.0}, {"EM1": 0.0, "EM1_refined": 1.0}, {"EM1": 0.0, "EM1_refined": 0.0}]
    assert [JUDGE(ROW, one, NOWHERE).verdict for one in figures] == ["right", "partly", "wrong"]
    assert JUDGE(ROW, {"EM1": 0.0}, NOWHERE).verdict == "wrong"  # rules without a refined match
    assert JUDGE(AnswerRow("s", " "), figures[2], NOWHERE).reason == "empty answer"
    assert JUDGE(ROW, {"EM1": np.nan}, NOWHERE).verdict == ""


def test_what_is_compared_is_shown():
    judged = JUDGE(ROW, {"EM1": 0.0}, NOWHERE)
    assert (judged.parsed, judged.references, judged.compared) == ("bed", ("bed", "sofa"), ("BED", "SOFA"))
    assert judged.reason == "equal to no reference"
    assert short_answer_judge(str, str)(ROW, {"EM1": 0.0}, NOWHERE).compared is None


@pytest.mark.parametrize(
    ("rules", "parsed", "compared"),
    [
        ("gpt4scene", "brown chair", ("A Brown chair",)),
        ("raw", "The brown chair.", ("A Brown chair",)),
        ("strict", "brown chair", ("brown chair",)),
    ],
)
def test_each_rule_shows_its_own_cleaning(rules, parsed, compared):
    row = AnswerRow("s", "The brown chair.", ref_captions=("A Brown chair",))
    judged = scanqa.BENCHMARK.under(rules).judge_of_answers()(row, {"EM1": 0.0}, NOWHERE)
    assert (judged.parsed, judged.compared or judged.references) == (parsed, compared)


def test_files_of_the_folder_are_read_once_and_only_when_asked_for(tmp_path):
    read = []
    annotation = Annotation(tmp_path)
    assert annotation.companion("x.json", lambda path: read.append(path) or 3) == 3
    assert annotation.companion("x.json", lambda path: read.append(path) or 4) == 3
    assert read == [tmp_path / "x.json"]
