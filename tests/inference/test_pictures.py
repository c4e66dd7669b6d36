"""How images reach a server: once a scene where it remembers them, as the same bytes where it does not."""

import json
import shutil
import threading

import numpy as np
import pytest
from chat_server import reply
from PIL import Image

from gpt4scene.data.vision import VisionRule
from gpt4scene.errors import DataError
from gpt4scene.inference import client, pictures
from gpt4scene.inference.client import ServerEngine
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.pictures import Pictures, chat_request, picture, short_request
from gpt4scene.types import Question

RULE = VisionRule(image_resolution=56)


@pytest.fixture
def engine(server):
    """An engine that has asked the server who it is."""

    def made(**more):
        found = ServerEngine(server.url, "qwen", RULE, **more)
        found.identity()
        server.bodies.clear()
        return found

    return made


def paint(path, seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (56, 84, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return str(path)


def answers(engine, scenes):
    return [[answer.question.key for answer in scene] for scene in engine.answer_scenes(scenes)]


def whole(server):
    """The requests that carried images."""
    return [body for body in server.bodies if (body["messages"][0]["content"][0].get("image_url") or {}).get("url")]


@pytest.mark.parametrize("owner", client.KNOW_NAMES)
def test_images_travel_once_a_scene_to_a_server_that_remembers_them(server, engine, scenes, owner):
    server.models[0]["owned_by"] = owner
    found = answers(engine(), scenes)
    assert [sorted(keys) for keys in found] == [[question.key for question in scene] for scene in scenes]
    assert len(whole(server)) == len(scenes) and len(server.bodies) == sum(map(len, scenes))
    assert len(server.images) == sum(len(scene[0].images) for scene in scenes)


def test_both_forms_say_the_same_but_for_the_images(scenes):
    words, content = {"model": "m", "seed": 0}, [picture(scenes[0][0].images[0], RULE), 'Say "ß"?', "\n"]
    body, short = (
        json.loads(b"".join(made)) for made in (chat_request(words, content, True), short_request(words, content))
    )
    assert body["messages"][0]["content"][0].pop("image_url")["url"].startswith("data:image/png;base64,")
    assert short["messages"][0]["content"][0].pop("image_url") is None
    assert body == short and body["messages"][0]["content"][1] == {"type": "text", "text": 'Say "ß"?'}


def test_a_server_that_forgot_gets_the_images_again(server, engine, scenes):
    """As after a restart, or when other clients filled its memory."""

    def answer(prompt):
        if len(server.asked) == 4:
            server.images.clear()
        return reply()

    server.answer = answer
    found = answers(engine(request_limit=1), scenes)
    assert [len(keys) for keys in found] == [len(scene) for scene in scenes]
    assert len(whole(server)) == len(scenes) + 1


def test_a_server_that_never_knows_a_name_is_no_longer_asked_by_name(server, engine, scenes, monkeypatch):
    monkeypatch.setattr(client, "NEVER_KNOWN", 3)
    server.images = None
    found = answers(engine(request_limit=1), scenes)
    assert [len(keys) for keys in found] == [len(scene) for scene in scenes]
    assert len(server.bodies) == 3 + sum(map(len, scenes)) and len(whole(server)) == sum(map(len, scenes))


def test_other_servers_get_all_images_and_no_names(server, engine, scenes):
    server.models[0]["owned_by"] = "sglang"
    answers(engine(), scenes)
    assert len(whole(server)) == len(server.bodies)
    assert not any("uuid" in part for body in server.bodies for part in body["messages"][0]["content"])


def test_a_refusal_of_the_question_itself_is_said(server, engine, scenes):
    server.answer = lambda prompt: (400, {"error": {"message": "too long"}}) if "Describe" in prompt else reply()
    with pytest.raises(DataError, match="row 2: .*too long"):
        answers(engine(), scenes)


def test_the_bytes_of_an_image_are_shared_by_all_requests(server, engine, scenes):
    one = engine()
    made = [one._asked(question, GenerationSettings()) for question in scenes[0]]
    letters = [max(asked.body, key=len) for asked in made]
    assert all(piece is letters[0] for piece in letters) and len(letters[0]) > 500


def test_the_next_scenes_images_are_encoded_while_this_one_is_asked(server, engine, scenes, monkeypatch):
    begun, first = [], threading.Event()
    monkeypatch.setattr(pictures, "picture", lambda path, rule: (begun.append(path), picture(path, rule))[1])

    def answer(prompt):
        first.wait(60)
        return reply()

    server.answer = answer
    turns = engine().answer_scenes(scenes)
    thread = threading.Thread(target=lambda: list(next(turns)), daemon=True)
    thread.start()
    deadline = threading.Event()
    while not set(scenes[1][0].images) <= set(begun) and not deadline.wait(0.02):
        assert thread.is_alive()
    first.set()
    thread.join(60)
    assert sorted(begun) == sorted(path for scene in scenes for path in scene[0].images)


def test_what_is_wrong_with_an_image_is_said_in_its_scenes_turn(engine, scenes):
    bad = [Question("scanqa", 99, "bad", "What?", ("nowhere.png",))]
    turns = engine().answer_scenes([scenes[0], bad])
    assert len(list(next(turns))) == len(scenes[0])
    with pytest.raises(DataError, match=r"nowhere.png: the file does not exist"):
        list(next(turns))


def test_an_image_is_encoded_once_and_anew_when_it_is_replaced(tmp_path, monkeypatch):
    counted = []
    monkeypatch.setattr(pictures, "picture", lambda path, rule: (counted.append(path), picture(path, rule))[1])
    path, other = paint(tmp_path / "a.png", 1), paint(tmp_path / "b.png", 2)
    found = Pictures(RULE)
    before = found([path, path])
    assert found([path, path])[0] is before[0] and len(counted) == 2
    assert before[0].name == before[1].name
    shutil.copy(other, path)
    assert found([path, path])[0].name == found([other])[0].name != before[0].name


def test_an_engine_that_forgets_encodes_its_images_anew(engine, scenes):
    one = engine()
    before, again = (one._pictures(scenes[0][0].images) for _ in range(2))
    assert before[0] is again[0]
    one.forget()
    after = one._pictures(scenes[0][0].images)
    assert after[0] is not before[0] and after == before


def test_images_of_scenes_gone_by_are_let_go(tmp_path):
    paths = [paint(tmp_path / f"{number}.png", number) for number in range(6)]
    found = Pictures(RULE)
    for path in paths:
        found([path])
    assert len(found._scenes) == 2
    found.begin([[path] for path in paths[:4]])
    assert len(found._scenes) == 4, "those of two scenes, however many lists of images they have"
    found.begin([[paths[5]]])
    assert len(found._scenes) == 1
