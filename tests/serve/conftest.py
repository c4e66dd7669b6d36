"""Servers around a stand-in for the engine, images as data URLs, and clients."""

import pytest
from stand_in import Running, StandIn, data_url


def chat_body(text="What is it?", images=(), model="room", **fields):
    """A chat request with images before the text."""
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in images]
    content = [*parts, {"type": "text", "text": text}] if parts else text
    return {"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": content}], **fields}


@pytest.fixture(scope="session")
def url():
    return data_url


@pytest.fixture(scope="session")
def body():
    return chat_body


@pytest.fixture
def start(tmp_path):
    """Starts a server; ends all of them."""
    started = []

    def begin(scheduler=None, **more):
        folder = tmp_path / f"images{len(started)}"
        folder.mkdir()
        started.append(Running(scheduler or StandIn(), folder, **more))
        return started[-1]

    yield begin
    for server in started:
        server.close()


@pytest.fixture
def ask():
    """Posts a chat request; returns the response."""
    import httpx

    with httpx.Client(timeout=60) as client:
        yield lambda server, content, **more: client.post(f"{server.url}/chat/completions", json=content, **more)
