"""The command ``judge`` against a small server: what the judge is sent, what is kept, and how a run goes on."""

import json
import os
import signal
import subprocess
import sys

import pytest
from chat_server import reply, wait_for
from commands import judge as judge_main
from commands import score as score_main
from judge_files import WORDS, dataset, metadata, write

from gpt4scene.benchmarks.marking import read_prompts
from gpt4scene.benchmarks.open_eqa import MARKING, report, told
from gpt4scene.benchmarks.score import score_folder
from gpt4scene.files.answers import AnswerRow
from gpt4scene.files.judgements import read_judged


def test_the_judge_gets_the_published_settings_and_one_message(server, call, shared_data):
    server.answer = lambda prompt: reply("Your mark: 4")
    prompts = shared_data / "annotations" / "open_eqa" / "prompts"
    status, err = call(f"--prompts={prompts}")
    assert status == 0 and "the official prompts" in err
    texts = {name: (prompts / f"{name}.txt").read_text().strip() for name in ("mmbench", "mmbench-extra")}
    wanted = []
    for one, word in zip(dataset(), WORDS, strict=True):
        if word is not None:
            extra = {"extra_answers": one["extra_answers"]} if "extra_answers" in one else {}
            text = texts["mmbench-extra" if extra else "mmbench"]
            said = {"blue. I think": "blue."}.get(word, word)
            wanted.append(text.format(question=one["question"], answer="red", prediction=said, **extra))
    settings = {"model": "qwen", "temperature": 0.2, "seed": 1234, "max_tokens": 32}
    assert server.bodies == [{**settings, "messages": [{"role": "user", "content": text}]} for text in wanted]


def test_marks_become_figures_and_name_judge_and_prompts(server, call, kept, figures):
    server.answer = lambda prompt: reply("5" if "object 0" in prompt else "Your mark: 2\nHm.")
    assert call()[0] == 0
    assert {name: one.mark for name, one in kept().items()} == {"q0": 5, "q1": 2, "q2": 2, "q3": 2}
    found = figures()
    assert found.public == {"final_score": pytest.approx(100 * (1 + 3 * 0.25 + 0) / 5)}
    assert found.signature_parts["judge"] == "qwen" and found.signature_parts["prompts"].startswith("gpt4scene ")
    assert any("prompts of gpt4scene's own" in note and "gpt-4-1106-preview" in note for note in found.notes)


def test_json_is_one_object_with_every_task(server, folder, capsys):
    server.answer = lambda prompt: reply("5")
    words = [f"--predictions={folder / 'out'}", f"--base_url={server.url}", "--model=qwen", "--request_limit=1"]
    assert judge_main([*words, f"--references={folder / 'open-eqa-v0.json'}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["open_eqa"]
    assert list(found) == ["by_rule", "by_judge", "without_mark", "left", "path"]
    assert found["by_judge"] == len(server.bodies) == 4


def test_a_task_that_can_not_be_read_is_said_before_the_judge_is_asked(server, call, folder):
    (folder / "out" / "beacon3d_qa.json").write_text(json.dumps({"q": "red"}))
    status, err = call()
    assert status == 1 and "official files of beacon3d_qa" in err
    assert not server.bodies


def test_a_run_without_all_marks_is_not_complete(server, call, folder, capsys):
    server.answer = lambda prompt: reply("Your mark: 4" if "object 0" in prompt else "four")
    assert call()[0] == 0
    words = [f"--predictions={folder / 'out'}", f"--references={folder / 'open-eqa-v0.json'}"]
    assert score_main(words) == 0
    capsys.readouterr()
    assert score_main([*words, "--require_complete"]) == 1
    assert "3 answers have no mark by a judge" in capsys.readouterr().err


@pytest.mark.slow
def test_a_whole_set_judged_by_a_server_has_the_figure_of_the_public_script(server, call, folder, spatial_oracle):
    """Official prompts or not, eight requests at a time: the judge's words by what it was shown."""
    place = spatial_oracle / "open_eqa"
    wanted, words = (json.loads((place / f"{name}.json").read_text()) for name in ("expected", "judge_outputs"))
    (folder / "open-eqa-v0.json").write_bytes((place / "dataset.json").read_bytes())
    (folder / "out" / "open_eqa.json").write_bytes((place / "predictions.json").read_bytes())
    shown = {}
    for one in json.loads((place / "dataset.json").read_text()):
        sent = wanted["prediction_as_sent"][one["question_id"]]
        if sent is not None:
            (message,) = MARKING.messages(read_prompts(MARKING, None), told(AnswerRow("s", sent, source=one)))
            shown.setdefault(message["content"], []).append(words[one["question_id"]])
    server.answer = lambda prompt: reply(shown[prompt].pop(0))
    status, err = call("--request_limit=8")
    assert status == 0 and "12 of them marked by rule" in err
    found = score_folder(folder / "out", None, "open_eqa", references=str(folder / "open-eqa-v0.json"))["open_eqa"]
    assert found.public["final_score"] == pytest.approx(wanted["figures"]["all"]["final_score"], rel=1e-12)


def test_a_file_of_answers_has_its_judgements_beside_it(server, call, folder, figures):
    server.answer = lambda prompt: reply("4")
    path = (folder / "out" / "open_eqa.json").rename(folder / "mine.json")
    assert call(f"--predictions={path}", "--tasks=open_eqa")[0] == 0
    assert (folder / "mine.judged.jsonl").is_file()
    found = score_folder(path, None, "open_eqa", references=str(folder / "open-eqa-v0.json"))["open_eqa"]
    assert found.public == {"final_score": pytest.approx(60)}


def test_nothing_is_asked_again(server, call, kept):
    server.answer = lambda prompt: reply("3")
    call()
    server.asked.clear()
    status, err = call()
    assert status == 0 and server.asked == [] and "4 judged before, 0 to judge" in err


def test_a_limit_is_said_and_the_rest_asked_later(server, call, kept):
    server.answer = lambda prompt: reply("3")
    status, err = call("--limit=1")
    assert status == 0 and "3 answers are still to be judged" in err and len(kept()) == 1
    call()
    assert len(kept()) == 4 and len(server.asked) == 4


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_and_a_torn_line_is_asked_again(server, call, folder, kept, root):
    server.answer = lambda prompt: None if "object 2" in prompt else reply("4")
    words = [f"--predictions={folder / 'out'}", f"--base_url={server.url}", "--model=qwen", "--request_limit=1"]
    words += [f"--references={folder / 'open-eqa-v0.json'}"]
    command = [sys.executable, "-m", "gpt4scene", "judge", *words]
    running = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(root / "src")}, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(server.asked) == 3 and len(kept_or_none(folder)) == 2)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert set(kept()) == {"q0", "q1"}
    path = folder / "out" / "open_eqa.judged.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    server.answer = lambda prompt: reply("2")
    server.asked.clear()
    assert call()[0] == 0
    assert {name: one.mark for name, one in kept().items()} == {"q0": 4, "q1": 2, "q2": 2, "q3": 2}
    assert len(server.asked) == 3


@pytest.mark.slow
def test_ctrl_c_ends_at_once_and_keeps_what_came(server, folder, kept, root):
    server.answer = lambda prompt: reply("4") if "object 0" in prompt else None
    words = [f"--predictions={folder / 'out'}", f"--base_url={server.url}", "--model=qwen"]
    words += [f"--references={folder / 'open-eqa-v0.json'}"]
    command = [sys.executable, "-m", "gpt4scene", "judge", *words]
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len(server.asked) == 4 and len(kept_or_none(folder)) == 1)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=20)
    assert running.returncode == 130 and "judgements so far are kept" in err
    assert set(kept()) == {"q0"}


def kept_or_none(folder):
    path = folder / "out" / "open_eqa.judged.jsonl"
    return read_judged(path).found if path.is_file() else {}


def test_a_failing_server_keeps_what_came(server, call, kept):
    server.answer = lambda prompt: (401, {"error": {"message": "no key"}}) if "object 2" in prompt else reply("4")
    status, err = call()
    assert status == 1 and "question q2: the server refused the request: no key" in err and "OPENAI_API_KEY" in err
    assert set(kept()) == {"q0", "q1"}


@pytest.mark.slow
@pytest.mark.parametrize("odd", ["Your mark: four", "", " 5", "4/5", "²", None])
def test_a_judgement_without_a_mark_is_kept_named_and_asked_again_not_for_ever(server, call, kept, figures, odd):
    answer = reply(odd) if odd is not None else reply(None, refusal="I can't")
    server.answer = lambda prompt: answer if "object 1" in prompt else reply("5")
    status, err = call("--asks=2")
    assert status == 0 and "question q1: no mark in '" in err and "is asked again by the same command" in err
    assert kept()["q1"].mark is None and kept()["q3"].mark == 5
    found = figures()
    assert found.public == {} and found.scores["overall"] == 0.75 and "1 judgements hold no mark" in found.warnings[0]
    server.asked.clear()
    assert "was asked 2 times (--asks)" in call("--asks=2")[1] and len(server.asked) == 1
    server.asked.clear()
    call("--asks=2")
    assert server.asked == []
    server.answer = lambda prompt: reply("1")
    assert call("--asks=3")[0] == 0 and kept()["q1"].mark == 1


@pytest.mark.slow
def test_every_output_that_stops_the_public_script_is_kept_without_a_mark(server, call, folder, kept, spatial_oracle):
    outputs = json.loads((spatial_oracle / "open_eqa" / "expected.json").read_text())["judge_parsing"]
    (folder / "open-eqa-v0.json").write_text(json.dumps(dataset(len(outputs))))
    write(folder / "out", [f"answer {number}" for number in range(len(outputs))])
    by_question = {f"What is object {number}?\n": one["output"] for number, one in enumerate(outputs)}
    server.answer = lambda prompt: reply(next(text for name, text in by_question.items() if name in prompt))
    assert call()[0] == 0
    assert [kept()[f"q{number}"].mark for number in range(len(outputs))] == [one.get("mark") for one in outputs]
    assert [kept()[f"q{number}"].text for number in range(len(outputs))] == [one["output"] for one in outputs]


def test_a_server_without_a_list_of_models_is_asked_all_the_same(server, call, kept):
    server.models, server.answer = None, lambda prompt: reply("4")
    status, err = call()
    assert status == 0 and "has no list of models" in err and len(kept()) == 4


def test_another_length_of_judgements_is_part_of_the_judges_name(server, call, figures):
    server.answer = lambda prompt: reply("4")
    call("--max_new_tokens=500")
    assert server.bodies[-1]["max_tokens"] == 500
    assert figures().signature_parts["judge"] == "qwen, max_tokens 500"


def test_only_what_no_rule_decides_is_asked(server, call, folder, kept):
    (folder / "metadata_scannet_qa.json").write_text(json.dumps(metadata()))
    (folder / "out" / "open_eqa.json").unlink()
    said = {
        "1_0_class": "The red",
        "1_1_class": "Yes, it is",
        "1_2_class": "round",
        "2_0_class": "dark blue",
        "2_1_class": "right",
        "2_2_class": "north",
    }
    answers = {f"scene0000_00_{name}_0": text for name, text in said.items()}
    (folder / "out" / "beacon3d_qa.json").write_text(json.dumps(answers))
    server.answer = lambda prompt: reply("Score: 4" if "dark blue" in prompt else "1")
    status, err = call(references="metadata_scannet_qa.json")
    assert status == 0, err
    assert "4 of them marked by rule" in err
    assert [body["messages"][-1]["content"] for body in server.bodies] == [
        "Question: 2 0?\nAnswer: dark blue\nGround Truth: ['blue']",
        "Question: 2 1?\nAnswer: right\nGround Truth: ['left']",
    ]
    assert [message["role"] for message in server.bodies[0]["messages"]] == ["system", "user"]
    assert set(server.bodies[0]) == {"model", "messages"}
    found = score_folder(folder / "out", None, "beacon3d_qa", references=str(folder / "metadata_scannet_qa.json"))
    assert found["beacon3d_qa"].scores["object"] == 0.5 and found["beacon3d_qa"].public["object"] == 50


def test_two_questions_with_one_id_are_told_apart(server, call, folder):
    """One object number may stand in two classes, and the ids of the official form do not say the class."""
    content = metadata()
    content["scene0000_00"]["lamp"] = {
        "2": {
            "qa": [
                {**one, "question": f"lamp {one['question']}"} for one in metadata()["scene0000_00"]["chair"]["2"]["qa"]
            ]
        }
    }
    path = folder / "metadata_scannet_qa.json"
    path.write_text(json.dumps(content))
    rows = [{"scene_id": "scene0000_00", "response_pred": word} for word in ("red", "yes", "round", *"abcdef")]
    (folder / "out" / "beacon3d_qa.json").write_text(json.dumps(rows))
    server.answer = lambda prompt: reply("4" if "lamp" in prompt else "2")
    assert call("--tasks=beacon3d_qa", references=path.name)[0] == 0
    found = score_folder(folder / "out", None, "beacon3d_qa", references=str(path))["beacon3d_qa"]
    assert found.public["case"] == pytest.approx(((5 * 3 + 2 * 3 + 4 * 3) / 9 - 1) / 4 * 100)
    assert found.public["object"] == pytest.approx(200 / 3)


def test_answers_of_other_tasks_are_not_looked_at(server, call, folder):
    (folder / "metadata_scannet_qa.json").write_text(json.dumps(metadata()))
    (folder / "out" / "beacon3d_qa.json").write_text(json.dumps({"scene0000_00_1_0_class_0": "green"}))
    (folder / "out" / "beacon3d_grounding.json").write_text("{}")
    server.answer = lambda prompt: reply("2")
    assert call("--tasks=beacon3d_qa", references="metadata_scannet_qa.json")[0] == 0


def test_the_published_system_prompt_is_sent_as_it_is(server, call, folder, shared_data):
    (folder / "metadata_scannet_qa.json").write_text(json.dumps(metadata()))
    (folder / "out" / "beacon3d_qa.json").write_text(json.dumps({"scene0000_00_1_0_class_0": "green"}))
    place = shared_data / "annotations" / "beacon3d"
    server.answer = lambda prompt: reply("2")
    status, err = call(f"--prompts={place}", "--tasks=beacon3d_qa", references="metadata_scannet_qa.json")
    assert status == 0 and "the official prompts" in err
    assert server.bodies[0]["messages"][:1] == json.loads((place / "system_prompt.json").read_text())


def test_answers_of_question_files_are_judged_as_those_of_official_files(server, call, folder, kept):
    """The hash of what the judge is told is that of the official row, whatever file it came through."""
    server.answer = lambda prompt: reply("4")
    call()
    rows = [
        AnswerRow("s", word or "", qid=f"q{number}", source=one, null=word is None, judged=kept().get(f"q{number}"))
        for number, (one, word) in enumerate(zip(dataset(), WORDS, strict=True))
    ]
    assert report(rows).public == {"final_score": pytest.approx(100 * (4 * 0.75) / 5)}
    assert told(rows[4]) is None


def test_the_signature_names_judge_and_prompts(server, call, figures):
    server.answer = lambda prompt: reply("4")
    call()
    parts = dict(part.split(":", 1) for part in figures().signature.split("|")[1:])
    assert parts["judge"] == "qwen" and parts["prompts"].startswith("gpt4scene") and parts["rules"] == "official"
