"""Addresses of the 3D view: what they ask for comes back, also after the page wrote them unescaped."""

from urllib.parse import parse_qs, urlsplit

import pytest

from gpt4scene.view.connections import allowed
from gpt4scene.view.links import Wanted, address, wanted


@pytest.mark.parametrize("scene", ["room0000_00", "a b", "a+b&c=d#e?f", "~7E/..", "küche", "50%"])
@pytest.mark.parametrize("number", [None, 0, 17])
def test_an_address_asks_for_its_scene_and_object(scene, number):
    link = address("http://127.0.0.1:8080/", scene, number)
    for _ in range(2):  # the browser's address is read again when the page is loaded anew
        (socket,) = parse_qs(urlsplit(link).query)["websocket"]
        assert wanted(urlsplit(socket).path) == Wanted(scene, number)
        link = f"http://127.0.0.1:8080/?websocket={socket}"


def test_bases():
    assert address("http://localhost:9/x?y") == "http://localhost:9/"
    assert address("https://a.example/", "r").endswith("=wss://a.example/scene/r")
    for wrong in ("127.0.0.1:8080", "ftp://x/", "", "http://"):
        with pytest.raises(ValueError, match="no address"):
            address(wrong)


@pytest.mark.parametrize(
    "path", ["/", "", "/scene", "/other/x", "/scene/a/b", "/scene/a/object/x", "/scene/a/object/²"]
)
def test_other_paths_ask_for_no_object(path):
    assert wanted(path).object is None


def test_pages_of_strangers_are_not_served():
    ours = {"Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:8080"}
    assert allowed(ours, local=True) and allowed({"Host": "127.0.0.1:8080"}, local=True)
    assert not allowed(ours | {"Origin": "http://elsewhere.example"}, local=True)
    assert not allowed(ours | {"Origin": "http://127.0.0.1:9999"}, local=True)
    assert not allowed(ours | {"Origin": "null"}, local=False)
    led_here = {"Host": "elsewhere.example:8080", "Origin": "http://elsewhere.example:8080"}
    assert not allowed(led_here, local=True) and allowed(led_here, local=False)
