import json

import pytest
import torch

from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.errors import DataError
from gpt4scene.files.annotation import read_attributes, read_corpus, read_lookup
from gpt4scene.files.predictions import read_predictions, tasks_in
from gpt4scene.files.whole import read_json


def row(index=None, **keys):
    base = {"scene_id": "room00_00", "qid": None, "gt_id": 0, "pred_id": 0, "prompt": "Where?", "pred": "a"}
    base |= {"ref_captions": ["a"], "type_info": 0, **keys}
    return base if index is None else {**base, "index": index}


def journal(path, rows, end="\n"):
    path.write_text("\n".join(map(json.dumps, rows)) + end)


def test_shards_are_read_together_in_question_order(tmp_path):
    journal(tmp_path / "scanqa.jsonl", [{"settings": {"model": "m"}}, row(3)])
    journal(tmp_path / "scanqa.shard0.jsonl", [row(2)])
    journal(tmp_path / "scanqa.shard10.jsonl", [row(1)])
    journal(tmp_path / "scanqa.shard2.jsonl", [row(0)])
    assert [r.index for r in read_predictions(tmp_path, "scanqa").rows] == [0, 1, 2, 3]
    assert tasks_in(tmp_path, BENCHMARKS) == ["scanqa"]


def test_public_chunks(tmp_path):
    folder = tmp_path / "qwenvl_scanqa"
    folder.mkdir()
    for chunk in (10, 2, 0):
        (folder / f"predictions_chunk_{chunk}.json").write_text(json.dumps([row(pred=str(chunk))]))
    assert [r.pred for r in read_predictions(tmp_path, "scanqa").rows] == ["0", "2", "10"]


def test_two_models_in_one_folder_are_refused(tmp_path):
    for model in ("one", "two"):
        (tmp_path / f"{model}_scanqa").mkdir()
        (tmp_path / f"{model}_scanqa" / "predictions_chunk_0.json").write_text(json.dumps([row()]))
    with pytest.raises(DataError, match="several models for 'scanqa' .one_scanqa, two_scanqa."):
        read_predictions(tmp_path, "scanqa")


def test_the_form_left_out_is_noted(tmp_path):
    journal(tmp_path / "scanqa.jsonl", [row(0)])
    (tmp_path / "scanqa.json").write_text(json.dumps([row(), row()]))
    found = read_predictions(tmp_path, "scanqa")
    assert len(found.rows) == 1
    assert "scanqa.json" in found.notes[0]


def test_half_a_last_line_is_left_out_and_noted(tmp_path):
    path = tmp_path / "scanqa.jsonl"
    journal(path, [row(0), row(1)])
    path.write_text(path.read_text()[:-30])
    found = read_predictions(tmp_path, "scanqa")
    assert [r.index for r in found.rows] == [0]
    assert "line 2 was cut off" in found.notes[0]


def test_a_last_line_without_end_counts_unless_it_was_asked_again(tmp_path):
    journal(tmp_path / "scanqa.shard0.jsonl", [row(0), row(1, pred="first")], end="")
    assert [r.index for r in read_predictions(tmp_path, "scanqa").rows] == [0, 1]
    journal(tmp_path / "scanqa.jsonl", [row(1, pred="again")])
    assert [r.pred for r in read_predictions(tmp_path, "scanqa").rows] == ["a", "again"]


def test_half_a_line_elsewhere_is_an_error(tmp_path):
    path = tmp_path / "scanqa.jsonl"
    path.write_text(json.dumps(row(0)) + "\n" + json.dumps(row(1))[:-20] + "\n" + json.dumps(row(2)) + "\n")
    with pytest.raises(DataError, match="scanqa.jsonl, line 2: not a whole JSON line"):
        read_predictions(tmp_path, "scanqa")


@pytest.mark.parametrize("rows", [[row(4), row(5), row(4)], [row(qid="q1"), row(qid="q2"), row(qid="q1", pred="b")]])
def test_a_question_answered_twice_is_named(tmp_path, rows):
    journal(tmp_path / "scanqa.jsonl", rows)
    with pytest.raises(DataError, match="line 3: answers the same question as .*line 1"):
        read_predictions(tmp_path, "scanqa")


def test_rows_without_or_with_shared_qid_are_all_kept(tmp_path):
    rows = [row(), row(), row(qid=0), row(qid=0), row(qid="q", prompt="1"), row(qid="q", prompt="2")]
    (tmp_path / "scanqa.json").write_text(json.dumps(rows))
    assert len(read_predictions(tmp_path, "scanqa").rows) == 6


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty"),
        ("[{", "not JSON .line 1"),
        ("{}", "holds no answers"),
        ("[3]", "row 0: a prediction must be an object"),
        ('[{"scene_id": "s"}]', "row 0: 'pred' is missing"),
        ('[{"scene_id": "s", "pred": "a", "gt_id": "x"}]', "row 0: 'gt_id' must be a whole number"),
        ('[{"scene_id": "s", "pred": "a", "gt_id": 1.5}]', "row 0: 'gt_id' must be a whole number, found 1.5"),
        ('[{"scene_id": "s", "pred": "a", "gt_id": Infinity}]', "row 0: 'gt_id' must be a whole number, found inf"),
        ('[{"scene_id": "s", "pred": "a", "gt_id": true}]', "row 0: 'gt_id' must be a whole number, found True"),
        ('[{"scene_id": "s", "pred": "a", "ref_captions": "a"}]', "row 0: 'ref_captions' must be a list"),
        (
            '[{"scene_id": "s", "pred": "a", "ref_captions": [["a"]]}]',
            "row 0: 'ref_captions' must hold texts or numbers",
        ),
        ('[{"scene_id": "s", "pred": "a", "type_info": {"a": 1}}]', "row 0: 'type_info' must hold texts or numbers"),
        ('[{"scene_id": "s", "pred": "a", "qid": [1]}]', "row 0: 'qid' must hold texts or numbers"),
    ],
)
def test_broken_lists_are_named(tmp_path, content, sentence):
    (tmp_path / "scanqa.json").write_text(content)
    with pytest.raises(DataError, match=f"scanqa.json.*{sentence}"):
        read_predictions(tmp_path, "scanqa")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_json(tmp_path / "x.json")
    with pytest.raises(DataError, match="gpt4scene prepare"):
        read_attributes(tmp_path / "x.pt")


def test_a_byte_order_mark_is_no_matter(tmp_path):
    (tmp_path / "scanqa.json").write_text(json.dumps([row()]), encoding="utf-8-sig")
    assert len(read_predictions(tmp_path, "scanqa").rows) == 1
    (tmp_path / "scanqa.jsonl").write_text(json.dumps(row(0)) + "\n", encoding="utf-8-sig")
    assert read_predictions(tmp_path, "scanqa").rows[0].index == 0


def test_another_encoding_is_named(tmp_path):
    (tmp_path / "x.json").write_bytes('["é"]'.encode("latin-1"))
    with pytest.raises(DataError, match="x.json: the file is not UTF-8 text .byte 2."):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("read", "content", "sentence"),
    [
        (read_corpus, [], "expected"),
        (read_corpus, {"s0": ["sos eos"]}, "the key 's0' must name scene and object"),
        (read_corpus, {"s|x": ["sos eos"]}, "must name scene and object"),
        (read_corpus, {"s|0": []}, "'s|0' must hold a list of captions"),
        (read_corpus, {"s|0": [1]}, "'s|0' must hold a list of captions"),
        (read_lookup, {"s": [0]}, "scene 's' must hold"),
        (read_lookup, {"s": {"4": "unique"}}, "object 4 of scene 's' must be 0 .unique. or 1, found 'unique'"),
    ],
)
def test_broken_companions_are_named(tmp_path, read, content, sentence):
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"x.json: .*{sentence}".replace("|", "[|]")):
        read(tmp_path / "x.json")


def test_attributes(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"room00_00": {"objects": ["chair"], "locs": torch.tensor([[0.1, 0, 0, 1, 1, 1]])}}, path)
    boxes = read_attributes(path)
    assert boxes.labels["room00_00"] == ("chair",)
    assert boxes["room00_00"][0, 0] == float(torch.tensor(0.1))


def test_files_without_answers_are_named(tmp_path):
    (tmp_path / "scanqa.jsonl").write_text('{"settings": {}}\n')
    with pytest.raises(DataError, match="the journal of 'scanqa' holds no answers .*scanqa.jsonl"):
        read_predictions(tmp_path, "scanqa")


def test_broken_attributes_are_named(tmp_path):
    path = tmp_path / "a.pt"
    for content in (b"no archive", b"hi\n", b"", b"\x80\x02c"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="a.pt: not a readable attributes file"):
            read_attributes(path)
    torch.save([1], path)
    with pytest.raises(DataError, match="a.pt: expected"):
        read_attributes(path)
    for broken in (
        {"objects": None, "locs": []},
        {"objects": [], "locs": [[0, 0], [1]]},
        {"objects": [], "locs": None},
    ):
        torch.save({"s": broken}, path)
        with pytest.raises(DataError, match="a.pt: scene 's' must hold labels"):
            read_attributes(path)
    torch.save({"s": {"objects": [""], "locs": torch.full((1, 6), float("nan"))}}, path)
    with pytest.raises(DataError, match="a.pt: box 0 of scene 's' holds a value that is not finite"):
        read_attributes(path)
