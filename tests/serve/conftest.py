"""Servers around a stand-in for the engine, images as data URLs, and clients."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from stand_in import Running, StandIn


def data_url(seed=0, size=(56, 56), form="PNG", **options):
    """An image of noise as a data URL."""
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return f"data:image/{form.lower()};base64," + base64.b64encode(buffer.getvalue()).decode()


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
