"""Answers by id against official files alone: nothing is prepared, nothing converted."""

import json

import pytest

from gpt4scene.benchmarks.references import read_references, reference_files
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.score import score_folder
from gpt4scene.benchmarks.signature import split_named
from gpt4scene.errors import ConfigError, DataError

SCANQA = [
    {"scene_id": "scene0001_00", "question_id": "val-a", "question": "What is it?", "answers": ["chair", "a chair"]},
    {"scene_id": "scene0001_00", "question_id": "val-b", "question": "How many?", "answers": ["two"]},
    {"scene_id": "scene0002_00", "question_id": "val-c", "question": "What color?", "answers": ["red"]},
]
SQA_QUESTIONS = {
    "questions": [{"scene_id": "s1", "question_id": 7, "situation": "I sit.", "question": "What is it?"}],
}
SQA_ANSWERS = {"annotations": [{"scene_id": "s1", "question_id": 7, "answers": [{"answer": "lamp"}]}]}


def write(path, content):
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    """METEOR is no part of this; without Java a call takes no time."""
    monkeypatch.setattr("gpt4scene.metrics.texts.find_java", lambda: None)


@pytest.fixture
def official(tmp_path):
    return write(tmp_path / "ScanQA_v1.0_val.json", SCANQA)


def scored(tmp_path, answers, official, task="scanqa"):
    path = write(tmp_path / "mine.json", answers)
    return score_folder(path, None, task, references=str(official))[task]


def test_answers_by_id_are_scored_against_the_official_file(tmp_path, official):
    report = scored(tmp_path, {"val-a": "A chair.", "val-b": "three", "val-c": "red"}, official)
    assert report.scores["EM1"] == pytest.approx(2 / 3)
    assert (report.counts["answers"], report.counts["questions"], report.counts["missing questions"]) == (3, 3, 0)


def test_missing_answers_are_counted_and_null_is_an_empty_answer(tmp_path, official):
    report = scored(tmp_path, {"val-a": None, "val-c": "red"}, official)
    assert (report.counts["missing questions"], report.counts["empty answers"]) == (1, 1)
    assert any("1 answers are null" in note for note in report.notes)


def test_an_official_file_is_known_by_its_name_or_the_task_before_it(tmp_path, official):
    other = write(tmp_path / "mine_val.json", SCANQA)
    assert reference_files(str(official), None) == {"scanqa": [official]}
    assert reference_files(f"scanqa={other}", None) == {"scanqa": [other]}
    assert reference_files(str(other), ["scanqa"]) == {"scanqa": [other]}
    with pytest.raises(ConfigError, match="mine_val.json: say of which task it is"):
        reference_files(str(other), None)
    with pytest.raises(ConfigError, match="is of 'scanqa', which --tasks leaves out"):
        reference_files(str(official), ["sqa3d", "vsibench"])
    with pytest.raises(ConfigError, match="there is no such file"):
        reference_files(str(tmp_path / "none.json"), ["scanqa"])


def test_an_official_file_whose_name_has_a_folder_is_known_by_both(tmp_path):
    for folder, name, task in (
        ("VSI-Bench", "test-00000-of-00001.parquet", "vsibench"),
        ("ReVSI/32_frame", "test-00000-of-00001.parquet", "revsi"),
        ("SPAR-Bench/data", "test-00001-of-00004.parquet", "sparbench"),
    ):
        (tmp_path / folder).mkdir(parents=True)
        path = tmp_path / folder / name
        path.write_text("")
        assert reference_files(str(path), None) == {task: [path]}
        assert split_named(path, BENCHMARKS[task]) == "test"


@pytest.mark.parametrize("turned", [False, True])
def test_both_official_files_of_a_task_are_joined_in_any_order(tmp_path, turned):
    paths = [
        write(tmp_path / "v1_balanced_questions_val_scannetv2.json", SQA_QUESTIONS),
        write(tmp_path / "v1_balanced_sqa_annotations_val_scannetv2.json", SQA_ANSWERS),
    ]
    words = ",".join(map(str, reversed(paths) if turned else paths))
    report = score_folder(write(tmp_path / "p.json", {"7": "A lamp."}), None, "sqa3d", references=words)["sqa3d"]
    assert report.scores["EM1"] == 1.0
    with pytest.raises(DataError, match="needs 2 official files, .* found 1"):
        read_references("sqa3d", paths[:1])


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        (
            {"val-x": "a", "val-a": "b"},
            r"'val-x': no question of .* ids there: val-a, val-b, val-c; unknown ids here: val-x",
        ),
        ([{"index": 3, "prediction": "a"}], "question 3 is not in .* which has 3 questions"),
        ([{"index": -1, "prediction": "a"}], "question -1 is not in"),
        ([{"index": 0, "qid": "val-b", "prediction": "a"}], "'index' names row 0 of .* and the id row 1"),
        (
            [{"qid": "val-a", "prediction": "a"}, {"qid": "val-a", "prediction": "b"}],
            "row 1: answers the same question as",
        ),
        ({"val-a": [1, 2]}, "the answer must be a text, found a list of 2"),
    ],
)
def test_answers_that_no_question_has_are_refused_with_the_ids_wanted(tmp_path, official, answers, sentence):
    with pytest.raises(DataError, match=sentence):
        scored(tmp_path, answers, official)


def test_questions_that_share_an_id_are_named_by_place(tmp_path):
    official = write(tmp_path / "ScanQA_v1.0_val.json", [SCANQA[0], {**SCANQA[1], "question_id": "val-a"}])
    with pytest.raises(DataError, match="rows 0 and 1 of .* have this id; name the question by 'index'"):
        scored(tmp_path, {"val-a": "x"}, official)
    rows = [{"index": number, "question_id": "val-a", "prediction": "two"} for number in (0, 1)]
    assert scored(tmp_path, rows, official).scores["EM1"] == 0.5


def test_without_references_answers_by_id_say_what_is_wanted(tmp_path):
    path = write(tmp_path / "scanqa.json", {"val-a": "x"})
    with pytest.raises(
        DataError, match="names its questions by id, and nothing here says what was asked; give --references"
    ):
        score_folder(path, tmp_path)
