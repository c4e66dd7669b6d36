"""Images that a server keeps: found again by a name that only their bytes give, bounded, safe from who cleans up."""

import base64

import pytest
from chat_server import wait_for

from gpt4scene.inference.pictures import name_of
from gpt4scene.serve.images import ImageBounds


def content_of(url):
    return base64.b64decode(url.partition(",")[2])


def shown(images, text="What is it?"):
    """A request with images as (address, name), either of which may be None."""
    parts = [
        {"type": "image_url", "image_url": url and {"url": url}} | ({"uuid": name} if name else {})
        for url, name in images
    ]
    messages = [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]
    return {"model": "room", "max_tokens": 4, "messages": messages}


@pytest.mark.parametrize("named", [False, True])
def test_an_image_that_was_sent_may_come_by_its_name(start, ask, url, named):
    server = start()
    pictures = [(url(number), name_of(content_of(url(number)))) for number in range(2)]
    first = ask(server, shown([(url, name if named else None) for url, name in pictures]))
    again = ask(server, shown([(None, name) for _, name in pictures], "And this?"))
    assert first.status_code == again.status_code == 200, again.text
    before, after = (request.question for request in server.scheduler.added)
    assert before.images == after.images and after.prompt == "<image><image>And this?"
    assert server.chat.images.decoded == 2 and server.chat.images.found == 2
    wait_for(server.idle)


def test_a_name_of_no_image_here_is_404_with_a_code_of_its_own(start, ask, url):
    server = start()
    known = name_of(content_of(url(0)))
    assert ask(server, shown([(url(0), None)])).status_code == 200
    refused = ask(server, shown([(None, known), (None, name_of(b""))]))
    assert refused.status_code == 404 and refused.json()["error"]["code"] == "image_not_found"
    assert "image 2: no image of its uuid is kept here" in refused.json()["error"]["message"]
    wait_for(server.idle)


def test_nobody_can_put_another_image_under_a_name(start, ask, url):
    """Or whoever asks about that name would be shown it."""
    server = start()
    refused = ask(server, shown([(url(1), name_of(content_of(url(0))))]))
    assert refused.status_code == 400 and "is not the name of its bytes" in refused.json()["error"]["message"]
    assert ask(server, shown([(None, name_of(content_of(url(0))))])).status_code == 404
    assert not len(server.chat.images)


def test_an_image_that_made_room_for_others_is_forgotten(start, ask, url):
    server = start(store=ImageBounds(files=2))
    for number in range(3):
        assert ask(server, shown([(url(number), None)])).status_code == 200
    found = [ask(server, shown([(None, name_of(content_of(url(number))))])).status_code for number in range(3)]
    assert found == [404, 200, 200]


def test_a_file_that_was_removed_by_who_cleans_up_is_made_anew(start, ask, url):
    server = start()
    name = name_of(content_of(url(0)))
    for sent, status in (((url(0), None), 200), ((None, name), 404), ((url(0), None), 200), ((None, name), 200)):
        reply = ask(server, shown([sent]))
        assert reply.status_code == status, reply.text
        if server.chat.images.decoded == 1 and status == 200:
            next(server.folder.iterdir()).unlink()
    images = server.chat.images
    assert images.decoded == 2 and len(images) == 1 and images.bytes == next(server.folder.iterdir()).stat().st_size
    wait_for(server.idle)


def test_no_path_of_the_server_is_told(start, ask, url, monkeypatch):
    """As where the file goes between the request and its answer."""
    server = start()
    kept = server.chat.images.paths
    monkeypatch.setattr(server.chat.images, "paths", lambda names: tuple(f"{path}.gone" for path in kept(names)))
    refused = ask(server, shown([(url(0), None)]))
    assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
    assert "is no longer kept here" in refused.json()["error"]["message"] and str(server.folder) not in refused.text
    wait_for(server.idle)
