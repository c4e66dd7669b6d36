"""OpenEQA: what the judge is told, how its words are read, and the figures of the public script."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.benchmarks.marking import Marking, read_prompts
from gpt4scene.benchmarks.open_eqa import (
    BENCHMARK,
    MARKING,
    as_sent,
    final_score,
    read_mark,
    report,
    scene_of,
    score_of,
    told,
)
from gpt4scene.benchmarks.score import score_files, score_folder
from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow
from gpt4scene.files.judgements import read_judgements
from gpt4scene.files.raw import Record
from gpt4scene.types import Judgement


@pytest.fixture(scope="module")
def folder(spatial_oracle):
    return spatial_oracle / "open_eqa"


@pytest.fixture(scope="module")
def expected(folder):
    return json.loads((folder / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def questions(folder):
    return {row["question_id"]: row for row in json.loads((folder / "dataset.json").read_text(encoding="utf-8"))}


@pytest.fixture(scope="module")
def answers(folder, questions):
    """The oracle's answers with the judge's words on them, as scoring takes them."""
    words = json.loads((folder / "judge_outputs.json").read_text(encoding="utf-8"))
    rows = []
    for one in json.loads((folder / "predictions.json").read_text(encoding="utf-8")):
        name, text = one["question_id"], one["answer"]
        null = text is None
        said = None if null else Judgement(read_mark(words[name]), words[name], judge="gpt-4", prompts="official")
        rows.append(
            AnswerRow("s", text or "", qid=name, source=questions[name], null=null, judged=said, origin=f"row {name}")
        )
    return rows


def row(pred="a chair", null=False, judged=None, **official):
    source = {"question_id": "q", "question": "What?", "answer": "a chair", "category": "c", "episode_history": "e/s"}
    return AnswerRow("s", pred, qid="q", source=source | official, null=null, judged=judged)


def test_every_mark_and_the_figure_are_those_of_the_public_script(answers, expected):
    found = report(answers)
    by_name = dict(zip((one.qid for one in answers), found.parsed, strict=True))
    assert by_name == expected["marks"]
    assert {name: 100 * score_of(mark) for name, mark in by_name.items()} == expected["per_row"]
    assert found.public == pytest.approx({"final_score": expected["figures"]["all"]["final_score"]}, rel=1e-12)
    assert found.scores["overall"] == pytest.approx(expected["figures"]["all"]["final_score"] / 100, rel=1e-12)


def test_part_of_the_answers_gives_the_figure_that_the_public_script_is_forced_to(answers, expected):
    figures = expected["figures"]
    assert report(answers[:150]).public["final_score"] == figures["half_of_the_predictions_force"]["final_score"]
    assert report(answers[:5]).public["final_score"] == figures["dry_run"]["final_score"]
    silent = [AnswerRow("s", "", qid=one.qid, source=one.source, null=True) for one in answers]
    assert report(silent).public == {"final_score": figures["all_missing_answers"]["final_score"]}


def test_marks_of_other_questions_count_in_the_public_figure_of_a_file(expected):
    kept = expected["marks"] | expected["scenarios"]["existing_marks"]
    wanted = expected["figures"]["existing_marks_kept"]
    assert len(kept) == wanted["scored"]
    assert final_score(kept.values()) == pytest.approx(wanted["final_score"], rel=1e-12)


def test_the_judge_gets_each_answer_as_the_public_script_sends_it(folder, expected):
    for one in json.loads((folder / "predictions.json").read_text(encoding="utf-8")):
        sent = one["answer"] if one["answer"] is None else as_sent(one["answer"])
        assert sent == expected["prediction_as_sent"][one["question_id"]]


def test_the_judges_words_are_read_as_the_public_script_reads_them(expected):
    found = [read_mark(one["output"]) for one in expected["judge_parsing"]]
    assert found == [one.get("mark") for one in expected["judge_parsing"]]
    assert found.count(None) == 24


def test_official_prompts_are_known_by_their_hash_and_filled_as_published(shared_data, answers, expected):
    prompts = read_prompts(MARKING, shared_data / "annotations" / "open_eqa" / "prompts")
    assert prompts.source == "official"
    hashes = expected["prompt_sha256"]
    filled = {name.split(", ")[1]: wanted for name, wanted in hashes.items() if name.startswith("filled")}
    for one in answers:
        if one.qid in filled:
            (message,) = MARKING.messages(prompts, told(one))
            assert message["role"] == "user"
            assert hashlib.sha256(message["content"].encode()).hexdigest() == filled[one.qid]
    assert len(filled) == 3
    known = {MARKING.prompts["mmbench.txt"], MARKING.prompts["mmbench-extra.txt"]}
    assert known == {wanted for name, wanted in hashes.items() if "stripped" in name}


def test_a_text_with_braces_is_not_filled_again():
    prompts = read_prompts(MARKING, None)
    (message,) = MARKING.messages(prompts, {"question": "{answer}?", "answer": "no", "prediction": "{question} {x}"})
    assert "{answer}?" in message["content"] and "{question} {x}" in message["content"]


def test_other_prompts_are_named_by_their_own_hash(tmp_path):
    for name in MARKING.prompts:
        (tmp_path / name).write_text("Grade: {question} {answer} {prediction}")
    assert read_prompts(MARKING, tmp_path).source.startswith("other ")
    assert read_prompts(MARKING, None).source.startswith("gpt4scene ")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Grade: {question} {anwser}", "{anwser} is no field of this prompt"),
        ("Grade well.", "names no field"),
        ("", "a prompt is a text"),
    ],
)
def test_prompts_that_cannot_be_filled_are_refused(tmp_path, text, sentence):
    for name in MARKING.prompts:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match="mmbench.txt") as error:
        read_prompts(MARKING, tmp_path)
    assert sentence in str(error.value)


def test_a_prompt_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="there is no such prompt; --prompts names a folder with mmbench"):
        read_prompts(MARKING, tmp_path)


def test_an_answer_that_is_null_is_never_shown_to_a_judge():
    assert told(row(null=True)) is None
    assert told(row(pred="")) is not None


def test_without_any_mark_there_is_no_figure_and_the_way_out_is_said():
    found = report([row(), row()])
    assert found.scores == {} and found.public == {}
    assert "gpt4scene judge --tasks open_eqa" in found.warnings[0]


def test_a_judgement_without_a_mark_counts_neither_as_0_nor_as_anything():
    good, odd = Judgement(5, "5"), Judgement(None, "Your mark: four")
    found = report([row(judged=good), row(judged=odd)])
    assert found.scores["overall"] == 1 and found.public == {}
    assert "Your mark: four" in found.warnings[0]
    assert found.counts["answers without a mark"] == 1


def test_verdicts_say_the_mark_and_what_the_judge_saw():
    said = BENCHMARK.judge(row("About 2.5 m", judged=Judgement(3, "3")), {}, None)
    assert (said.verdict, said.reason) == ("partly", "mark 3; the judge saw 'About 2.'")
    assert BENCHMARK.judge(row(), {}, None).verdict == ""


def test_scenes_are_those_that_are_prepared():
    assert scene_of("scannet-v0/002-scannet-scene0709_00") == "scene0709_00"
    assert scene_of("hm3d-v0/000-hm3d-BFRyYbPCCPE") == "000-hm3d-BFRyYbPCCPE"


def test_all_official_questions_are_read(shared_data):
    records = BENCHMARK.read([shared_data / "annotations" / "open_eqa" / "open-eqa-v0.json"])
    rows = [made for record in records for made in BENCHMARK.references(record)]
    assert len(rows) == 1636 and len({made["qid"] for made in rows}) == 1636
    assert len({made["scene_id"] for made in rows}) == 152
    assert isinstance(records[0], Record)


@pytest.mark.slow
@given(st.lists(st.one_of(st.none(), st.integers(-3, 9)), min_size=1), st.randoms())
def test_figures_stay_in_range_and_do_not_depend_on_the_order(marks, random):
    rows = [row(null=mark is None, judged=None if mark is None else Judgement(mark, str(mark))) for mark in marks]
    mixed = list(rows)
    random.shuffle(mixed)
    first, second = report(rows), report(mixed)
    assert 0 <= first.scores["overall"] <= 1
    assert first.scores["overall"] == pytest.approx(second.scores["overall"])


def test_full_marks_and_silence():
    assert report([row(judged=Judgement(5, "5"))] * 3).scores["overall"] == 1
    assert report([row(null=True)] * 3).scores["overall"] == 0


def test_the_official_files_and_a_file_of_marks_give_the_figure(folder, expected, tmp_path):
    (tmp_path / "open_eqa.json").write_bytes((folder / "predictions.json").read_bytes())
    (tmp_path / "open_eqa.marks.json").write_text(json.dumps(expected["marks"]))
    found = score_folder(tmp_path, None, "open_eqa", references=str(folder / "dataset.json"))["open_eqa"]
    assert found.public["final_score"] == pytest.approx(expected["figures"]["all"]["final_score"], rel=1e-12)
    assert np.isfinite(list(found.scores.values())).all()
    assert isinstance(BENCHMARK.marking, Marking)


def test_words_of_a_judge_may_stand_in_place_of_marks(folder, expected, tmp_path):
    (tmp_path / "open_eqa.json").write_bytes((folder / "predictions.json").read_bytes())
    words = json.loads((folder / "judge_outputs.json").read_text(encoding="utf-8"))
    null = [name for name, sent in expected["prediction_as_sent"].items() if sent is None]
    words = {name: text for name, text in words.items() if name not in null}
    (tmp_path / "open_eqa.marks.json").write_text(json.dumps(words))
    found = score_folder(tmp_path, None, "open_eqa", references=str(folder / "dataset.json"))["open_eqa"]
    assert found.public["final_score"] == pytest.approx(expected["figures"]["all"]["final_score"], rel=1e-12)
    (tmp_path / "open_eqa.marks.json").write_text(json.dumps(words | {"q107-0007": "Your mark: four"}))
    found = score_folder(tmp_path, None, "open_eqa", references=str(folder / "dataset.json"))["open_eqa"]
    assert found.public == {} and "Your mark: four" in " ".join(found.warnings)


def test_marks_of_a_file_stand_for_null_answers_too():
    assert report([row(null=True, judged=Judgement(5, "5"))]).scores["overall"] == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"q": 4.5}', "a mark must be a whole number, found 4.5"),
        ('{"q": true}', "a mark must be a whole number, found True"),
        ('["q"]', "expected {question id: mark}"),
        ('[{"question": "x"}]', "'obj_id', 'question' and 'score' are expected"),
        ("", "is empty"),
        ('{"q": 4', "is not JSON"),
    ],
)
def test_a_file_of_marks_in_another_form_is_refused(tmp_path, content, sentence):
    path = tmp_path / "open_eqa.marks.json"
    path.write_text(content)
    with pytest.raises(DataError, match="open_eqa.marks.json") as error:
        read_judgements(tmp_path, "open_eqa")
    assert sentence in str(error.value)


@given(st.one_of(st.text(), st.text().map("Your mark: {}".format), st.integers().map(str)))
def test_any_words_of_a_judge_are_a_mark_or_none(text):
    assert read_mark(text) is None or isinstance(read_mark(text), int)
    assert read_mark("9" * 5000) is None


def test_without_marks_only_the_missing_marks_are_the_warning(folder):
    report = score_files(folder / "predictions.json", folder / "dataset.json", "open_eqa")
    assert not report.scores
    assert [warning for warning in report.warnings if "288 of 288 answers that need a mark have none" in warning]
    assert not [warning for warning in report.warnings if "not chosen" in warning]
