"""Answers that name their question by id or place, in every form that people write."""

import csv
import json

import pytest

from gpt4scene.errors import DataError
from gpt4scene.files.named_answers import is_public, named_of, read_named

ROWS = [{"question_id": "q1", "prediction": "a chair"}, {"question_id": "q2", "prediction": "two"}]


def told(named):
    return [(one.qid, one.place, one.value) for one in named.rows]


def write(folder, name, content):
    path = folder / name
    if name.endswith(".parquet"):
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(content), path)
    elif name.endswith((".csv", ".tsv")):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(content[0]), delimiter="," if name.endswith(".csv") else "\t")
            writer.writeheader()
            writer.writerows(content)
    elif name.endswith(".jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in content))
    else:
        path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv", "tsv", "parquet"])
def test_all_kinds_of_files_hold_the_same_answers(tmp_path, suffix):
    assert told(read_named(write(tmp_path, f"p.{suffix}", ROWS))) == [("q1", None, "a chair"), ("q2", None, "two")]


def test_one_object_holds_answers_by_id(tmp_path):
    path = write(tmp_path, "p.json", {"q1": "a chair", "q2": [3, 4], "q3": None, "q4": ["one text"], "q5": 2.5})
    assert [value for *_, value in told(read_named(path))] == ["a chair", [3, 4], None, "one text", 2.5]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"index": 3, "kind": "x", "prediction": "A"}, (None, 3, "A")),
        ({"doc_id": 0, "filtered_resps": ["A"], "resps": [["A because"]], "target": "B"}, (None, 0, "A")),
        ({"doc_id": 0, "resps": [["A"]]}, (None, 0, "A")),
        ({"index": "7", "question": "Q", "answer": "B", "prediction": "A"}, (None, 7, "A")),
        ({"question_id": 5, "answer": "A"}, (5, None, "A")),
        ({"question_id": 5, "text": "A", "model_id": "m"}, (5, None, "A")),
        ({"id": "x", "cogmap_gen_answer": "A", "answer": "B"}, ("x", None, "A")),
        ({"id": "x", "cogmap_gen_answer": "A", "cogmap_answer": "C", "answer": "B"}, ("x", None, "A")),
        ({"index": 1, "id": "x", "response": "A"}, ("x", 1, "A")),
        ({"qid": "x", "prediction": float("nan")}, ("x", None, None)),
    ],
)
def test_columns_are_known_by_their_usual_names(row, expected):
    assert told(named_of([row], "rows")) == [expected]


def test_columns_that_are_not_read_are_named():
    (note,) = named_of([{"qid": 1, "prediction": "A", "kind": "x", "seconds": 2}], "rows").notes
    assert note == "rows: read 'prediction' of the questions in 'qid'; not read: kind, seconds"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{"prediction": "A"}], r"no column says which question .* \(wanted: one of qid, .*; found: prediction\)"),
        ([{"qid": 1, "said": "A"}], r"no column holds what the model said \(wanted: .*; found: qid, said\)"),
        (
            [{"qid": 1, "prediction": "A", "response": "B"}],
            "'prediction' and 'response' both may be what the model said",
        ),
        ([{"qid": 1, "text": "A", "answer": "B"}], "'text' and 'answer' both may be"),
        ([{"qid": 1, "id": 2, "prediction": "A"}], "'qid' and 'id' both may name the question"),
        ([{"index": 1, "doc_id": 1, "prediction": "A"}], "'index' and 'doc_id' both may name"),
        ([{"qid": 1, "prediction": "A"}, {"qid": 2}], "row 1: has no 'prediction', which other rows have"),
        ([{"qid": None, "prediction": "A"}], "row 0: 'qid' say nothing"),
        ([{"index": 1.5, "prediction": "A"}], "row 0: 'index' must hold whole numbers"),
        ([{"qid": 1, "prediction": {"a": 1}}], "row 0: the answer must be a text, a number or a list"),
        ([{"qid": 1, "prediction": True}], "row 0: the answer must be"),
        ([{"qid": [1], "prediction": "A"}], "'qid' must be a text or a number"),
        (["A"], "row 0: expected an object with keys, found a str"),
        ([], "rows: holds no answers"),
        ({}, "rows: holds no answers"),
        ({"q1": {"a": 1}}, "'q1': the answer is an object with the keys a"),
    ],
)
def test_rows_that_could_mean_several_things_are_refused(rows, sentence):
    with pytest.raises(DataError, match=sentence):
        named_of(rows, "rows")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("p.xlsx", "x", "answers can't be read from '.xlsx' files"),
        ("p.jsonl", '{"qid": 1, "prediction": "A"}\n{"qid"', "cut off or damaged"),
        ("p.csv", "qid,prediction\n1,A,B\n", "row 0: has 3 columns, but the first line names 2"),
        ("p.csv", "qid,qid\n1,2\n", "two columns are called 'qid'"),
        ("p.csv", "qid,prediction\n", "holds no answers"),
        ("p.json", "[1, 2]", "row 0: expected an object"),
        ("p.jsonl", "", "is empty"),
        ("p.parquet", "x", "not a readable parquet file"),
    ],
)
def test_broken_files_are_named(tmp_path, name, text, sentence):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=sentence):
        read_named(tmp_path / name)


@pytest.mark.parametrize(
    ("row", "public"),
    [
        ({"scene_id": "s", "pred": "A", "qid": 1}, True),
        ({"scene_id": "s"}, True),
        ({"scene_id": "s", "question_id": 1, "answer": "A"}, False),
        ({"qid": 1, "pred": "A"}, False),
    ],
)
def test_rows_of_the_public_form_are_told_by_their_keys(row, public):
    assert is_public(row) is public
