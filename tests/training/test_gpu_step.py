"""A training step on a CUDA device queues its work and waits once: run with ``pytest -m gpu`` where there is one."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.packs import collate, make_pack
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.demo import tiny_model
from gpt4scene.model.inputs import row_losses
from gpt4scene.model.loading import load_model, load_tokenizer
from gpt4scene.model.tower import Tower
from gpt4scene.training.finite import Watch
from gpt4scene.types import Conversation, Origin, Turn

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture
def waits():
    """Return a function that runs something and returns how often it made the host wait for the device."""

    def count(work) -> int:
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                work()
            finally:
                torch.cuda.set_sync_debug_mode(before)
        return sum("synchroniz" in str(one.message) for one in said)

    return count


def test_a_pack_waits_for_nothing_but_transformers_own_count(waits, tmp_path):
    folder, paths = tiny_model.build(tmp_path / "model"), []
    for index in range(3):
        paths.append(str(tmp_path / f"{index}.png"))
        values = np.random.default_rng(index).integers(0, 255, (84, 112, 3), dtype=np.uint8)
        Image.fromarray(values).save(paths[-1])
    encoder = Encoder(load_tokenizer(folder), TEMPLATES["qwen2_vl"], image_rule(folder, 112))
    shown = (tuple(paths[:2]), tuple(paths), ())
    rows = [
        Conversation(
            (Turn("user", "<image>" * len(images) + "Where?"), Turn("assistant", "Here.")), images, Origin("d", "f", i)
        )
        for i, images in enumerate(shown)
    ]
    model = load_model(folder, dtype=torch.float32, device="cuda")
    batch = collate(make_pack([encoder.encode(row) for row in rows]), encoder).pin_memory()

    tower = Tower(model, encoder.vision)

    def step():
        row_losses(model, batch.to("cuda"), encoder.vision, tower).sum().backward()

    step()  # libraries are loaded, and memory is taken, once
    assert waits(step) <= 3  # transformers counts the image tokens of a pack


def test_a_step_is_judged_by_one_read(waits, tmp_path):
    watch = Watch(tmp_path, torch.device("cuda"), fp16=False)
    losses, norm = torch.ones(4, device="cuda"), torch.tensor(2.5, device="cuda")

    def judge():
        watch.losses.add(losses, (None,) * 4)
        assert watch.step(1, norm, signal=15).norm == 2.5

    judge()
    assert waits(judge) == 1
