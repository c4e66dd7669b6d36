"""The same proofs on a CUDA device, in bf16: run them with ``pytest -m gpu`` on a machine that has one."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.packs import PackDataset, collate, make_pack, only
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.data.vision import VisionRule
from gpt4scene.demo import tiny_model
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.engine import Engine
from gpt4scene.model.inputs import row_losses
from gpt4scene.model.loading import load_model, load_tokenizer
from gpt4scene.types import Conversation, Origin, Question, Turn

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture
def scene(tmp_path):
    random = np.random.default_rng(0)
    paths = []
    for index in range(4):
        paths.append(str(tmp_path / f"{index}.png"))
        Image.fromarray(random.integers(0, 255, (84, 112, 3), dtype=np.uint8)).save(paths[-1])
    folder = tiny_model.build(tmp_path / "model")
    rule = VisionRule.from_folder(folder, 112)
    return folder, Encoder(load_tokenizer(folder), TEMPLATES["qwen2_vl"], rule), tuple(paths)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 3e-2)])
def test_pack_equals_separate_samples_on_cuda(scene, dtype, tolerance):
    folder, encoder, images = scene
    model = load_model(folder, dtype=dtype, device="cuda")
    samples = []
    for number, (question, answer) in enumerate((("What color is it?", "Red."), ("How many chairs?", "Two."))):
        turns = (Turn("user", "<image>" * 4 + question), Turn("assistant", answer))
        samples.append(encoder.encode(Conversation(turns, images, Origin("d", "f", number))))

    def losses(group):
        batch = collate(make_pack(group), encoder).to("cuda")
        return row_losses(model, batch, encoder.vision)

    apart = torch.cat([losses([sample]) for sample in samples])
    assert torch.allclose(losses(samples), apart, rtol=tolerance)


def test_engine_answers_alike_on_both_devices(scene):
    folder, encoder, images = scene
    questions = [Question("scanqa", n, "room", text, images) for n, text in enumerate(("What?", "How many lamps?"))]
    answers = {}
    for device in ("cpu", "cuda"):
        model = load_model(folder, dtype=torch.float32, device=device)
        engine = Engine(model, encoder)
        got = engine.answer(questions, GenerationSettings(max_new_tokens=8))
        answers[device] = {answer.question.key: answer.text for answer in got}
    assert answers["cpu"] == answers["cuda"]


def test_a_loader_pins_a_batch_whole(scene):
    _, encoder, images = scene
    turns = (Turn("user", "<image>" * 4 + "What?"), Turn("assistant", "A lamp."))
    dataset = PackDataset([Conversation(turns, images, Origin("d", "f", 0))], encoder)
    (batch,) = DataLoader(dataset, 1, sampler=[(0,)], collate_fn=only, pin_memory=True)
    tensors = {key: value for key, value in vars(batch).items() if key not in ("images", "layout", "origins")}
    assert all(value.is_pinned() for value in (*tensors.values(), batch.layout.places))
    moved = vars(batch.to("cuda"))
    assert all(torch.equal(moved[key].cpu(), value) for key, value in tensors.items())
