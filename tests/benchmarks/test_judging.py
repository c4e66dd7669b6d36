"""Verdicts where a benchmark has no judge of its own, and the values that a judge gets."""

from pathlib import Path

import numpy as np
import pytest

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.judging import judge_by, judge_short_answer
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


def test_short_answers_go_by_exact_match():
    figures = [{"EM1": 1.0, "EM1_refined": 1.0}, {"EM1": 0.0, "EM1_refined": 1.0}, {"EM1": 0.0, "EM1_refined": 0.0}]
    assert [judge_short_answer(ROW, one, NOWHERE).verdict for one in figures] == ["right", "partly", "wrong"]
    assert judge_short_answer(AnswerRow("s", " "), figures[2], NOWHERE).reason == "empty answer"


def test_files_of_the_folder_are_read_once_and_only_when_asked_for(tmp_path):
    read = []
    annotation = Annotation(tmp_path)
    assert annotation.companion("x.json", lambda path: read.append(path) or 3) == 3
    assert annotation.companion("x.json", lambda path: read.append(path) or 4) == 3
    assert read == [tmp_path / "x.json"]
