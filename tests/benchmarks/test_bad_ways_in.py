"""Whatever is wrong with a file or a flag is one sentence on standard error, and exit status 1 or 2."""

import json
import re

import pytest

from gpt4scene.cli import main

SCANQA = [
    {"scene_id": "s0", "question_id": "val-a", "question": "What is it?", "answers": ["chair"]},
    {"scene_id": "s1", "question_id": "val-b", "question": "How many?", "answers": ["two"]},
]
SCANREFER = [{"scene_id": "s0", "object_id": "4", "object_name": "x", "ann_id": "0", "description": "it"}]
GOOD = {"val-a": "chair", "val-b": "two"}
BOXES = {"s0": {"4": [0, 0, 0, 1, 1, 1]}}
ONE = {"s0_4_0": [0.0, 0, 0, 1, 1, 1]}


def put(folder, name, content):
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def sentence(capsys, *words):
    """What a call says on standard error, which must be one line; the call must fail as it is meant to."""
    status = main(["score", *map(str, words), "--quiet"])
    said = capsys.readouterr()
    assert status in (1, 2), said.out
    lines = said.err.strip().splitlines()
    assert len(lines) == 1 and "Traceback" not in said.err, said.err
    return lines[0]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("mine.json", "", "mine.json"),
        ("mine.json", "{", "not JSON"),
        ("mine.json", "null", "found a NoneType"),
        ("mine.json", "3", "found a int"),
        ("mine.json", {}, "holds no answers"),
        ("mine.json", [], "no answers"),
        ("mine.json", [3], "row 0"),
        ("mine.json", {"val-a": "chair", "train-9": "two"}, "ids there: val-a, val-b; unknown ids here: train-9"),
        ("mine.json", {"val-a": ["a", "b"]}, "must be a text, found a list of 2"),
        ("mine.json", {"val-a": {"text": "chair"}}, "'val-a': the answer is an object with the keys text"),
        ("mine.json", {"val-a": True}, "must be a text, a number or a list, found True"),
        ("mine.json", '{"val-a": "x", "val-a": "y"}', "val-a"),
        ("mine.json", [{"question_id": "val-a"}], "no column holds what the model said"),
        ("mine.json", [{"prediction": "chair"}], "no column says which question a row answers"),
        ("mine.json", [{"qid": "val-a", "pred": "x"}, {"qid": "val-a", "pred": "x"}], "answers the same question as"),
        ("mine.json", [{"qid": "val-a", "pred": "x", "response": "y"}], "'pred' and 'response' both may be"),
        ("mine.json", [{"qid": "val-a", "id": "val-b", "pred": "x"}], "'qid' and 'id' both may name the question"),
        ("mine.json", [{"qid": "val-a", "text": "x", "answer": "y"}], "call that 'prediction'"),
        ("mine.json", [{"index": 9, "pred": "x"}], "question 9 is not in"),
        ("mine.json", [{"index": "first", "pred": "x"}], "'index'"),
        ("mine.json", [{"index": 0, "qid": "val-b", "pred": "x"}], "'index' names row 0 .* and the id row 1"),
        ("mine.json", [{"qid": "val-a", "pred": "x"}, {"qid": "val-b"}], "row 1: has no 'pred', which other rows have"),
        ("mine.jsonl", '{"qid": "val-a", "pred": "x"}\n[]\n', "mine.jsonl"),
        ("mine.csv", "qid,pred\nval-a,chair,red\n", "mine.csv"),
        ("mine.csv", "qid,pred,pred\nval-a,x,y\n", "two columns are called 'pred'"),
        ("mine.csv", "qid,pred\n", "no answers"),
        ("mine.csv", b"qid,pred\nval-a,\xff\xfe\n", "UTF-8"),
        ("mine.parquet", "no table", "mine.parquet"),
        ("mine.xlsx", "no table", "answers can't be read from '.xlsx' files"),
        ("mine.txt", "chair", "answers can't be read from '.txt' files"),
    ],
)
def test_a_wrong_file_of_answers_is_one_sentence(tmp_path, capsys, name, content, words):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    official = put(tmp_path, "ScanQA_v1.0_val.json", SCANQA)
    mine = put(tmp_path, name, content)
    said = sentence(capsys, "--predictions", mine, "--references", official, "--metrics", "em")
    assert re.search(words, said), said


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "give --annotation_dir DIR with question files, or --references FILES"),
        (("--references", "none.json"), "none.json: there is no such file"),
        (
            ("--references", "scanqa=ScanQA_v1.0_val.json", "--metrics", "rogue"),
            "no metric 'rogue'; did you mean 'rouge'",
        ),
        (("--references", "ScanQA_v1.0_val.json", "--rules", "vlmevalkit"), "counts none of the tasks here"),
        (
            ("--references", "ScanQA_v1.0_val.json", "--rules", "raw,strict"),
            "--rules strict counts nothing: each task takes the first it has; call once for each",
        ),
        (
            ("--references", "ScanQA_v1.0_val.json", "--tasks", "scanrefer"),
            "'object_id' is missing .found keys: scene_id",
        ),
        (("--references", "ScanQA_v1.0_val.json", "--boxes", "none.json"), "--boxes none.json: there is no such file"),
        (("--references", "mine.json"), "say of which task it is"),
        (("--references", "scanqa=mine.json"), "mine.json"),
        (("--references", "scanqa=empty.json"), "holds no question of scanqa"),
        (("--references", "scanqa=odd.json"), "odd.json, row 0: .*'question'"),
        (("--references", "ScanQA_v1.0_val.json", "--tasks", "sqa3d"), "sqa3d"),
        (("--references", "ScanQA_v1.0_val.json", "--json", "mine.json"), "holds something else than scores"),
        (
            ("--references", "ScanQA_v1.0_val.json", "--json", "ScanQA_v1.0_val.json"),
            "holds something else than scores",
        ),
    ],
)
def test_a_wrong_flag_or_official_file_is_one_sentence(tmp_path, monkeypatch, capsys, more, words):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "ScanQA_v1.0_val.json", SCANQA)
    put(tmp_path, "mine.json", GOOD)
    put(tmp_path, "empty.json", [])
    put(tmp_path, "odd.json", [{"scene_id": "s0", "question_id": "val-a", "answers": ["chair"]}])
    said = sentence(capsys, "--predictions", "mine.json", *more)
    assert re.search(words, said), said


@pytest.mark.parametrize(
    ("answers", "boxes", "words"),
    [
        (ONE, None, "scannet_val_attributes.pt is needed here; .*, or the true boxes with --boxes"),
        (ONE, "{", "not JSON"),
        (ONE, {"s9": BOXES["s0"]}, "scene 's0' is not in"),
        (ONE, {"s0": {"5": BOXES["s0"]["4"]}}, "has no box of object 4 of scene 's0'"),
        (ONE, {"s0": {"4": [1, 2]}}, "is no box; a box is"),
        ({"s0_4_0": [0.0, 0, 0, 1, 1, -1]}, BOXES, "negative size"),
        ({"s0_4_0": [[0.0, 0, 0, 1]]}, BOXES, "box 0 has 4 values"),
        ({"s0_4_0": [1, 2, 3, 4, 5, 6]}, BOXES, "six whole numbers may be a box or six objects"),
        ({"s0_4_0": 1.5}, BOXES, "a whole number from 0"),
        ({"s0_5_0": ONE["s0_4_0"]}, BOXES, "ids there: s0_4_0; unknown ids here: s0_5_0"),
    ],
)
def test_wrong_boxes_are_one_sentence(tmp_path, capsys, answers, boxes, words):
    official = put(tmp_path, "ScanRefer_filtered_val.json", SCANREFER)
    more = [] if boxes is None else ["--boxes", put(tmp_path, "boxes.json", boxes)]
    mine = put(tmp_path, "mine.json", answers)
    said = sentence(capsys, "--tasks", "scanrefer", "--predictions", mine, "--references", official, *more)
    assert re.search(words, said), said


def test_right_files_are_no_error(tmp_path, capsys):
    official = put(tmp_path, "ScanQA_v1.0_val.json", SCANQA)
    words = ["score", "--predictions", str(put(tmp_path, "mine.json", GOOD)), "--references", str(official)]
    assert main([*words, "--metrics", "em"]) == 0
    assert "scanqa: 2 of 2 questions answered" in capsys.readouterr().out
