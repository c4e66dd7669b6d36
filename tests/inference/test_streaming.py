"""Answers of servers while they grow: what is sent, what is read, and what is refused."""

import json

import pytest
from chat_server import ChatServer
from PIL import Image

from gpt4scene.chat.served import ServerAsker
from gpt4scene.data.vision import VisionRule
from gpt4scene.errors import DataError, WorkError
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.streaming import StreamingEngine, read_events
from gpt4scene.types import Question, Turn


@pytest.fixture
def server():
    server = ChatServer()
    yield server
    server.close()


@pytest.fixture
def question(tmp_path):
    Image.new("RGB", (56, 56)).save(tmp_path / "a.png")
    return Question("chat", 0, "room", "What is there?", (str(tmp_path / "a.png"),))


def event(**delta):
    return {"choices": [{"delta": delta, "finish_reason": None}]}


def stream(*events):
    """The body of a reply with these events."""
    lines = [*(json.dumps(one) for one in events), "[DONE]"]
    return "".join(f"data: {line}\n\n" for line in lines)


USAGE = {"prompt_tokens": 90, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 80}}
ENDED = {"choices": [{"delta": {}, "finish_reason": "stop"}]}


def test_a_stream_becomes_an_answer_and_the_second_question_goes_by_names(server, question):
    server.answer = lambda prompt: stream(
        event(role="assistant"), event(content="It "), event(content="is."), ENDED, {"choices": [], "usage": USAGE}
    )
    asker = ServerAsker(StreamingEngine(server.url, "qwen", VisionRule(image_resolution=56)), "a server")
    asker._engine.identity()
    pieces = [*asker.ask(question, GenerationSettings(max_new_tokens=9))]
    assert [piece.text for piece in pieces] == ["It ", "is.", ""]
    outcome = pieces[-1].outcome
    assert (outcome.text, outcome.prompt_tokens, outcome.known_tokens, outcome.tokens) == ("It is.", 90, 80, 4)
    assert 0 < outcome.first_seconds <= outcome.seconds and outcome.finish_reason == "stop"
    earlier = (Turn("user", "<image>What is here?"), Turn("assistant", "A \\<image>."))
    follow = Question("chat", 0, "room", "And there?", question.images, earlier=earlier)
    [*asker.ask(follow, GenerationSettings())]
    whole, short = server.bodies[-2:]
    assert whole["stream"] and whole["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png")
    assert [message["role"] for message in short["messages"]] == ["user", "assistant", "user"]
    assert short["messages"][0]["content"][0]["image_url"] is None
    assert [message["content"] for message in short["messages"][1:]] == ["A <image>.", "And there?"]


def test_a_server_that_forgot_the_images_gets_them_again(server, question):
    server.answer = lambda prompt: stream(event(content="Yes."), ENDED)
    engine = StreamingEngine(server.url, "qwen", VisionRule(image_resolution=56))
    engine.identity()
    assert "".join(one.text for one in engine.stream(question, GenerationSettings(), named=True)) == "Yes."
    assert len(server.bodies) == 3  # the probe, the names, the images


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ((404, {"error": {"message": "no such model"}}), DataError, "no such model"),
        ((503, {"error": {"message": "busy"}}), WorkError, "busy"),
        ("<html>a proxy</html>", DataError, "no stream of an answer: a proxy"),
        ("data: {\n\n", DataError, "no JSON"),
        ('data: {"error": {"message": "out of memory"}}\n\n', WorkError, "out of memory"),
        ("data: " + json.dumps(event(content="It")) + "\n\n", WorkError, "broke the answer off"),
        (stream({"choices": [{"delta": {}, "finish_reason": "abort"}]}), WorkError, "did not end by itself"),
    ],
)
def test_what_is_no_answer_is_said_in_one_sentence(server, question, answer, kind, words):
    server.answer = lambda prompt: answer
    engine = StreamingEngine(server.url, "qwen", VisionRule(image_resolution=56))
    with pytest.raises(kind, match=words):
        [*engine.stream(question, GenerationSettings())]


def test_thoughts_come_apart_and_a_server_out_of_reach_is_said(server, question):
    server.answer = lambda prompt: stream(event(reasoning_content="So."), event(content="Red."), ENDED)
    engine = StreamingEngine(server.url, "qwen", VisionRule(image_resolution=56))
    pieces = [*ServerAsker(engine, "a server").ask(question, GenerationSettings())]
    assert (pieces[0].thought, pieces[1].text, pieces[-1].outcome.answer) == ("So.", "Red.", "Red.")
    assert pieces[-1].outcome.text == "<think>So.</think>Red."
    assert [*read_events([": ping", "", "data: [DONE]", "data: {"], "here")] == []
    server.close()
    with pytest.raises(WorkError, match="can't be reached"):
        [*engine.stream(question, GenerationSettings())]
