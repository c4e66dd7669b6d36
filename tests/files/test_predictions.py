"""Folders and files of answers: what form they have is told, and what is not read is named."""

import json

import pytest

from gpt4scene.errors import DataError
from gpt4scene.files.predictions import lies_there, read_predictions, write_public

ROWS = [{"scene_id": "s", "qid": f"q{n}", "pred": f"{n}", "prompt": f"What {n}?"} for n in range(3)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("scanqa.json", json.dumps(ROWS)),
        ("scanqa.json", b"\xef\xbb\xbf" + json.dumps(ROWS).encode()),
        ("scanqa.jsonl", LINES),
        ("scanqa.jsonl", b"\xef\xbb\xbf" + LINES.encode()),
        ("scanqa.jsonl", LINES.replace("\n", "\r\n")),
        ("qwenvl_scanqa/predictions_chunk_0.json", json.dumps(ROWS, indent=1)),
    ],
)
def test_known_forms(tmp_path, name, content):
    write(tmp_path / name, content)
    found = read_predictions(tmp_path, "scanqa")
    assert [row.pred for row in found.rows] == ["0", "1", "2"] and not found.notes


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("scanqa.json", LINES, "holds an object a line, not a JSON list; call it <task>.jsonl"),
        (
            "scanqa.json",
            json.dumps(ROWS[0]),
            "found a dict with the keys scene_id, qid, .*; write the rows as one list",
        ),
        ("scanqa.json", json.dumps({"predictions": ROWS}), "found a dict with the keys predictions; write the rows"),
        ("scanqa.json", "null", "expected a list of predictions, found a NoneType"),
        ("scanqa.json", json.dumps(ROWS)[:-9], "row 2: the file is not JSON"),
        ("scanqa.jsonl", json.dumps(ROWS), "holds a JSON list, not an object a line; call it <task>.json"),
        ("scanqa.jsonl", json.dumps(ROWS, indent=1), "holds a JSON list"),
        ("scanqa.jsonl", LINES.encode("utf-16"), "is not UTF-8 text .it may be UTF-16"),
        ("scanqa.shard0.jsonl", json.dumps(ROWS), "call it <task>.json"),
        ("m_scanqa/predictions_chunk_0.json", LINES, "call it <task>.jsonl"),
    ],
)
def test_another_form_than_the_name_says_is_named_with_the_way_out(tmp_path, name, content, words):
    path = write(tmp_path / name, content)
    for place in (tmp_path, path):
        with pytest.raises(DataError, match=f"{path}.*{words}"):
            read_predictions(place, "scanqa")


@pytest.mark.parametrize("qids", [(5, "5"), (5, 5.0), ("a", "a")])
@pytest.mark.parametrize("preds", [("x", "x"), ("x", "y")])
def test_a_question_that_is_answered_twice_is_refused_however_its_qid_is_written(tmp_path, qids, preds):
    rows = [{"scene_id": "s", "qid": qid, "pred": pred} for qid, pred in zip(qids, preds, strict=True)]
    write(tmp_path / "scanqa.json", json.dumps(rows))
    with pytest.raises(DataError, match=r"scanqa.json, row 1: answers the same question as .*row 0"):
        read_predictions(tmp_path, "scanqa")


@pytest.mark.parametrize(
    "name",
    [
        *("scanqa_2.jsonl", "scanqa.shardA.jsonl", "scanqa.shard1.json", "scanqa (1).json", "scanqa2.json"),
        *("scanqa_part1.jsonl", "scanqa-chunk-0.json", "m_scanqa/predictions.json", "scanqa_copy.json"),
    ],
)
def test_a_file_that_is_almost_called_as_answers_are_is_named(tmp_path, name):
    write(tmp_path / "scanqa.json", json.dumps(ROWS))
    write(tmp_path / name, json.dumps(ROWS))
    (note,) = read_predictions(tmp_path, "scanqa").notes
    assert note.startswith("not read, since answers of scanqa have other names") and name in note


@pytest.mark.parametrize(
    "name", ["scanqa_val.json", "scanqa_scores.json", "sqa3d.json", "scanqab.json", "notes.json", "m_sqa3d/x.json"]
)
def test_other_files_are_nobodys_business(tmp_path, name):
    write(tmp_path / "scanqa.json", json.dumps(ROWS))
    write(tmp_path / name, "[]")
    assert not read_predictions(tmp_path, "scanqa").notes


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("run1/scanqa.json", "predictions lie in {}/run1"),
        ("a/b/scanqa.jsonl", "predictions lie in {}/a/b"),
        ("a/m_scanqa/predictions_chunk_0.json", "predictions lie in {}/a"),
        ("scanqa/predictions_chunk_0.json", "the folder 'scanqa' holds predictions_chunk_0.json: rename it"),
    ],
)
def test_where_predictions_lie_is_said(tmp_path, name, words):
    write(tmp_path / name, json.dumps(ROWS))
    assert words.format(tmp_path) in lies_there(tmp_path, ["scanqa"])


@pytest.mark.parametrize("pred", ["a \ud800 b", "\udfff", "\U0001fa91", "\0\x1b", '"\\'])
def test_public_files_of_any_answer_can_be_read_again(tmp_path, pred):
    row = {"scene_id": "s", "index": 0, "pred": pred, "task": "scanqa"}
    write(tmp_path / "run" / "scanqa.jsonl", json.dumps(row) + "\n")
    path = write_public(tmp_path / "run", "scanqa", "m")
    path.read_text(encoding="utf-8")
    (tmp_path / "run" / "scanqa.jsonl").unlink()
    assert [one.pred for one in read_predictions(tmp_path / "run", "scanqa").rows] == [pred]


@pytest.mark.parametrize(("thoughts", "said"), [(False, "B."), (True, "<think>A or B?</think>B.")])
def test_public_files_keep_thoughts_where_they_are_looked_at(tmp_path, thoughts, said):
    row = {"scene_id": "s", "index": 0, "pred": "<think>A or B?</think>B.", "task": "mmsi"}
    write(tmp_path / "run" / "mmsi.jsonl", json.dumps(row) + "\n")
    path = write_public(tmp_path / "run", "mmsi", "m", thoughts=thoughts)
    assert [one["pred"] for one in json.loads(path.read_text())] == [said]


def test_a_key_that_stands_twice_is_refused(tmp_path):
    write(tmp_path / "scanqa.json", '[{"scene_id": "s", "pred": "a", "pred": "b"}]')
    with pytest.raises(DataError, match="scanqa.json: an object has 'pred' twice .*; keep one"):
        read_predictions(tmp_path, "scanqa")
