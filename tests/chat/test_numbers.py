"""Numbers become chips and buttons; what strangers write never becomes HTML."""

import re

import pytest
from chat_scenes import BAD, write_scene

from gpt4scene.chat.numbers import kind_of, marked_text, said, scene_images, view_link
from gpt4scene.chat.serving import addresses_of, image_routes
from gpt4scene.chat.showing import note, talk_html
from gpt4scene.chat.visits import Exchange, Scenes
from gpt4scene.files.prepared import read_prepared


@pytest.fixture
def scene(tmp_path):
    return read_prepared(write_scene(tmp_path, labels=("chair", BAD)))


def test_every_image_has_a_button_where_its_number_is(scene):
    page = scene_images(scene, addresses_of("7", scene), view_link(None, scene))
    assert re.findall(r'src="([^"]+)"', page) == ["scene-images/7/0", "scene-images/7/1", "scene-images/7/2"]
    buttons = re.findall(r'class="g4s-mark" data-object="(\d)" data-mark="([^"]+)" style="([^"]+)"', page)
    assert [number for number, _, _ in buttons] == ["0", "1"] * 3
    assert buttons[1][1] == "&lt;OBJ001&gt;" and buttons[1][2].startswith("left:39.06%;top:39.06%;width:15.62%")
    assert "bird&#x27;s-eye view of room" in page or "bird's-eye view of room" in page


def test_numbers_in_texts_are_chips_and_unknown_ones_say_so(scene):
    text = marked_text("<OBJ000> & <OBJ042>", {0: "chair"}, view_link("http://a:1/", scene))
    assert 'data-object="0"' in text and "<b>0</b> chair</button>" in text and "&amp;" in text
    assert 'href="http://a:1/?websocket=ws://a:1/scene/room/object/0"' in text
    assert "object 42, which this scene does not have" in text
    assert said("<OBJ001> <OBJ000> <OBJ001> <OBJ042>", scene) == [1, 0]


def test_nothing_that_was_written_becomes_html(tmp_path, scene):
    name = "<script>alert(1)</script>"
    odd = read_prepared(write_scene(tmp_path / "odd", labels=(BAD, name)))
    odd = type(odd)(**{**odd.__dict__, "scene_id": name})
    exchange = Exchange(BAD, answer=f"{BAD}<OBJ000>", thought=name, state=BAD, error=name)
    pages = (
        talk_html([exchange], odd, view_link("http://a/", odd)),
        scene_images(odd, addresses_of("k", odd), view_link("http://a/", odd)),
        note(BAD),
    )
    for page in pages:
        assert "<script" not in page and "<img src=x" not in page and page.count("alert(1)") > 0


def test_images_are_given_by_number_alone_and_never_as_a_page(scene, tmp_path):
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    client = TestClient(Starlette(routes=image_routes(Scenes([scene.record]))))
    reply = client.get("/scene-images/0/1")
    assert reply.status_code == 200 and reply.content == scene.images[1].read_bytes()
    assert reply.headers["content-type"] == "image/jpeg" and reply.headers["x-content-type-options"] == "nosniff"
    for address in ("0/3", "1/0", "../0", "0/..%2f..%2fscenes%2froom%2fscene.json"):
        assert client.get(f"/scene-images/{address}").status_code == 404
    assert kind_of(tmp_path / "evil.html") == kind_of(tmp_path / "evil.svg") == "application/octet-stream"
