import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from chat_server import reply

from gpt4scene.errors import DataError, WorkError
from gpt4scene.inference import requests as module
from gpt4scene.inference.requests import Requests

BODY = {"model": "qwen", "messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}]}]}


@pytest.fixture
def quick(monkeypatch):
    """Pauses of a hundredth of a second."""
    monkeypatch.setattr(module, "_pause", lambda number, wish: 0.01)


@pytest.fixture
def ask(server):
    """Asks once; returns the reply, and leaves what was said in ``said``."""

    def call(timeout=5.0, retries=module.RETRIES, **options):
        return Requests(server.url, timeout, retries, call.said.append).ask(BODY, "scanqa, row 0", **options)

    call.said = []
    return call


def first(server, *replies):
    """Let the server reply these, one after another, and then with an answer."""
    left = list(replies)
    server.answer = lambda prompt: left.pop(0) if left else reply()


ERROR = {"error": {"message": "the engine is busy"}}


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_what_passes_is_tried_again_and_said(server, ask, quick, status):
    first(server, *[(status, ERROR)] * 5)
    assert ask().text == "A chair."
    assert len(ask.said) == 5 and "row 0" in ask.said[0] and "the engine is busy" in ask.said[0]
    assert "trying again" in ask.said[0]


def test_pauses_outlast_a_minute():
    assert sum(module._pause(number, None) for number in range(module.RETRIES)) > 70


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            400,
            {"object": "error", "message": "maximum context length is 8192 tokens"},
            "maximum context length is 8192",
        ),
        (401, {"error": {"message": "Incorrect API key"}}, "Incorrect API key"),
        (404, {"detail": "Not Found"}, "Not Found"),
        (413, "<html><h1>413 Request Entity Too Large</h1></html>", "413 Request Entity Too Large"),
        (422, {"detail": [{"msg": "image too large"}]}, "image too large"),
        (429, {"error": {"message": "pay first", "code": "insufficient_quota"}}, "pay first"),
    ],
)
def test_a_refusal_is_said_at_once_in_the_servers_words(server, ask, status, body, words):
    server.answer = lambda prompt: (status, body)
    with pytest.raises((DataError, WorkError), match=f"row 0: .*{words}.*status {status}") as raised:
        ask()
    assert len(server.asked) == 1 and "<h1>" not in str(raised.value) and "{" not in str(raised.value)[:40]


def test_retries_and_timeout_bound_a_hung_server(server, ask, quick):
    server.answer = lambda prompt: None
    start = time.monotonic()
    with pytest.raises(WorkError, match=r"no answer within 0.2 s \(--timeout\) \(tried 2 times\)"):
        ask(timeout=0.2, retries=1)
    assert time.monotonic() - start < 3 and len(server.asked) == 2


def test_an_error_inside_the_server_is_tried_a_few_times(server, ask, quick):
    server.answer = lambda prompt: (500, "Internal Server Error")
    with pytest.raises(WorkError, match=r"Internal Server Error \(status 500\)"):
        ask()
    assert len(server.asked) == 1 + module.FEW_TRIES


def test_no_retries(server, ask):
    server.answer = lambda prompt: (503, ERROR)
    with pytest.raises(WorkError, match="busy"):
        ask(retries=0)
    assert len(server.asked) == 1 and not ask.said


@pytest.mark.parametrize("odd", [reply(None), "<html>Bad gateway</html>", {**reply(), "choices": []}, [1]])
def test_a_glitch_is_asked_again_a_few_times(server, ask, quick, odd):
    first(server, odd)
    assert ask().text == "A chair."
    first(server, *[odd] * 9)
    server.asked.clear()
    with pytest.raises(DataError, match="scanqa, row 0: "):
        ask()
    assert len(server.asked) == 1 + module.FEW_TRIES


def test_a_server_says_how_long_to_wait():
    in_a_minute = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=60), usegmt=True)
    assert module._seconds("7") == 7.0 and 55 < (module._seconds(in_a_minute) or 0) < 61
    assert module._seconds("soon") is module._seconds(None) is None
    assert module._pause(0, 90.0) == 90.0 and module._pause(0, -5.0) > 0
    assert module._pause(0, 1e9) == module.LONGEST_WISH_S


def test_close_ends_the_pause_between_tries(server):
    server.answer = lambda prompt: (503, ERROR, {"Retry-After": "60"})
    requests = Requests(server.url, 5.0, 3, lambda line: requests.close())
    start = time.monotonic()
    with pytest.raises(WorkError, match="busy"):
        requests.ask(BODY, "scanqa, row 0")
    assert time.monotonic() - start < 5
