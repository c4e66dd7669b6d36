"""Clients that go away, read slowly or send slowly, servers that are full, and engines that fail."""

import gc
import json
import socket
import threading
import time

import pytest
from chat_server import wait_for
from stand_in import StandIn, post, raw, web

from gpt4scene.serve import body as bodies
from gpt4scene.serve import server as servers
from gpt4scene.serve.fields import ChatFields, ImagePart

pytestmark = pytest.mark.slow


def connected(server, content, **options):
    """A bare connection that has asked."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    for name, value in options.items():
        connection.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
    connection.sendall(post(content))
    return connection


def ended(connection):
    """Whether the other side ends the connection."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_frees_its_place(start, body, stream):
    server = start(StandIn(0.02))
    connection = connected(server, body(max_tokens=1000, stream=stream))
    wait_for(lambda: server.scheduler.running)
    connection.close()
    wait_for(lambda: server.outcome("disconnected") == 1)
    wait_for(lambda: server.scheduler.cancelled == [0] and not server.scheduler.running and server.idle())


def test_a_request_that_is_answered_holds_nothing_of_its_body(start, url, body):
    server = start(StandIn(0.02))
    connection = connected(server, body(max_tokens=1000, images=[url(0)]))
    wait_for(lambda: server.scheduler.running)
    wait_for(lambda: not any(type(one) in (ChatFields, ImagePart) for one in gc.get_objects()), 5)
    assert server.scheduler.running, "512 of them would hold 32 GB"
    connection.close()


def test_a_client_that_goes_away_in_the_queue_is_never_answered(start, body):
    server = start(StandIn(0.02, limit=1))
    first = connected(server, body(max_tokens=60))
    wait_for(lambda: server.scheduler.running)
    second = connected(server, body(max_tokens=60))
    wait_for(lambda: server.scheduler.waiting)
    second.close()
    wait_for(lambda: not server.scheduler.waiting and server.scheduler.running)
    assert first.recv(100).startswith(b"HTTP/1.1 200")
    first.close()


def test_a_client_that_goes_away_while_it_sends_is_counted(start):
    server = start()
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n")
    connection.sendall(b"Content-Length: 1000\r\n\r\n{")
    wait_for(lambda: server.chat.bytes.held == 1)
    assert server.chat.places.taken == 0, "who sends slowly keeps nobody out"
    connection.close()
    wait_for(lambda: server.outcome("disconnected") == 1 and server.idle())


def test_a_reader_that_takes_nothing_is_dropped_and_others_are_answered(start, ask, body):
    server = start(StandIn(), small_buffers=True, buffered_tokens=2000, max_new_tokens=10**6, context=10**7)
    slow = connected(server, body(max_tokens=10**6, stream=True), SO_RCVBUF=2048)
    wait_for(lambda: server.scheduler.running)
    start_s = time.monotonic()
    assert ask(server, body(max_tokens=20)).json()["usage"]["completion_tokens"] == 20
    assert time.monotonic() - start_s < 5, "a slow reader holds nobody up"
    wait_for(lambda: server.outcome("dropped") == 1 and server.idle())
    wait_for(lambda: server.scheduler.cancelled == [0])
    assert ended(slow)


def test_a_connection_that_says_nothing_or_takes_nothing_is_cut(start, body, monkeypatch):
    monkeypatch.setattr(servers, "HEAD_S", 0.5)
    monkeypatch.setattr(servers, "STALL_S", 0.5)
    server = start(StandIn(), small_buffers=True, max_new_tokens=10**6, context=10**7, buffered_tokens=10**7)
    silent = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    silent.sendall(b"GET /health HT")
    deaf = connected(server, body(max_tokens=200_000, stream=True), SO_RCVBUF=2048)
    assert ended(silent)
    wait_for(lambda: not server.server.server_state.connections)
    wait_for(server.idle)
    deaf.close()


def test_a_body_that_does_not_come_is_408(start, monkeypatch):
    monkeypatch.setattr(bodies, "BODY_TIME_S", 0.3)
    server = start()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    )
    assert raw(server.port, head).startswith(b"HTTP/1.1 408")
    assert server.outcome("timeout") == 1 and server.idle()


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_past_its_time_is_told_so(start, ask, body, stream):
    for timeout in (0.5, 2, 8, 32):  # a stream must have begun by then, however busy the machine is
        server = start(StandIn(0.05), timeout=timeout)
        reply = ask(server, body(max_tokens=1000, stream=stream))
        if reply.status_code == 200 or not stream:
            break
    if stream:
        last = reply.text.split("\n\n")[-2]
        assert reply.status_code == 200 and json.loads(last[6:])["error"]["code"] == "timeout"
    else:
        assert reply.status_code == 504 and reply.json()["error"]["code"] == "timeout"
    wait_for(lambda: server.scheduler.cancelled and server.idle())
    assert server.outcome("timeout") == 1


def test_a_full_server_says_when_to_come_again(start, ask, body):
    server = start(StandIn(0.02, limit=1), answers=3)
    open_ones = [connected(server, body(max_tokens=500, n=n)) for n in (2, 1)]
    wait_for(lambda: server.chat.places.taken == 3)
    refused = ask(server, body())
    assert refused.status_code == 429 and 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.json()["error"]["code"] == "rate_limit_exceeded" and server.outcome("busy") == 1
    open_ones.pop().close()
    wait_for(lambda: server.chat.places.taken == 2)
    refused = ask(server, body(n=2))
    assert refused.status_code == 429, "one place is free, two are wanted"
    open_ones.pop().close()
    wait_for(server.idle)
    assert ask(server, body()).status_code == 200


def test_bodies_that_others_hold_leave_no_room(start, ask, body):
    server = start(bodies=1000)
    with server.chat.bytes.room() as room:
        room.take(850)
        refused = ask(server, body())
        assert refused.status_code == 429 and refused.headers["retry-after"]
    assert ask(server, body()).status_code == 200
    wait_for(server.idle)


def test_one_request_that_fails_leaves_the_others(start, ask, body):
    server = start(StandIn(0.01))
    beside = connected(server, body(max_tokens=50))
    refused = ask(server, body("fail"))
    assert refused.status_code == 400 and "can't be answered" in refused.json()["error"]["message"]
    assert beside.recv(100).startswith(b"HTTP/1.1 200")
    beside.close()
    wait_for(server.idle)


def test_a_dying_engine_ends_all_requests_with_503(start, ask, body):
    server = start(StandIn(0.02))
    health = f"{server.url[:-3]}/health"
    assert web.get(health).json() == {"status": "ok"}
    beside = [connected(server, body(max_tokens=500, stream=stream)) for stream in (False, True)]
    wait_for(lambda: server.scheduler.running == 2)
    reply = ask(server, body("die"))
    assert reply.status_code == 503 and reply.json()["error"]["code"] == "engine_failed"
    assert "CUDA" not in reply.text, "the engine's words are not for strangers"
    assert beside[0].recv(100).startswith(b"HTTP/1.1 503")
    streamed = b""
    while piece := beside[1].recv(65536):
        streamed += piece
        if b"engine_failed" in streamed:
            break
    assert b"[DONE]" not in streamed
    assert web.get(health).status_code == 503
    assert ask(server, body()).status_code == 503
    wait_for(server.idle)
    assert server.outcome("failed") == 4
    wait_for(lambda: server.scheduler.closed)


def test_a_room_that_many_ask_about_at_once_is_decoded_once(start, ask, url, body):
    server = start()
    images = [url(number) for number in range(6)]
    found = []
    threads = [
        threading.Thread(
            target=lambda: found.append(web.post(f"{server.url}/chat/completions", json=body("a", images)))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.status_code for reply in found] == [200] * 8
    assert server.chat.images.decoded == 6
    wait_for(server.idle)


@pytest.mark.parametrize("bounds", [{"kept": 3 * (56 * 56 * 3 + 13)}, {"files": 3}], ids=["bytes", "files"])
def test_images_are_kept_within_their_bound_the_longest_unused_goes_first(start, ask, url, body, bounds):
    from gpt4scene.serve.images import ImageBounds

    one = 56 * 56 * 3 + 13
    server = start(StandIn(0.02), store=ImageBounds(**bounds))
    for number in (0, 1, 2, 0, 3):
        assert ask(server, body(images=[url(number)])).status_code == 200
    images = server.chat.images
    assert images.bytes == 3 * one and len(list(server.folder.iterdir())) == 3 and images.decoded == 4
    ask(server, body(images=[url(0)]))
    assert images.decoded == 4, "0 was used later than 1"
    held = connected(server, body(max_tokens=500, images=[url(0), url(2), url(3)]))
    wait_for(lambda: server.scheduler.running)
    refused = ask(server, body(images=[url(9)]))
    assert refused.status_code == 429 and "room for images" in refused.json()["error"]["message"]
    held.close()
    wait_for(server.idle)
    assert ask(server, body(images=[url(9)])).status_code == 200


def test_a_full_disk_is_said_and_passes(start, ask, url, body, monkeypatch):
    from PIL import Image

    server, content = start(), body(images=[url(0)])

    def full(self, path, form):
        path.write_bytes(b"P6")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    refused = ask(server, content)
    assert refused.status_code == 503 and "No space left on device" in refused.json()["error"]["message"]
    assert not list(server.folder.iterdir())
    monkeypatch.undo()
    assert ask(server, content).status_code == 200
    wait_for(server.idle)
