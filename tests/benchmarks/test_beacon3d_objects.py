"""Beacon-3D: figures of objects, which pass when all their questions do, whatever marks and answers are missing."""

import json
import math

import pytest
from beacon_files import metadata
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.benchmarks import beacon3d_qa as qa
from gpt4scene.benchmarks.beacon3d import QA
from gpt4scene.files.answers import AnswerRow
from gpt4scene.types import Judgement


@pytest.fixture
def rows_of(tmp_path):
    def rows(objects, said, mark=None):
        path = tmp_path / "metadata.json"
        path.write_text(json.dumps(metadata(*objects)))
        made = [row for record in QA.read([path]) for row in QA.references(record)]
        judged = None if mark is None else Judgement(mark, str(mark))
        return [
            AnswerRow("s", pred, qid=row["qid"], source=row["source"], judged=judged)
            for row, pred in zip(made, said, strict=True)
        ]

    return rows


def test_an_object_passes_when_all_its_questions_do(rows_of):
    found = qa.report(rows_of([["red"] * 3, ["blue"] * 3], ["red", "red", "red", "blue", "blue", "green"], 1), "t")
    assert found.scores["object"] == 0.5
    assert found.public["object"] == 50 and found.public["EM"] == pytest.approx(500 / 6)


def test_marks_beyond_the_scale_count_as_published_and_are_said(rows_of):
    found = qa.report(rows_of([["red"] * 3], ["red", "red", "green"], 10), "t")
    assert found.public["case"] == pytest.approx((20 / 3 - 1) / 4 * 100)
    assert "1 marks are not from 1 to 5" in " ".join(found.notes)


@pytest.mark.slow
@given(st.text())
def test_any_words_of_a_judge_are_a_mark_or_none(text):
    assert qa.read_mark(text) is None or qa.read_mark(text) >= 0
    assert qa.read_mark("9" * 5000) is None


def test_an_object_whose_marks_are_not_all_known_is_neither_passed_nor_failed(rows_of):
    found = qa.report(rows_of([["red"] * 3, ["blue"] * 3], ["red", "red", "red", "blue", "blue", "green"]), "t")
    assert "object" not in found.scores and found.counts["objects not fully marked"] == 1
    assert found.public == {} and found.counts["answers without a mark"] == 1


def test_an_object_of_which_an_answer_is_missing_leaves_the_public_figures_empty(rows_of):
    rows = rows_of([["red"] * 3], ["red"] * 3)[:2]
    found = qa.report(rows, "t")
    assert found.public == {} and found.scores["overall"] == 1 and "object" not in found.scores


def test_full_marks_and_silence(rows_of):
    assert set(qa.report(rows_of([["red"] * 3], ["red"] * 3), "t").scores.values()) == {1.0}
    silent = qa.report(rows_of([["red", "blue", "table"]], [""] * 3, 1), "t")
    assert silent.scores["overall"] == 0 and silent.scores["EM-R"] == 1  # the public rule: nothing is in everything
    yes = qa.report(rows_of([["yes", "no", "north"]], [""] * 3, 1), "t")
    assert yes.scores["overall"] == 1  # and so an empty answer to yes and no has the best mark, as published


@pytest.mark.slow
@given(st.lists(st.sampled_from(["red", "blue", "", "yes"]), min_size=6, max_size=6), st.integers(1, 5), st.randoms())
def test_figures_stay_in_range_and_do_not_depend_on_the_order(tmp_path_factory, said, mark, random):
    path = tmp_path_factory.mktemp("beacon") / "metadata.json"
    path.write_text(json.dumps(metadata(["red", "yes", "blue"], ["no", "red", "blue"])))
    made = [row for record in QA.read([path]) for row in QA.references(record)]
    rows = [
        AnswerRow("s", pred, qid=row["qid"], source=row["source"], judged=Judgement(mark, str(mark)))
        for row, pred in zip(made, said, strict=True)
    ]
    first = qa.report(rows, "t").scores
    random.shuffle(rows)
    second = qa.report(rows, "t").scores
    assert first == pytest.approx(second)
    assert all(0 <= value <= 1 for value in first.values())


def test_what_nothing_can_be_divided_by_is_left_out_and_said(rows_of):
    rows = [
        AnswerRow("s", row.pred, qid=row.qid, source={**row.source, "grounded": {"s/chair/0": True}})
        for row in rows_of([["red"] * 3], ["red"] * 3)
    ]
    found = qa.report(rows, "t")
    assert "R1" not in found.scores and "R1 is not defined here" in " ".join(found.notes)
    assert found.scores["R2"] == 0 and not math.isnan(found.scores["grounded and right"])
    assert "R1" not in found.public["chain"]
