"""Whole runs against a server: what reaches the journal, what ends a run, and which server goes on."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest
from chat_server import reply, wait_for
from commands import infer as main

from gpt4scene.data.vision import VisionRule
from gpt4scene.files import journal
from gpt4scene.inference import plan, requests
from gpt4scene.inference.client import ServerEngine
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.types import Question

PROMPTS = tuple(f"What is object {number}?" for number in range(6))


@pytest.fixture
def flags(server, tmp_path, write_annotation, monkeypatch):
    monkeypatch.setattr(requests, "_pause", lambda number, wish: 0.01)
    folder = write_annotation(tmp_path / "annotation", ["a", "b"], ["scanqa"], PROMPTS)
    needed = [f"--annotation_dir={folder}", f"--output_dir={tmp_path / 'out'}", "--engine=server", "--model=qwen"]
    return lambda *more: [*needed, "--image_resolution=56", f"--base_url={server.url}", *more]


@pytest.fixture
def infer(flags, capsys):
    def call(*more):
        status = main(flags(*more))
        return status, capsys.readouterr().err

    return call


@pytest.fixture
def rows(tmp_path):
    return lambda: journal.ordered_rows(tmp_path / "out", "scanqa")


def test_a_run_writes_every_answer_with_its_end(server, infer, rows):
    server.answer = lambda prompt: reply(prompt.upper(), "length" if "3" in prompt else "stop")
    status, err = infer()
    assert status == 0, err
    assert [(row["pred"], row["finish_reason"]) for row in rows()] == [
        (prompt.upper(), "length" if "3" in prompt else "stop") for prompt in PROMPTS * 2
    ]
    assert "2 answers are cut at --max_new_tokens 128" in err
    first = err.splitlines()[0] if "note" not in err.splitlines()[0] else err.splitlines()[1]
    assert first.startswith(f"model qwen at {server.url}: 12 questions (scanqa 12) about 2 scenes; answers go to ")


@pytest.mark.slow
@pytest.mark.parametrize(("owner", "sent"), [("vllm", -1), ("sglang", -1), ("openai", None)])
def test_draws_are_not_narrowed_by_the_servers_defaults(server, infer, owner, sent):
    server.models[0]["owned_by"] = owner
    assert infer("--temperature=0.7", "--limit=2")[0] == 0
    assert {body.get("top_k") for body in server.bodies[1:]} == {sent}
    server.bodies.clear()
    assert infer("--overwrite", "--limit=2")[0] == 0
    assert not any("top_k" in body for body in server.bodies), "greedy answers need none"


ODD = {
    "content null": reply(None),
    "refusal": reply(None, refusal="no"),
    "tool calls": reply(None, "tool_calls", tool_calls=[{"id": "1"}]),
    "reasoning only": reply(None, "length", reasoning_content="Hm"),
    "no choices": {**reply(), "choices": []},
    "html": "<html>Welcome to nginx</html>",
    "no message": {**reply(), "choices": [{"text": "A chair."}]},
    "a list with more": reply([{"type": "output_audio"}]),
    "error with status 200": {"error": {"message": "out of memory"}},
    "status 400": (400, {"error": {"message": "too long"}}),
}


@pytest.mark.slow
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_reply_is_no_row_and_names_task_and_row(server, infer, rows, odd):
    server.answer = lambda prompt: ODD[odd] if prompt == PROMPTS[4] else reply()
    status, err = infer()
    assert status == 1 and "scanqa, row 4: " in err.splitlines()[-1]
    kept = rows()
    assert kept and all(row["pred"] == "A chair." for row in kept) and 4 not in {row["index"] for row in kept}
    assert 0 in {row["index"] for row in kept}
    server.answer = lambda prompt: reply()
    assert infer()[0] == 0 and len(rows()) == 12


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "  \n", [], "\u200b", "\u00a0\ufeff"])
def test_an_empty_answer_is_written_only_when_wanted(server, infer, rows, text):
    server.answer = lambda prompt: reply(text) if prompt == PROMPTS[4] else reply()
    status, err = infer()
    assert status == 1 and "2 answers are empty and not written (the first: scanqa, row 4)" in err
    assert "2 of 12 questions have no answer (the first: scanqa, row 4)" in err.splitlines()[-1]
    assert [row["index"] for row in rows()] == [index for index in range(12) if index % 6 != 4]
    assert infer("--keep_empty")[0] == 0
    assert len(rows()) == 12


def test_answers_of_other_requests_are_kept_when_one_fails(server, infer, rows):
    def answer(prompt):
        if prompt == PROMPTS[1]:
            wait_for(lambda: set(server.asked) == set(PROMPTS))
            return 400, {"error": {"message": "too long"}}
        time.sleep(0.3 if prompt != PROMPTS[0] else 0)
        return reply()

    server.answer = answer
    status, err = infer("--branch_limit=8")
    assert status == 1 and "row 1: " in err and "too long" in err
    assert {row["index"] for row in rows()} == {0, 2, 3, 4, 5}, "those under way are waited for"


def test_a_server_that_went_away_leaves_what_it_answered(server, infer, rows):
    server.answer = lambda prompt: reply() if prompt in PROMPTS[:3] else lambda file: None
    status, err = infer("--retries=1", "--branch_limit=1")
    assert status == 1 and "row 3: the server can't be reached" in err.splitlines()[-1]
    assert "(tried 2 times); once the server answers, the same command goes on" in err.splitlines()[-1]
    assert [row["index"] for row in rows()] == [0, 1, 2]
    server.answer = lambda prompt: reply()
    assert infer()[0] == 0 and len(rows()) == 12


def test_the_servers_list_must_hold_the_name(server, infer, tmp_path):
    server.models = [{"id": "qwen-7b"}, {"id": "llama"}]
    status, err = infer()
    assert status == 2 and "serves no model 'qwen'" in err and "did you mean 'qwen-7b'" in err and "llama" in err
    assert not server.asked


@pytest.mark.parametrize("models", [None, [], [{"name": "?"}]])
def test_a_server_without_a_list_is_taken_with_a_note(server, infer, rows, models):
    server.models = models
    status, err = infer()
    assert status == 0 and "note: " in err and "is not checked" in err and len(rows()) == 12


def test_an_absent_server_is_said_at_once(flags, capsys):
    assert main(flags("--base_url=http://127.0.0.1:9/v1")) == 1
    said = capsys.readouterr().err
    assert "http://127.0.0.1:9/v1: the server can't be reached" in said.splitlines()[-1]
    assert "trying again" not in said and "tried" not in said


def restarted(server):
    server.models[0]["created"] = 2


def other_root(server):
    server.models[0]["root"] = "/models/b"


def other_owner(server):
    server.models[0]["owned_by"] = "sglang"


def other_words(server):
    server.probe = lambda: reply("A chair of wood.")


def other_model_in_replies(server):
    server.probe = lambda: reply("A wooden chair.", model="qwen-2025")


def other_fingerprint(server):
    server.probe = lambda: {**reply("A wooden chair."), "system_fingerprint": "fp_2"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "word"),
    [
        (restarted, None),
        (other_root, "/models/b"),
        (other_owner, "sglang"),
        (other_words, "A chair of wood"),
        (other_model_in_replies, "qwen-2025"),
        (other_fingerprint, "fp_2"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_another_model_behind_the_same_name_does_not_go_on(server, infer, rows, change, word):
    assert infer("--limit=2")[0] == 0
    asked = len(server.asked)
    change(server)
    status, err = infer()
    if word is None:
        assert status == 0 and len(rows()) == 12
    else:
        assert status == 1 and "server: " in err and word in err and len(server.asked) == asked


def test_another_model_that_answers_in_mid_run_ends_it(server, infer, rows):
    server.answer = lambda prompt: reply(model="qwen" if prompt != PROMPTS[4] else "llama-small")
    status, err = infer("--branch_limit=1")
    assert status == 1 and "row 4: 'llama-small' answered, and 'qwen' before it" in err.splitlines()[-1]
    assert [row["index"] for row in rows()] == [0, 1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize(
    "change", [restarted, other_root, other_words, other_model_in_replies, other_fingerprint], ids=lambda c: c.__name__
)
def test_another_model_that_comes_back_in_mid_run_is_not_asked_on(server, infer, rows, change, status):
    """The server is away for a moment, as at a restart."""
    left = [status]

    def answer(prompt):
        if prompt == PROMPTS[3] and left:
            change(server)
            return left.pop(), {}
        return reply("Of the second." if not left else "Of the first.")

    server.answer = answer
    result, err = infer("--branch_limit=1")
    if change is restarted:
        assert result == 0 and len(rows()) == 12
    else:
        assert result == 1 and "scanqa, row 3: the server that came back answers otherwise" in err.splitlines()[-1]
        assert [row["pred"] for row in rows()] == ["Of the first."] * 3


@pytest.mark.parametrize(("tokens", "early"), [(7, True), (8, False), (0, False), (None, False)])
def test_an_answer_cut_by_the_servers_context_is_said(server, infer, tokens, early):
    body = {**reply("A chair and", "length"), "usage": {"completion_tokens": tokens}}
    server.answer = lambda prompt: body if prompt == PROMPTS[2] else reply()
    status, err = infer("--max_new_tokens=8")
    said = "row 2: the server cut the answer after 7 tokens, below --max_new_tokens 8"
    assert status == 0 and err.count(said) == early and err.count("the server cut") == early


def test_a_server_that_first_said_nothing_of_itself_goes_on(server, infer, rows):
    models, probe = server.models, server.probe
    server.models, server.probe = None, lambda: (500, {})
    server.answer = lambda prompt: (500, {})
    assert infer()[0] == 1
    server.models, server.probe, server.answer = models, probe, lambda prompt: reply()
    assert infer()[0] == 0 and len(rows()) == 12


def test_a_finished_run_needs_no_server(server, infer, rows):
    assert infer()[0] == 0
    server.models, server.probe = [{"id": "other"}], lambda: (500, {})
    assert infer()[0] == 0 and len(rows()) == 12


def test_journal_of_an_earlier_version_goes_on(server, infer, rows, tmp_path):
    """Its settings know no server and hash images by name and size."""
    assert infer("--limit=2")[0] == 0
    path = tmp_path / "out" / "scanqa.jsonl"
    header, *lines = path.read_text().splitlines()
    settings = json.loads(header)["settings"]
    del settings["server"]
    questions = plan.load_questions(tmp_path / "annotation", "scanqa")
    settings["pictures"] = plan._names_and_sizes(questions)
    old = [json.dumps({"settings": settings, "fingerprint": journal.fingerprint(settings)})]
    for line in lines:
        row = json.loads(line)
        del row["images"], row["finish_reason"]
        old.append(json.dumps(row))
    path.write_text("\n".join([*old, ""]))
    status, err = infer()
    assert status == 0, err
    assert len(rows()) == 12
    image = next((tmp_path / "annotation" / "images").iterdir())
    path.write_text("\n".join([*old, ""]))
    image.write_bytes(image.read_bytes() + b" ")
    status, err = infer()
    assert status == 1 and "pictures: " in err


@pytest.mark.slow
@pytest.mark.parametrize("hangs_at", ["probe", "first", "others"])
def test_the_first_ctrl_c_ends_a_hung_run_and_keeps_answers(python, server, flags, rows, hangs_at):
    if hangs_at == "probe":
        server.probe = lambda: None
    kept = {"first": 0, "others": 3}.get(hangs_at, 0)
    server.answer = lambda prompt: reply() if prompt in PROMPTS[:kept] else None
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [python, "-m", "gpt4scene", "infer", *flags()]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        wait_for(lambda: len(server.asked) >= (6 if kept else 1) or (hangs_at == "probe" and server.bodies))
        time.sleep(0.5)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
        assert time.monotonic() - start < 5
    finally:
        process.kill()
    assert process.returncode == 130, said
    assert "the same command goes on" in said and "Traceback" not in said
    assert len(rows()) == kept


def test_an_image_replaced_under_the_same_path_is_sent_anew(server, scenes, tmp_path):
    path = tmp_path / "a.png"
    shutil.copy(scenes[0][0].images[0], path)
    engine = ServerEngine(server.url, "qwen", VisionRule(image_resolution=56))
    question = Question("scanqa", 0, "s", "What?", (str(path),))
    before = engine._asked(question, GenerationSettings())
    shutil.copy(scenes[1][0].images[0], path)
    after = engine._asked(question, GenerationSettings())
    assert before != after and after == engine._asked(question, GenerationSettings())
