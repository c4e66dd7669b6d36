import base64
import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from chat_server import wait_for
from PIL import Image

from gpt4scene.data.image_files import patches
from gpt4scene.data.vision import VisionRule
from gpt4scene.errors import ConfigError, DataError, WorkError
from gpt4scene.inference.client import ServerEngine
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.pictures import picture
from gpt4scene.types import Question

pytest.importorskip("httpx")


@pytest.fixture
def server():
    """A small server that answers with the length of the prompt, and keeps the requests. ``status`` makes it refuse."""

    class Handler(BaseHTTPRequestHandler):
        requests: list = []
        keys: set = set()
        begun_before_first_reply = 0
        status = 200
        held = None

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.held:
                self.held(body)
            self.requests.append(body)
            self.keys.add(self.headers["Authorization"])
            if len(self.requests) == 1:
                time.sleep(0.3)
                type(self).begun_before_first_reply = len(self.requests)
            prompt = body["messages"][-1]["content"][-1]["text"]
            reply = {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": f"{len(prompt)}."},
                    }
                ],
                "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
            }
            if self.status != 200:
                reply = {"error": {"message": "the model is not loaded", "type": "bad"}}
            content = json.dumps(reply).encode()
            self.send_response(self.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    Handler.url = f"http://127.0.0.1:{http.server_port}/v1"
    yield Handler
    http.shutdown()
    http.server_close()


def test_questions_of_a_scene_come_together_with_the_same_images(server, scenes):
    engine = ServerEngine(server.url, "qwen", VisionRule(image_resolution=112), request_limit=3)
    settings = GenerationSettings(max_new_tokens=7)
    answered = [list(answers) for answers in engine.answer_scenes(scenes, settings)]
    for questions, answers in zip(scenes, answered, strict=True):
        found = {answer.question.key: (answer.text, answer.tokens) for answer in answers}
        assert found == {question.key: (f"{len(question.prompt)}.", 2) for question in questions}
    asked = server.requests
    assert len(asked) == sum(map(len, scenes))
    images = [json.dumps(body["messages"][0]["content"][:3]) for body in asked]
    first, second = images[0], next(one for one in images if one != images[0])
    half = len(scenes[0])
    assert (images.count(first), images.count(second)) == (half, half)
    # the second scene's first request is sent while the first scene's last ones are under way: either may arrive first
    assert images.count(second) - images[half:].count(second) <= 1 and images.index(second) >= half - 3
    assert asked[0]["messages"][0]["content"][-1] == {"type": "text", "text": scenes[0][0].prompt}
    assert (asked[0]["model"], asked[0]["max_tokens"], asked[0]["temperature"]) == ("qwen", 7, 0.0)
    assert "repetition_penalty" not in asked[0]


def test_the_first_question_of_a_scene_is_asked_alone(server, scenes, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    engine = ServerEngine(server.url, "qwen", VisionRule(image_resolution=112))
    assert len(list(engine.answer(scenes[0]))) == len(scenes[0]) == len(server.requests)
    assert server.begun_before_first_reply == 1
    assert server.keys == {"Bearer secret"}


@pytest.mark.parametrize(
    "rule",
    [
        VisionRule(image_resolution=56),
        VisionRule(image_resolution=None, image_max_pixels=56 * 84),
        VisionRule(image_resolution=84, image_max_pixels=56 * 56, image_min_pixels=28 * 28),
    ],
)
def test_images_arrive_as_the_local_model_sees_them(scenes, rule):
    path = scenes[0][0].images[0]
    url = picture(path, rule).url
    with Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,")))) as sent:
        assert np.array_equal(rule.patchify(np.asarray(sent)), patches(path, rule))


def test_images_stand_at_the_marks_of_the_prompt(server, scenes):
    images = scenes[0][0].images[:2]
    engine = ServerEngine(server.url, "qwen", VisionRule(image_resolution=112))
    list(engine.answer([Question("scanqa", 0, "s", "<image>from above, <image>from the door: what?", images)]))
    content = server.requests[0]["messages"][0]["content"]
    assert [part["type"] for part in content] == ["image_url", "text", "image_url", "text"]
    assert content[3]["text"] == "from the door: what?"
    with pytest.raises(DataError, match="1 <image> marks, but its scene has 2 images"):
        list(engine.answer([Question("scanqa", 0, "s", "<image>what?", images)]))


def test_letters_of_media_marks_are_sent_and_those_of_tokens_are_refused(server):
    engine = ServerEngine(server.url, "qwen", VisionRule(image_resolution=112))
    list(engine.answer([Question("scanqa", 0, "s", r"What is \<image>, and <|box_start|>?", ())]))
    assert server.requests[0]["messages"][0]["content"][-1]["text"] == "What is <image>, and <|box_start|>?"
    for token in ("<|im_end|>", "<|box_start|>", "<tool_call>"):
        with pytest.raises(DataError, match="a server would take the letters"):
            list(engine.answer([Question("scanqa", 0, "s", rf"What is \{token}?", ())]))


def test_refusing_and_absent_servers_are_named(server, scenes):
    server.status = 400
    engine = ServerEngine(server.url, "qwen", VisionRule(image_resolution=112))
    with pytest.raises(DataError, match=r"scanqa, row 0: the server refused .*not loaded"):
        list(engine.answer(scenes[0]))
    gone = ServerEngine("http://127.0.0.1:9/v1", "qwen", VisionRule(image_resolution=112), retries=0)
    with pytest.raises(WorkError, match=r"127.0.0.1:9/v1, scanqa, row 0: the server can't be reached"):
        list(gone.answer(scenes[0]))


def test_bad_image_is_named(tmp_path):
    cut = tmp_path / "cut.png"
    Image.new("RGB", (64, 64)).save(cut)
    cut.write_bytes(cut.read_bytes()[:60])
    with pytest.raises(DataError, match="cut.png"):
        picture(str(cut), VisionRule())


def test_several_answers_to_a_question_have_seeds_of_their_own(server, scenes):
    engine = ServerEngine(server.url, "qwen", VisionRule(image_resolution=112))
    found = list(engine.answer(scenes[0][:2], GenerationSettings(samples=3, temperature=0.7, seed=5)))
    assert sorted((answer.question.index, answer.sample) for answer in found) == [
        (i, j) for i in range(2) for j in range(3)
    ]
    seeds = [body["seed"] for body in server.requests]
    assert len(set(seeds)) == 3 and seeds.count(5) == 2
    with pytest.raises(ConfigError, match="--engine local"):
        list(engine.answer(scenes[0], GenerationSettings(return_logprobs=True)))


class Held:
    """A server's answers that wait until they are let go; ``asked`` are the scenes of the requests."""

    def __init__(self, server, scenes):
        self.go, self.asked = threading.Event(), []
        self.names = [json.dumps(picture(scene[0].images[0], RULE).url) for scene in scenes]
        server.held = staticmethod(lambda body: self.hold(json.dumps(body)))

    def hold(self, body):
        self.asked.append(next(number for number, name in enumerate(self.names) if name in body))
        if len(self.asked) > 1:
            self.go.wait(60)


RULE = VisionRule(image_resolution=112)


def test_the_next_scene_begins_once_all_requests_of_this_one_are_sent(server, scenes):
    held = Held(server, scenes)
    engine = ServerEngine(server.url, "qwen", RULE, request_limit=len(scenes[0]))
    turns = engine.answer_scenes(scenes)
    first, found = next(turns), []
    found.append(next(first))
    thread = threading.Thread(target=lambda: found.extend(first), daemon=True)
    thread.start()
    wait_for(lambda: held.asked.count(1) and held.asked.count(0) == len(scenes[0]))  # they may arrive in any order
    time.sleep(0.1)
    assert held.asked.count(0) == len(scenes[0]) and held.asked.count(1) == 1, "one question brings the images"
    held.go.set()
    thread.join(60)
    assert {answer.question.key for answer in found} == {question.key for question in scenes[0]}
    assert {answer.question.key for answer in next(turns)} == {question.key for question in scenes[1]}
    assert held.asked.count(1) == len(scenes[1]), "nothing is asked twice"


def test_who_stops_gets_the_answers_of_this_scene_only(server, scenes):
    """Those of the next are not yet checked against the images that the run began with."""
    engine = ServerEngine(server.url, "qwen", RULE, request_limit=1)
    turns = engine.answer_scenes([scenes[0][:1], scenes[1]])
    assert [answer.question.key for answer in next(turns)] == [scenes[0][0].key]
    wait_for(lambda: len(server.requests) >= 2)
    time.sleep(0.2)
    assert engine.received() == [] and len(server.requests) == 2


def test_an_error_of_any_kind_in_a_request_is_raised_and_costs_no_answer_in_silence(server, scenes, monkeypatch):
    engine, ask = ServerEngine(server.url, "qwen", VisionRule(image_resolution=112), request_limit=2), ServerEngine._ask

    def fails(self, asked):
        if asked.question.index == scenes[0][2].index:
            raise IndexError("of our own making")
        return ask(self, asked)

    monkeypatch.setattr(ServerEngine, "_ask", fails)
    with pytest.raises(IndexError, match="of our own making"):
        for answers in engine.answer_scenes(scenes[:1], GenerationSettings(max_new_tokens=7)):
            list(answers)


def test_another_scene_than_the_one_begun_is_asked_whole(server, scenes):
    engine = ServerEngine(server.url, "qwen", RULE)
    turns = engine.answer_scenes([scenes[0][:1], scenes[1]])
    list(next(turns))
    assert len(list(engine.answer(scenes[0]))) == len(scenes[0])
    assert len(list(engine.answer(scenes[1]))) == len(scenes[1])
