"""Figures of a part say that they are: in the table, the JSON, the details, the comparison and on the page."""

import json

import pytest
from commands import score as main

from gpt4scene.benchmarks.answers import read_answered
from gpt4scene.benchmarks.score import score_folder
from gpt4scene.errors import DataError
from gpt4scene.metrics import texts as text
from gpt4scene.report import pages


@pytest.fixture(autouse=True)
def without_java(monkeypatch):
    monkeypatch.setattr(text, "find_java", lambda: None)


def questions(count):
    return [{"scene_id": "s", "obj_id": 0, "prompt": f"What {n}?", "ref_captions": ["a"]} for n in range(count)]


def answer(number, pred="a", **keys):
    row = {"scene_id": "s", "qid": 0, "gt_id": 0, "pred_id": 0, "prompt": f"What {number}?", "pred": pred}
    return row | {"ref_captions": ["a"], "type_info": 0} | keys


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture
def half(tmp_path):
    """Two of four questions answered; SQA3D has three questions and no answer."""
    write(tmp_path / "annotation" / "scanqa_val.json", questions(4))
    write(tmp_path / "annotation" / "sqa3d_val.json", [{**q, "sqa_type": 0} for q in questions(3)])
    write(tmp_path / "half" / "scanqa.json", [answer(0), answer(3)])
    return tmp_path


def flags(folder, *more):
    return ["--predictions", str(folder / "half"), "--annotation_dir", str(folder / "annotation"), *map(str, more)]


def test_the_table_says_of_how_many_questions(half, capsys):
    assert main(flags(half)) == 0
    out = capsys.readouterr().out
    assert "scanqa: 2 of 4 questions answered" in out
    assert "warning: 2 of 4 questions have no answer" in out
    assert "warning: sqa3d: none of 3 questions has an answer" in out


def test_json_holds_counts_and_details_warnings(half):
    main(flags(half, "--json", half / "scores.json", "--details", half / "details.json"))
    scores = json.loads((half / "scores.json").read_text())
    counts = {"answers": 2, "questions": 4, "missing questions": 2, "unreadable answers": 0}
    assert scores["scanqa"] == scores["scanqa"] | counts and scores["scanqa"]["EM1"] == 1
    assert scores["sqa3d"] == {"answers": 0, "questions": 3, "missing questions": 3}
    details = json.loads((half / "details.json").read_text())["scanqa"]
    assert "2 of 4" in details["warnings"][0] and details["counts"]["questions"] == 4
    assert "EM1" in details["scores"] and "questions" not in details["scores"]


def test_json_on_standard_output_is_json_alone(half, capsys):
    assert main(flags(half, "--json", "-")) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["scanqa"]["questions"] == 4
    assert "EM1" in said.err and "2 of 4" in said.err


def test_compared_runs_say_so_too(half, capsys):
    write(half / "all" / "scanqa.json", [answer(n) for n in range(4)])
    words = ["--compare", half / "half", half / "all", "--annotation_dir", half / "annotation"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "scanqa: 2 rows that both runs have" in out
    assert "first: 2 of 4 questions answered" in out and "second: 4 of 4 questions answered" in out
    assert "warning: second: sqa3d: none of 3 questions has an answer" in out
    assert out.count("no METEOR") == 1
    assert main([*words, "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scanqa"]["EM1"]["rows"] == 2
    assert found["scanqa"]["answers"] == {"first": 2, "second": 4}
    assert found["scanqa"]["missing questions"] == {"first": 2, "second": 0}
    assert found["scanqa"]["EM1"]["interval"] is None  # one scene says nothing about the spread
    assert main([*words, "--tasks", "scanqa", "--require-complete"]) == 1
    assert "half: scanqa: 2 of 4 questions" in capsys.readouterr().err


def test_a_task_that_one_run_answers_is_said(half, capsys):
    write(half / "all" / "scanqa.json", [answer(n) for n in range(4)])
    write(half / "all" / "sqa3d.json", [answer(n) for n in range(3)])
    main(["--compare", half / "half", half / "all", "--annotation_dir", half / "annotation", "--json", "-"])
    said = capsys.readouterr()
    assert "sqa3d is answered in the second run only and not compared" in said.err
    assert json.loads(said.out)["sqa3d"]["answers"] == {"first": 0, "second": 3}


def test_notes_of_compared_runs_are_said(half, capsys):
    (half / "annotation" / "scanqa_val.json").unlink()
    write(half / "other" / "scanqa.json", [answer(0, ref_captions=["b"])])
    assert main(["--compare", half / "half", half / "other", "--annotation_dir", half / "annotation"]) == 0
    assert "note: missing questions are not counted, and the predictions' own references" in capsys.readouterr().out


@pytest.mark.slow
def test_questions_without_a_reference_are_said_everywhere(half, capsys):
    asked = questions(4)
    asked[0]["ref_captions"] = [" "]
    write(half / "annotation" / "scanqa_val.json", asked)
    write(half / "half" / "scanqa.json", [answer(n, ref_captions=None) for n in range(4)])
    main(flags(half, "--tasks", "scanqa", "--json", half / "scores.json"))
    assert "scanqa: 4 of 4 questions answered, 1 without a reference left out" in capsys.readouterr().out
    assert json.loads((half / "scores.json").read_text())["scanqa"]["questions without a reference"] == 1
    page = pages.report(half / "half", half / "annotation", half / "out").read_text()
    assert "1 without a reference left out" in page


def test_scan2cap_counts_what_is_not_described(tmp_path):
    import torch

    boxes = {"s": {"objects": ["chair"] * 2, "locs": torch.tensor([[2.0 * n, 0, 0, 1, 1, 1] for n in range(2)])}}
    for name in ("scannet", "scannet_mask3d"):
        torch.save(boxes, tmp_path / f"{name}_val_attributes.pt")
    asked = [{"scene_id": "s", "obj_id": n, "pred_id": n, "prompt": f"What {n}?"} for n in range(2)]
    write(tmp_path / "scan2cap_mask3d_val.json", asked)
    write(tmp_path / "scan2cap_val_corpus.json", {f"s|{n}": ["sos a chair eos"] for n in range(2)})
    write(tmp_path / "scan2cap.json", [{"scene_id": "s", "prompt": "What 1?", "pred": "a chair"}])
    flags = ["--predictions", tmp_path, "--annotation_dir", tmp_path, "--json", tmp_path / "scores" / "x.json"]
    assert main(flags) == 0
    found = json.loads((tmp_path / "scores" / "x.json").read_text())["scan2cap"]
    assert found["objects without an answer"] == found["missing questions"] == 1
    report = score_folder(tmp_path, tmp_path)["scan2cap"]
    assert report.warnings[0].endswith("the figures count their objects as not described")


@pytest.mark.parametrize("flag", ["--json", "--details"])
@pytest.mark.parametrize(
    "name", ["half/scanqa.json", "annotation/scanqa_val.json", "half/m_sqa3d/predictions_chunk_0.json"]
)
def test_a_file_that_is_scored_is_never_overwritten(half, flag, name, capsys):
    write(half / "half/m_sqa3d/predictions_chunk_0.json", [answer(n) for n in range(3)])
    before = (half / name).read_bytes()
    assert main(flags(half, flag, half / name)) == 2
    assert "holds something else than scores, which would be lost" in capsys.readouterr().err
    assert (half / name).read_bytes() == before


@pytest.mark.parametrize("before", [None, "", "{}", '{"scanqa": {}}', "[1]"])
def test_other_files_are_replaced(half, before):
    if before is not None:
        write(half / "scores.json", before)
    place = half / "half" / "scores.json" if before != "[1]" else half / "scores.json"
    for _ in range(2):
        assert main(flags(half, "--json", place)) == 0
    assert "scanqa" in json.loads(place.read_text())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--json", ""], "--json is empty"),
        (["--details="], "--details is empty"),
        (["--json", "-", "--details", "-"], "both go to -; name two files"),
        (["--json", "x", "--details", "x"], "both go to x; name two files"),
    ],
)
def test_a_file_to_write_has_a_name_of_its_own(half, more, words, capsys):
    assert main(flags(half, *more)) == 2
    assert words in capsys.readouterr().err


def test_details_on_standard_output_are_json_alone(half, capsys, monkeypatch):
    monkeypatch.chdir(half)
    assert main(flags(half, "--details", "-")) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["scanqa"]["counts"]["questions"] == 4 and "2 of 4" in said.err
    assert sorted(path.name for path in half.iterdir()) == ["annotation", "half"]


def test_the_page_says_so(half):
    out = pages.report(half / "half", half / "annotation", half / "out").read_text()
    assert "2 of 4 questions answered" in out and "none of 3 questions has an answer" in out


def test_complete_answers_may_be_required(half, capsys):
    assert main(flags(half, "--require-complete")) == 1
    said = capsys.readouterr().err
    assert "scanqa: 2 of 4 questions have no answer" in said and "sqa3d: none of 3 questions" in said
    write(half / "half" / "scanqa.json", [answer(n) for n in range(4)])
    assert main(flags(half, "--require_complete", "--tasks", "scanqa")) == 0
    (half / "annotation" / "scanqa_val.json").unlink()
    assert main(flags(half, "--require-complete", "--tasks", "scanqa")) == 1
    assert "no question file says of how many" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["qwenvl_scanqa/predictions_chunk_1.json"], "of the chunks 0 there is no file"),
        (["m_scanqa/predictions_chunk_0.json", "m_scanqa/predictions_chunk_3.json"], "of the chunks 1, 2 there is no"),
        (["scanqa.shard1.jsonl"], "of the shards 0 there is no file"),
        (["scanqa.shard0.jsonl", "scanqa.shard2.jsonl"], "of the shards 1 there is no file"),
    ],
)
def test_missing_chunks_and_shards_are_named(tmp_path, names, words):
    for number, name in enumerate(names):
        row = answer(number)
        write(tmp_path / name, json.dumps(row | {"index": number}) + "\n" if name.endswith("l") else [row])
    assert words in score_folder(tmp_path, tmp_path)["scanqa"].warnings[0]


def test_a_line_cut_off_is_a_warning(tmp_path):
    lines = [json.dumps(answer(n, index=n)) for n in range(3)]
    write(tmp_path / "scanqa.jsonl", "\n".join(lines)[:-20])
    assert "line 3 was cut off" in score_folder(tmp_path, tmp_path)["scanqa"].warnings[0]


@pytest.mark.parametrize("task", ["scanqa", "sqa3d"])
def test_answers_that_are_all_unreadable_are_said(tmp_path, task, capsys):
    write(tmp_path / f"{task}.json", [answer(n, pred=" ") for n in range(3)])
    assert main(["--predictions", str(tmp_path), "--annotation_dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "3 answers, 3 answers unreadable" in out and "warning: no answer could be read" in out


def test_a_type_without_questions_has_no_figure(half, capsys):
    write(half / "half" / "sqa3d.json", [answer(n) for n in range(3)])
    main(flags(half, "--json", "-", "--tasks", "sqa3d"))
    found = json.loads(capsys.readouterr().out)["sqa3d"]
    assert {name for name in found if "_type" in name} == {"EM_type0", "EM_refined_type0"}


@pytest.mark.parametrize("name", ["scanqa.json", "mine.json", "mine.jsonl"])
def test_a_file_may_be_given_with_its_task(half, name):
    place = half / "one" / name
    write(place, json.dumps(answer(0, index=0)) + "\n" if name.endswith("l") else [answer(0)])
    assert main(["--predictions", place, "--annotation_dir", half / "annotation", "--tasks", "scanqa"]) == 0


def test_the_task_of_a_file_is_told_by_its_name_or_asked_for(half):
    write(half / "scanqa.json", [answer(0)])
    write(half / "mine.json", [answer(0)])
    assert list(score_folder(half / "scanqa.json", half / "annotation")) == ["scanqa"]
    with pytest.raises(DataError, match="mine.json: a file holds the answers of one task; say which with --tasks"):
        score_folder(half / "mine.json", half / "annotation")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "the folder is empty"),
        (["qa_answers.json", "log.txt"], "there are log.txt, qa_answers.json; a .json or .jsonl file of another name"),
        (["predictions_chunk_0.json"], "give the folder above"),
        (["outputs/run/qwenvl_scanqa/predictions_chunk_0.json"], "predictions lie in .*outputs/run: give one"),
    ],
)
def test_what_lies_in_a_folder_without_answers_is_said(tmp_path, names, words):
    (tmp_path / "p").mkdir()
    for name in names:
        write(tmp_path / "p" / name, [answer(0)])
    with pytest.raises(DataError, match=f"no answers here .looked for .*; .*{words}"):
        score_folder(tmp_path / "p", tmp_path)
    with pytest.raises(DataError, match=f"no answers for 'scanqa' .*{words}"):
        score_folder(tmp_path / "p", tmp_path, "scanqa")


def test_counts_of_a_task_are_of_its_answers(half):
    found = read_answered(half / "half", half / "annotation", "scanqa")
    assert (found.questions, [row.index for row in found.rows]) == (4, [0, 3])
