"""What a request must not hold is refused in the API's form, naming the field; and nobody else notices."""

import base64
import io
import json
import os
import resource

import pytest
from chat_server import wait_for
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from stand_in import raw, web

from gpt4scene.data.vision import VisionRule
from gpt4scene.serve.fields import MOST_VALUES, ChatFields, ImagePart, ImageUrl, read_fields
from gpt4scene.serve.images import ImageBounds, picture, sent
from gpt4scene.serve.refusals import Refusal

TEXT = {"type": "text", "text": "hi"}


def user(*parts):
    return {"messages": [{"role": "user", "content": list(parts)}]}


def image(url, **more):
    return user({"type": "image_url", "image_url": {"url": url, **more}})


NAMED = user({"type": "image_url", "image_url": None, "uuid": "../../etc/passwd"})
NOT_DONE = {
    "tools": ([{"type": "function"}], "tools"),
    "tool choice": ("required", "tool_choice"),
    "json": ({"type": "json_object"}, "response_format"),
    "bias": ({"50256": -100}, "logit_bias"),
    "audio": ({"voice": "alloy"}, "audio"),
    "penalty": (0.5, "frequency_penalty"),
    "true is not 1": (True, "top_k"),
    "top k": (5, "top_k"),
    "store": (True, "store"),
    "reasoning": ("high", "reasoning_effort"),
}


@pytest.mark.parametrize("case", NOT_DONE)
def test_what_is_not_done_is_refused_by_name(case):
    value, name = NOT_DONE[case]
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], name: value}
    with pytest.raises(Refusal) as refused:
        read_fields(json.dumps(body).encode())
    assert refused.value.status == 400 and refused.value.param == name
    assert f"'{name}' is not done by this server" in refused.value.message


def test_defaults_of_what_is_not_done_and_null_ask_for_nothing():
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "user": "me", "prompt_cache_key": "a"}
    body |= {"tools": [], "tool_choice": "auto", "response_format": {"type": "text"}, "logit_bias": {}, "top_k": -1}
    body |= {"frequency_penalty": 0, "presence_penalty": 0.0, "store": False, "audio": None, "max_tokens": None}
    assert read_fields(json.dumps(body).encode()).max_tokens is None


MANY = 300_000
HUGE = {
    "objects": (b'{"model":"m","messages":[' + b"{}," * MOST_VALUES + b"{}]}", 413),
    "mistakes": (b'{"model":"m","messages":[' + b"{}," * MANY + b"{}]}", 400),
    "parts": (b'{"model":"m","messages":[{"role":"user","content":[' + b"{}," * MANY + b"{}]}]}", 400),
    "stops": (b'{"model":"m","messages":[{"role":"user","content":"a"}],"stop":[' + b"1," * MANY + b"1]}", 400),
    "name": (b'{"model":"m","' + b"ab" * 2**22 + b'":1}', 400),
}


@pytest.mark.parametrize("case", HUGE)
def test_a_huge_body_takes_little_more_memory_than_its_bytes(case):
    body, status = HUGE[case]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Refusal) as refused:
        read_fields(body)
    assert refused.value.status == status
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 * 2**10  # KiB; 1.2 GB for 2 MB once


@pytest.mark.parametrize(
    "text", ['{"model":"a","model":"b"}', '{"messages":[{"role":"user","content":{"model":1,"model":1}}]}']
)
def test_a_name_that_stands_twice_is_refused(text):
    with pytest.raises(Refusal, match="'model' stands twice in one object"):
        read_fields(text.encode())


@pytest.mark.timeout(20)
def test_a_name_that_stands_twice_among_a_hundred_thousand_is_found_at_once():
    names = [*map(str, range(100_000)), "99999"]
    with pytest.raises(Refusal, match="'99999' stands twice"):
        read_fields(("{" + ", ".join(f'"{name}": 0' for name in names) + "}").encode())


WRONG = {
    "unknown": ({"tolls": 1}, "tolls", "did you mean 'tools'?"),
    "no messages": ({"messages": []}, "messages", "at least 1"),
    "no user at the end": (
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        "messages[1]",
        "the last message must be the user's",
    ),
    "system later": (
        {"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]},
        "messages[1]",
        "must be the first",
    ),
    "system image": (
        {"messages": [{"role": "system", "content": image("data:")["messages"][0]["content"]}]},
        "messages[0]",
        "only user messages hold images",
    ),
    "tool message": ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "'assistant'"),
    "name": ({"messages": [{"role": "user", "content": "x", "name": "y"}]}, "messages[0].name", "not permitted"),
    "audio": (user({"type": "input_audio"}), "messages[0].content[0]", "audio is not taken"),
    "video": (
        user({"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}}),
        "messages[0].content[0]",
        "video_url is no part of a message here: videos are not taken by this server; send frames of it as image_url",
    ),
    "part": (user({"type": "smell"}), "messages[0].content[0]", "smell is no part of a message here: text and"),
    "detail": (image("data:", detail="high"), "messages[0].content[0].image_url.detail", "'auto'"),
    "half a letter": (user({"type": "text", "text": "\ud83d"}), "messages[0].content[0]", "half a character"),
    "temperature": ({"temperature": -1}, "temperature", "greater than or equal to 0"),
    "top_p": ({"top_p": 0}, "top_p", "greater than 0"),
    "n": ({"n": 129}, "n", "less than or equal to 128"),
    "truth": ({"max_tokens": True}, "max_tokens", "valid integer"),
    "seed": ({"seed": 0.5}, "seed", "valid integer"),
    "stop": ({"stop": [""]}, "stop", "string"),
    "alternatives": ({"top_logprobs": 2}, "top_logprobs", "needs logprobs"),
    "stream options": ({"stream_options": {}}, "stream_options", "needs stream"),
    "two lengths": ({"max_completion_tokens": 5}, "max_completion_tokens", "differ"),
    "user": ({"user": 5}, "user", "must be a text"),
    "file": (image("file:///etc/passwd"), "messages", "only images in the request itself"),
    "path": (image("/etc/passwd"), "messages", "only images in the request itself"),
    "http": (image("http://169.254.169.254/latest/meta-data"), "messages", "only images in the request itself"),
    "no base64": (image("data:image/png,abc"), "messages", "begins with data:image/<form>;base64,"),
    "a page": (image("data:text/html;base64,PGI+"), "messages", "begins with data:image/<form>;base64,"),
    "broken base64": (image("data:image/png;base64,!!!"), "messages", "no base64"),
    "no image": (image("data:image/png;base64,aGVsbG8="), "messages", "can't be decoded"),
    "no address": (user({"type": "image_url"}), "messages", "neither an image_url nor the uuid"),
    "a name of another form": (NAMED, "messages[0].content[0].uuid", "match"),
    "empty image": (image("data:image/png;base64,"), "messages", "can't be decoded"),
    "svg": (image("data:image/svg+xml;base64,PHN2Zy8+"), "messages", "can't be decoded"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    from stand_in import Running, StandIn

    started = Running(StandIn(), tmp_path_factory.mktemp("images"), max_new_tokens=64, images=3, body=2**20)
    yield started
    started.close()


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_are_400_and_name_the_field(server, ask, body, case):
    fields, name, words = WRONG[case]
    before = len(server.scheduler.added)
    content = json.dumps(body() | fields)
    headers = {"content-type": "application/json; charset=utf-8"}
    refused = web.post(f"{server.url}/chat/completions", content=content, headers=headers)
    error = refused.json()["error"]
    assert refused.status_code == 400 and error["type"] == "invalid_request_error", error
    assert error["param"] == name and words in error["message"], error
    assert len(server.scheduler.added) == before
    wait_for(server.idle)


def test_another_model_is_404(server, ask, body):
    refused = ask(server, body(model="gpt-4"))
    assert refused.status_code == 404 and refused.json()["error"]["code"] == "model_not_found"


def test_too_many_and_too_large(server, ask, body, url):
    many = ask(server, body(images=[url(number) for number in range(4)]))
    assert many.status_code == 400 and many.json()["error"]["code"] == "too_many_images"
    large = ask(server, body("x" * 2**21))
    assert large.status_code == 413 and large.json()["error"]["code"] == "request_too_large"
    wait_for(server.idle)


@pytest.mark.slow
def test_a_bomb_is_refused_by_its_header(start, ask, body):
    import io
    import zlib

    from PIL import Image

    from gpt4scene.serve.images import ImageBounds

    server = start(store=ImageBounds(most_bytes=10**6, most_pixels=10**6))
    for side, words in ((2_000, "2000x2000 is over 1000000 pixels"), (20_000, "it is over 1000000 pixels")):
        buffer = io.BytesIO()
        Image.new("1", (side, side)).save(buffer, "PNG")
        bomb = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
        refused = ask(server, body(images=[bomb]))
        assert refused.status_code == 413 and words in refused.json()["error"]["message"]
    heavy = "data:image/png;base64," + base64.b64encode(os.urandom(1_100_000)).decode()
    assert ask(server, body(images=[heavy])).json()["error"]["code"] == "image_too_large"
    cut = "data:image/png;base64," + base64.b64encode(buffer.getvalue()[:200]).decode()
    assert ask(server, body(images=[cut])).status_code in (400, 413)
    chunk = zlib.compress(b"\0" * 10**8)  # a text chunk that grows
    assert ask(server, body(images=["data:image/png;base64," + base64.b64encode(chunk).decode()])).status_code == 400
    wait_for(server.idle)
    assert server.chat.images.bytes == 0 and not list(server.folder.iterdir())


def post(content, *headers):
    lines = [b"POST /v1/chat/completions HTTP/1.1", b"Host: here", *headers, b"", content]
    return b"\r\n".join(lines)


GOOD = json.dumps({"model": "room", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}).encode()
JSON, CLOSE = b"Content-Type: application/json", b"Connection: close"


def chunked(content):
    parts = [content[place : place + 7] for place in range(0, len(content), 7)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


ODD = {
    "chunked": (post(chunked(GOOD), JSON, CLOSE, b"Transfer-Encoding: chunked"), 200),
    "no form": (post(GOOD, CLOSE, b"Content-Length: %d" % len(GOOD)), 415),
    "a form of pages": (post(GOOD, b"Content-Type: text/plain", b"Content-Length: %d" % len(GOOD)), 415),
    "compressed": (post(b"", JSON, b"Content-Encoding: gzip", b"Content-Length: 9"), 415),
    "too long by its header": (post(b"", JSON, b"Content-Length: 99999999999"), 413),
    "no JSON": (post(b"{", JSON, CLOSE, b"Content-Length: 1"), 400),
    "deep JSON": (post(b"[" * 100_000, JSON, CLOSE, b"Content-Length: 100000"), 400),
    "long number": (post(b"1" * 50_000, JSON, CLOSE, b"Content-Length: 50000"), 400),
    "no text": (post(b"\xff\xfe\x00", JSON, CLOSE, b"Content-Length: 3"), 400),
    "a list": (post(b"[]", JSON, CLOSE, b"Content-Length: 2"), 400),
    "nothing": (post(b"", JSON, CLOSE, b"Content-Length: 0"), 400),
    "length and chunks": (post(b"0\r\n\r\n", JSON, CLOSE, b"Content-Length: 3", b"Transfer-Encoding: chunked"), 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "endless header": (b"GET / HTTP/1.1\r\nA: " + b"a" * 100_000, 400),
    "websocket": (
        b"GET /v1/models HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n",
        200,
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_requests_over_bare_sockets(server, case):
    text, status = ODD[case]
    if case == "chunked":
        text = text.replace(b"Content-Length", b"X")
    found = raw(server.port, text, b"\r\n\r\n")
    assert found.split(b"\r\n")[0].startswith(b"HTTP/1.1 %d" % status), found[:300]
    wait_for(server.idle)


def test_chunks_past_the_bound_are_not_read_on(server):
    head = post(b"", JSON, b"Transfer-Encoding: chunked")
    piece = b"%x\r\n%s\r\n" % (2**16, b" " * 2**16)
    found = raw(server.port, head + piece * 18, b"\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 413")
    wait_for(server.idle)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [*ChatFields.model_fields, "tools", "user", "x", "role", "content", "type", "text", "image_url"]
)
BODIES = st.dictionaries(NAMES, VALUES | st.lists(st.dictionaries(NAMES, VALUES, max_size=3), max_size=2), max_size=6)


@pytest.mark.slow
@given(BODIES)
def test_any_json_is_fields_or_a_refusal(found):
    try:
        assert isinstance(read_fields(json.dumps(found).encode()), ChatFields)
    except Refusal as refusal:
        assert 400 <= refusal.status < 500 and refusal.message
        json.dumps(refusal.body, allow_nan=False).encode("ascii")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_refusal(found):
    with pytest.raises(Refusal):
        read_fields(found)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "MPO", "WEBP", "BMP", "GIF"])
def test_every_form_that_is_named_is_taken(form):
    content, red = io.BytesIO(), Image.new("RGB", (90, 60), "red")
    more = {"save_all": True, "append_images": [red]} if form == "MPO" else {}
    red.save(content, form, **more)
    found = picture(content.getvalue(), "image 1", VisionRule(112), ImageBounds())
    left, right = found.getpixel((0, 0)), (255, 0, 0)
    assert all(abs(one - other) < 5 for one, other in zip(left, right, strict=True))


def test_pictures_of_a_gif_are_not_counted(monkeypatch):
    content, frames = io.BytesIO(), [Image.new("RGB", (40, 40), color) for color in ("red", "blue", "green")]
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:])
    monkeypatch.setattr(GifImageFile, "n_frames", property(lambda self: pytest.fail("a million take half a minute")))
    with pytest.raises(Refusal, match="several pictures"):
        picture(content.getvalue(), "image 1", VisionRule(112), ImageBounds())


def test_a_jpeg_of_a_hundred_thousand_scans_is_refused_undecoded(monkeypatch):
    """Twelve bytes are one more pass over all pixels: 20 MB of them take hours."""
    content = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(content, "JPEG", progressive=True)
    whole = content.getvalue()
    last, end = whole.rfind(b"\xff\xda"), whole.rfind(b"\xff\xd9")
    monkeypatch.setattr(JpegImageFile, "load", lambda self: pytest.fail("it takes hours"))
    with pytest.raises(Refusal, match="over 200 scans"):
        picture(whole[:end] + 100_000 * whole[last:end] + whole[end:], "image 1", VisionRule(112), ImageBounds())


def test_a_data_url_that_is_all_head_is_refused_unread():
    with pytest.raises(Refusal, match="begins with data:image/<form>;base64,"):
        url = "data:image/png" + ";" * 2**22 + ";base64,AAAA"
        sent(ImagePart(type="image_url", image_url=ImageUrl(url=url)), 0, ImageBounds())


@settings(max_examples=40)
@given(st.binary(max_size=60), st.sampled_from(["png", "jpeg", "webp", "gif", "bmp"]), st.integers(0, 400))
def test_broken_images_are_refusals_whatever_the_decoder_says(noise, form, place):
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((32, 24)).convert("RGB").save(buffer, form)
    content = bytearray(buffer.getvalue())
    content[place : place + len(noise)] = noise
    bounds = ImageBounds(most_pixels=10**5)
    try:
        assert picture(bytes(content), "image 1", VisionRule(), bounds).mode == "RGB"
    except Refusal as refusal:
        assert refusal.message.startswith("image 1: ")


@pytest.mark.slow
@settings(max_examples=30)
@given(st.binary(max_size=300))
def test_any_bytes_on_a_socket_leave_the_server_well(server, noise):
    import socket

    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(noise + b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        connection.recv(100)
    assert web.get(f"{server.url[:-3]}/health").status_code == 200
