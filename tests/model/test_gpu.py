"""The same proofs on a CUDA device, in bf16: run them with ``pytest -m gpu`` on a machine that has one."""

import importlib.util

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.layout import pack_layout
from gpt4scene.data.packs import PackDataset, collate, make_pack, only
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.demo import tiny_model
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.engine import Engine
from gpt4scene.inference.scheduler import Scheduler
from gpt4scene.model.attention import attend
from gpt4scene.model.inputs import row_losses
from gpt4scene.model.layout import seen
from gpt4scene.model.loading import load_model, load_tokenizer
from gpt4scene.model.tower import Tower
from gpt4scene.model.two_part import attend_pack
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
    rule = image_rule(folder, 112)
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


def dense(query, key, value, layout):
    """One softmax over all that is seen, in fp32."""
    groups = query.shape[1] // key.shape[1]
    key, value = (one.float().repeat_interleave(groups, 1) for one in (key, value))
    scores = query.float() @ key.transpose(2, 3) * query.shape[-1] ** -0.5
    return (scores.masked_fill(~seen(layout, query.device), float("-inf")).softmax(-1) @ value).transpose(1, 2)


def row(layout, dtype, heads=14, key_heads=2, channels=128):
    torch.manual_seed(0)
    length = layout.prefix_length + layout.branch_tokens
    shapes = [(1, length, number, channels) for number in (heads, key_heads, key_heads)]
    return [torch.randn(one, device="cuda", dtype=dtype).transpose(1, 2).requires_grad_() for one in shapes]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.03), (torch.float32, 2e-3)])
@pytest.mark.parametrize(("prefix", "lengths", "apart"), [(704, (64,) * 8, 0), (577, (64, 110, 33, 21), 1)])
def test_two_part_attention_is_exact_on_cuda(dtype, tolerance, prefix, lengths, apart):
    """Lengths that leave 64 of 128 are among them: cuDNN's backward pass gave NaN there."""
    layout = pack_layout(prefix, lengths, apart).changed(lambda places: places.cuda())
    three = row(layout, dtype)
    found, wanted = attend_pack(*three, layout, 128**-0.5), dense(*three, layout)
    grad = torch.randn_like(wanted)
    grads = torch.autograd.grad(found, three, grad.to(dtype)), torch.autograd.grad(wanted, three, grad)
    for one, other in ((found, wanted), *zip(*grads, strict=True)):
        assert one.isfinite().all()
        assert (one.float() - other.float()).abs().max() <= tolerance * other.float().abs().max()


@pytest.mark.parametrize(("dtype", "kernel"), [(torch.bfloat16, "flash"), (torch.float32, "efficient")])
def test_the_kernel_of_the_table_runs_on_cuda(dtype, kernel):
    layout = pack_layout(500, (64, 70, 9)).changed(lambda places: places.cuda())
    three = row(layout, dtype)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        attend_pack(*three, layout, 0.1).sum().backward()
    ran = {event.key for event in profiler.key_averages() if "scaled_dot_product" in event.key}
    assert ran == {f"aten::_scaled_dot_product_{kernel}_attention{way}" for way in ("", "_backward")}
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        mask = seen(layout, three[0].device)[None, None]
        attend(torch.nn.Module(), *three, mask)
    ran = {event.key for event in profiler.key_averages() if "attention" in event.key}
    assert not {name for name in ran if "cudnn" in name or "_math" in name}


def test_attention_over_a_pack_never_waits_for_the_device():
    layout = pack_layout(300, (40, 21, 33)).changed(lambda places: places.cuda())
    three = row(layout, torch.bfloat16)
    attend_pack(*three, layout, 0.1).sum().backward()  # the first call asks for the device's capability
    torch.cuda.set_sync_debug_mode("error")
    try:
        attend_pack(*three, layout, 0.1).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


MIXED = ((1, 12, 14), (1, 8, 6), (1, 12, 14), (1, 10, 12))


def features(tower, device):
    """What the tower makes of random patches."""
    torch.manual_seed(0)
    pixels = torch.randn(sum(t * h * w for t, h, w in MIXED), tower.rule.patch_length)
    out = tower.encode(MIXED, pixels.to(device, next(tower.module.parameters()).dtype))
    return [*out.pooler_output, *(one for layer in out.deepstack_features for one in layer)]


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize(
    ("dtype", "attention", "tolerance"),
    [
        (torch.float32, "sdpa", 1e-4),
        (torch.bfloat16, "sdpa", 0.05),
        pytest.param(
            *(torch.bfloat16, "flash_attention_2", 0.05),
            marks=pytest.mark.skipif(importlib.util.find_spec("flash_attn") is None, reason="needs flash-attn"),
        ),
    ],
)
def test_the_tower_gives_on_cuda_what_transformers_gives_on_the_cpu(
    tmp_path, monkeypatch, family, dtype, attention, tolerance
):
    """In fp32 by a fused kernel as well, and, with flash-attn, by its call for sequences of several lengths."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # of the patches' convolution
    folder = tiny_model.build(tmp_path / "model", family)
    rule = image_rule(folder)
    reference = load_model(folder, dtype=torch.float32, attention="eager")
    wanted = features(Tower(reference, rule), "cpu")
    tower = Tower(load_model(folder, dtype=dtype, attention=attention, device="cuda"), rule)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        found = features(tower, "cuda")
    assert not {event.key for event in profiler.key_averages() if "cudnn_att" in event.key or "_math" in event.key}
    for one, other in zip(found, wanted, strict=True):
        assert one.device.type == "cuda" and one.dtype == dtype
        assert (one.float().cpu() - other).abs().max() <= tolerance * other.abs().max()


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_a_tower_that_knows_the_sizes_never_waits_for_the_device(tmp_path, family):
    folder = tiny_model.build(tmp_path / "model", family)
    tower = Tower(load_model(folder, dtype=torch.bfloat16, device="cuda"), image_rule(folder))
    features(tower, "cuda")
    pixels = torch.zeros(sum(t * h * w for t, h, w in MIXED), tower.rule.patch_length, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        tower.encode(MIXED, pixels.bfloat16())
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_engine_answers_alike_on_both_devices(scene):
    folder, encoder, images = scene
    questions = [Question("scanqa", n, "room", text, images) for n, text in enumerate(("What?", "How many lamps?"))]
    answers = {}
    for device in ("cpu", "cuda"):
        model = load_model(folder, dtype=torch.float32, device=device)
        engine = Engine(Scheduler(model, encoder))
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
