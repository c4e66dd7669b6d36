"""The command ``judge`` refuses what it could only misread, and names it: servers, judgements, answers and calls."""

import json

import pytest
from chat_server import reply
from judge_files import WORDS, write

from gpt4scene.benchmarks.open_eqa import MARKING
from gpt4scene.inference import judge


def test_a_server_that_is_no_judge_ends_the_run(server, call, folder, kept, monkeypatch):
    monkeypatch.setattr(judge, "HOPELESS", 3)
    server.answer = lambda prompt: reply("I am a happy little model.")
    status, err = call()
    assert status == 1 and "the first 3 judgements hold no mark (the last: 'I am a happy little model.')" in err
    assert len(kept()) == 3


def test_two_models_behind_one_name_are_not_mixed(server, call, kept):
    server.answer = lambda prompt: reply("4", model="other" if "object 2" in prompt else "qwen")
    status, err = call()
    assert status == 1 and "'other' judges now, and 'qwen' before it" in err
    assert "other" not in {one.judge for one in kept().values()} and set(kept()) == {"q0", "q1"}


def test_another_judge_other_prompts_and_other_answers_are_refused(server, call, folder, tmp_path, figures):
    server.answer = lambda prompt: reply("4")
    call()
    status, err = call("--model=gpt")
    assert status == 1 and "holds judgements of another judge (judge: qwen, now gpt)" in err
    for name in MARKING.prompts:
        (tmp_path / name).write_text("Grade. {question} {answer} {prediction}")
    status, err = call(f"--prompts={tmp_path}")
    assert status == 1 and "prompts: gpt4scene" in err and "--overwrite" in err
    write(folder / "out", ("green", *WORDS[1:]))
    status, err = call()
    assert status == 1 and "judges another answer to question 'q0' than" in err
    with pytest.raises(ValueError, match="marks another answer to question 'q0'"):
        figures()
    assert call("--overwrite")[0] == 0 and figures().public


def test_a_server_that_is_away_or_serves_another_model_is_named_and_nothing_left_behind(server, call, folder):
    status, err = call("--model=qwem")
    assert status == 2 and "serves no model 'qwem'; did you mean 'qwen'?" in err
    status, err = call("--base_url=http://127.0.0.1:9/v1")
    assert status == 1 and "the server can't be reached" in err and "trying again" not in err
    assert not (folder / "out" / "open_eqa.judged.jsonl").exists()


def test_a_line_that_is_no_judgement_is_named(server, call, folder, figures):
    server.answer = lambda prompt: reply("4")
    call()
    path = folder / "out" / "open_eqa.judged.jsonl"
    path.write_text(path.read_text().replace('"mark": 4', '"mark": "four"', 1))
    with pytest.raises(ValueError, match="line 2: this is no judgement"):
        figures()
    path.write_text("{broken\n" + path.read_text())
    with pytest.raises(ValueError, match="line 1: not a whole JSON line"):
        figures()


def test_marks_of_a_file_and_judgements_are_not_mixed(server, call, folder, figures):
    marks = folder / "out" / "open_eqa.marks.json"
    marks.write_text(json.dumps({"q0": 5}))
    status, err = call()
    assert status == 1 and "holds marks of these answers already" in err
    assert figures().counts["answers without a mark"] == 3
    marks.write_text(json.dumps({"q0": None}))
    with pytest.raises(ValueError, match="a mark must be a whole number, found None"):
        figures()


def test_a_prompt_that_names_what_an_answer_does_not_have_is_refused(server, call, tmp_path):
    for name in MARKING.prompts:
        (tmp_path / name).write_text("Grade. {question} {prediction} {extra_answers}")
    status, err = call(f"--prompts={tmp_path}")
    assert status == 1 and "mmbench.txt: {extra_answers} is not known of this answer" in err and not server.asked


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--tasks=scanqa"], "'scanqa' needs no judge (those that do: open_eqa, beacon3d_qa)"),
        (["--tasks=open_eqq"], "task 'open_eqq' is not known; did you mean 'open_eqa'?"),
        (["--base_url=localhost"], "--base_url must be an address"),
        (["--prompts=nowhere"], "nowhere: there is no such folder; --prompts"),
        (["--predictions=nowhere"], "nowhere: there is no such folder or file"),
        (["--asks=0"], "--asks"),
        (["--timeout=inf"], "--timeout must be a finite number"),
        (["--references="], "give --annotation_dir DIR with question files, or --references FILES"),
    ],
)
def test_a_wrong_call_is_one_sentence(call, flags, sentence):
    status, err = call(*flags)
    assert status == 2 and sentence in err


def test_a_folder_without_such_answers_is_named(call, folder):
    (folder / "out" / "open_eqa.json").unlink()
    status, err = call()
    assert status == 1 and "no answers here that a judge marks (open_eqa, beacon3d_qa)" in err
