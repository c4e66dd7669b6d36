"""Answers before they are scored: rows of another task are refused, repeated ones are said."""

import itertools
import json

import pytest
from five import FIVE

from gpt4scene.benchmarks.answers import read_answered
from gpt4scene.errors import DataError

FORMS = {
    "scanqa": {"ref_captions": ["brown"], "type_info": 0},
    "sqa3d": {"ref_captions": ["two"], "type_info": 2},
    "scan2cap": {"ref_captions": ["sos a chair . eos"], "type_info": 0},
    "scanrefer": {"ref_captions": ["<OBJ001>."], "type_info": 0},
    "multi3dref": {"ref_captions": [1], "type_info": "st_wo_d"},
}
TOLD = ("scan2cap", "scanrefer", "multi3dref")
"""Tasks whose rows can be told by the form of their references and types."""


def rows(task, count=3, **keys):
    base = {"scene_id": "s", "gt_id": 1, "pred_id": 0, "pred": "x", **FORMS[task]}
    return [{**base, "qid": f"q{n}", "prompt": f"What {n}?", **keys} for n in range(count)]


def read(folder, task, content):
    (folder / f"{task}.json").write_text(json.dumps(content))
    return read_answered(folder, folder, task)


@pytest.mark.parametrize(("task", "other"), itertools.permutations(FIVE, 2))
def test_rows_that_say_another_task_are_refused(tmp_path, task, other):
    with pytest.raises(DataError, match=f"{task}.json, row 0: answers a question of '{other}', not of '{task}'"):
        read(tmp_path, task, [row | {"task": other} for row in rows(task)])
    assert read(tmp_path, task, [row | {"task": task} for row in rows(task)]).rows
    assert read(tmp_path, task, [row | {"task": "anything else"} for row in rows(task)]).rows


@pytest.mark.parametrize(("task", "other"), itertools.product(FIVE, TOLD))
def test_public_rows_of_another_task_are_told_by_their_form(tmp_path, task, other):
    if task == other:
        assert read(tmp_path, task, rows(other)).rows
        return
    with pytest.raises(DataError, match=rf"{task}.json, row 0: .* all 3 rows, have the form of '{other}', not of"):
        read(tmp_path, task, rows(other))
    mixed = [*rows(task, 2), *[row | {"qid": f"r{n}"} for n, row in enumerate(rows(other, 1))]]
    assert len(read(tmp_path, task, mixed).rows) == 3  # for the scorer to judge


def test_questions_of_referit_are_those_of_scanrefer(tmp_path):
    assert read(tmp_path, "scanrefer", rows("scanrefer", type_info="easy_dep", ref_captions=[])).rows
    with pytest.raises(DataError, match="have the form of 'scanrefer', not of 'scanqa'"):
        read(tmp_path, "scanqa", rows("scanqa", type_info="easy_dep"))


@pytest.mark.parametrize("qid", [None, "", 0])
def test_repeated_answers_that_nothing_identifies_are_said(tmp_path, qid):
    content = rows("scanqa", 2, qid=qid)
    assert len(read(tmp_path, "scanqa", content).notes) == 1
    content += [row | {"pred": "y"} for row in content]
    assert (
        "2 answers without 'qid' and 'index' are to what an earlier one" in read(tmp_path, "scanqa", content).notes[1]
    )
