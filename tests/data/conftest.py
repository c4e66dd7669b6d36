"""Fixtures of the data tests: a Qwen-style tokenizer, a scene of pictures, rows about it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.data.vision import VisionSpec
from gpt4scene.demo.tiny_model import build_tokenizer
from gpt4scene.types import Conversation, Origin, Turn


@pytest.fixture(scope="session")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="session")
def spec():
    return VisionSpec()


@pytest.fixture
def encoder(tokenizer, spec):
    return Encoder(tokenizer, TEMPLATES["qwen2_vl"], spec, image_resolution=112)


def write_picture(path: Path, size: tuple[int, int], seed: int = 0) -> str:
    """Write a noisy picture of (width, height) and return its path."""
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return str(path)


@pytest.fixture
def pictures(tmp_path) -> tuple[str, ...]:
    """Three pictures of a scene, of three shapes."""
    sizes = ((120, 90), (64, 100), (57, 56))
    return tuple(write_picture(tmp_path / f"p{i}.png", size, i) for i, size in enumerate(sizes))


@pytest.fixture
def make_row():
    """Return a function that makes a one-question row about some pictures."""

    def make(images: tuple[str, ...], question: str, answer: str, row: int = 0) -> Conversation:
        turns = (Turn("user", "<image>" * len(images) + question), Turn("assistant", answer))
        return Conversation(turns, images, Origin("demo", "demo.json", row))

    return make
