import gzip
import json
import threading
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from chat_server import reply, wait_for

from gpt4scene.errors import ConfigError, DataError, WorkError
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


def test_pauses_outlast_two_minutes_and_differ_between_requests():
    pauses = [[module._pause(number, None) for number in range(module.RETRIES)] for _ in range(2)]
    assert min(map(sum, pauses)) > 120 and pauses[0] != pauses[1]


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
    assert time.monotonic() - start < 3
    wait_for(lambda: len(server.asked) == 2)  # the server may take a request up after its client gave up


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


GOOD = json.dumps(reply("Stühle.")).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def raw(content):
    return lambda file: file.write(content)


def pieces(content):
    return b"".join(
        b"%x\r\n%s\r\n" % (len(content[at : at + 30]), content[at : at + 30]) for at in range(0, len(content), 30)
    )


WHOLE = {
    "zipped": (200, gzip.compress(GOOD), {"Content-Encoding": "gzip"}),
    "in pieces": raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + pieces(GOOD) + b"0\r\n\r\n"),
    "without a length": raw(HEAD + b"Connection: close\r\n\r\n" + GOOD),
    "as a web page": raw(HEAD.replace(b"application/json", b"text/html") + b"\r\n" + GOOD),
    "with a mark of its bytes": (200, b"\xef\xbb\xbf" + GOOD),
    "in another charset": raw(
        HEAD.replace(b"json", b"json; charset=latin-1")
        + b"\r\n"
        + json.dumps(reply("Stühle."), ensure_ascii=False).encode("latin-1")
    ),
}
BROKEN = {
    "cut": (raw(HEAD + b"Content-Length: 900\r\n\r\n" + GOOD), "can't be reached"),
    "cut in pieces": (raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + pieces(GOOD)), "can't be reached"),
    "cut zip": ((200, gzip.compress(GOOD)[:30], {"Content-Encoding": "gzip"}), "no JSON"),
    "no zip": ((200, GOOD, {"Content-Encoding": "gzip"}), "can't be reached"),
    "half a JSON": ((200, GOOD[:40]), "no JSON"),
    "shorter than its JSON": ((200, GOOD, {"Content-Length": str(len(GOOD) - 9)}), "no JSON|can't be reached"),
    "two answers": ((200, GOOD + GOOD), "no JSON"),
    "a stream": ((200, b"data: " + GOOD + b"\n\ndata: [DONE]\n\n"), "no JSON"),
    "no text": ((200, json.dumps(reply("Stühle."), ensure_ascii=False).encode("latin-1")), "no text in utf-8"),
    "a page in pieces": (
        raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + pieces(b"<h1>Soon</h1>") + b"0\r\n\r\n"),
        "no JSON: Soon",
    ),
    "status 204": ((204, b""), "it said nothing"),
    "moved in circles": ((307, "", {"Location": "/v1/chat/completions"}), "redirects"),
    "moved to the list": ((302, "", {"Location": "/v1/models"}), "sends the request on"),
    "moved to nowhere": ((302, "moved"), "moved .status 302"),
    "no status": (raw(b"HTTP/1.1 99 X\r\n\r\n"), "can't be reached"),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH_9\r\n"), "can't be reached"),
    "nothing": (raw(b""), "can't be reached"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_is_read_however_it_is_sent(server, ask, name):
    server.answer = lambda prompt: WHOLE[name]
    assert ask(retries=0).text == "Stühle."


@pytest.mark.parametrize("name", BROKEN)
def test_what_arrives_broken_is_no_answer(server, ask, quick, name):
    found, words = BROKEN[name]
    server.answer = lambda prompt: found
    with pytest.raises((DataError, WorkError), match=f"scanqa, row 0: .*{words}"):
        ask(retries=1)


def test_a_server_that_sends_a_letter_now_and_then_is_out_of_time(server, ask, quick):
    def dripping(file):
        file.write(HEAD + b"\r\n")
        while not server.ended.wait(0.05):
            file.write(b" ")

    server.answer = lambda prompt: dripping
    with pytest.raises(WorkError, match=r"no answer within 0.5 s \(--timeout\)"):
        ask(timeout=0.5, retries=0)


@pytest.mark.parametrize("timeout", [1e9, 1e300])
def test_a_timeout_may_be_long(ask, timeout):
    assert ask(timeout=timeout).text == "A chair."


@pytest.mark.parametrize(
    ("status", "way_out"),
    [(401, "OPENAI_API_KEY"), (403, "OPENAI_API_KEY"), (404, "--base_url"), (413, "--image_resolution")],
)
def test_a_refusal_names_the_way_out(server, ask, status, way_out):
    server.answer = lambda prompt: (status, ERROR)
    with pytest.raises(DataError, match=way_out):
        ask()


def test_https_at_a_server_of_http_is_said(server):
    asking = Requests(server.url.replace("http:", "https:"), 5.0, 0)
    with pytest.raises(WorkError, match="http:// and not https://"):
        asking.ask(BODY, "scanqa, row 0")


def test_slashes_at_the_end_of_the_address_do_not_matter(server):
    assert Requests(server.url + "//", 5.0, 0).ask(BODY, "scanqa, row 0").text == "A chair."


def test_a_server_says_how_long_to_wait():
    longest = module.LONGEST_WISH_S
    assert module._seconds("nan") is None and longest <= module._pause(0, module._seconds("inf")) <= 1.1 * longest
    in_a_minute = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=60), usegmt=True)
    assert module._seconds("7") == 7.0 and 55 < (module._seconds(in_a_minute) or 0) < 61
    assert module._seconds("soon") is module._seconds(None) is None
    assert 90 <= module._pause(0, 90.0) <= 99 and module._pause(0, -5.0) > 0
    assert longest <= module._pause(0, 1e9) <= 1.1 * longest


def test_close_ends_the_pause_between_tries(server):
    server.answer = lambda prompt: (503, ERROR, {"Retry-After": "60"})
    requests = Requests(server.url, 5.0, 3, lambda line: requests.close())
    start = time.monotonic()
    with pytest.raises(WorkError, match="busy"):
        requests.ask(BODY, "scanqa, row 0")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_drops_the_question_names_the_address(server, ask, status):
    server.answer = lambda prompt: (status, "", {"Location": "/v2/chat/completions"})
    with pytest.raises(
        DataError, match=rf"row 0: .* on to http://127.0.0.1:\d+/v2 \(status {status}\); give .*--base_url"
    ):
        ask()
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_that_keeps_the_question_is_followed(server, ask, status):
    first(server, (status, "", {"Location": "/v1/other/chat/completions"}))
    assert ask().text == "A chair." and len(server.asked) == 2


def test_tries_without_a_connection_leave_those_after_an_error_inside_the_server(server, ask, quick):
    """A server that comes back may fail a few times while it loads its model."""
    with pytest.raises(DataError, match="'content' is no text"):
        first(server, *[raw(b"")] * 4, *[(500, ERROR)] * 2, (503, ERROR), reply(None))
        ask()
    first(server, *[raw(b"")] * 4, *[(500, ERROR)] * 2, (503, ERROR))
    assert ask().text == "A chair."


@pytest.mark.parametrize("reason", ["abort", "cancelled"])
def test_an_answer_that_a_stopping_server_broke_off_is_asked_again(server, quick, reason):
    first(server, *[reply("A cha", reason)] * 5)
    asking = Requests(server.url, 5.0)
    assert asking.ask(BODY, "scanqa, row 0").text == "A chair." and asking.lost == 5


def test_a_refusal_that_comes_before_the_body_was_read_is_said(server, ask):
    """As a proxy does that has a limit on bodies."""

    def refusing(handler):
        handler.send(413, {"error": {"message": "no more than 1 MB"}})
        handler.close_connection = True

    server.before = refusing
    big = [b'{"model":"qwen","messages":"', b"a" * 8_000_000, b'"}']
    with pytest.raises(DataError, match=r"no more than 1 MB .status 413"):
        Requests(server.url, 5.0, 1).ask(big, "scanqa, row 0")


def test_requests_share_connections(server):
    asking = Requests(server.url, 5.0, 0)
    for _ in range(5):
        asking.ask(BODY, "scanqa, row 0")
    asking.models()
    assert server.connections == 1


def test_many_requests_that_fail_alike_say_it_once(server, quick):
    left, said, together = [12], [], threading.Barrier(6)

    def answer(prompt):
        left[0] -= 1
        if left[0] < 0:
            return reply()
        together.wait(60)  # so that each of the six fails twice, whichever comes first
        return 503, ERROR

    server.answer = answer
    asking = Requests(server.url, 5.0, 10, said.append)
    threads = [threading.Thread(target=asking.ask, args=(BODY, f"row {number}")) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert 2 <= len(said) <= 8 and not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("key", ["schlüssel", "a\nb"])
def test_a_key_that_no_header_can_hold_is_named_but_not_shown(server, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY") as raised:
        Requests(server.url)
    assert key not in str(raised.value)
