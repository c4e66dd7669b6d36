"""The proof of the scene-shared engine: a pack gives the losses and gradients of its rows one by one."""

import json
import shutil
from typing import get_args

import numpy as np
import pytest
import torch
from hybrid import HYBRID
from PIL import Image
from transformers import AutoModelForImageTextToText

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.packs import collate, make_pack
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.demo import tiny_model
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.engine import Engine
from gpt4scene.inference.scheduler import Scheduler
from gpt4scene.model.inputs import row_losses
from gpt4scene.model.loading import load_model, load_tokenizer
from gpt4scene.model.pixels import normalise
from gpt4scene.model.tuning import prepare_for_training
from gpt4scene.settings.arguments import FlashAttention, TuningArguments, attention_backend
from gpt4scene.types import Conversation, Origin, Question, Turn

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", pytest.param("qwen3_vl_moe", marks=pytest.mark.slow), HYBRID)
ROWS = (("What color is the chair?", "Red."), ("How many lamps are in the room?", "Two lamps."), ("Where?", "No."))


def relative(a, b):
    return float((a - b).detach().abs().max() / b.detach().abs().max().clamp(min=1e-12))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    paths = []
    for index, (width, height) in enumerate(((80, 60), (60, 90), (112, 84))):
        Image.fromarray(random.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(folder / f"{index}.png")
        paths.append(str(folder / f"{index}.png"))
    return tuple(paths)


@pytest.fixture(scope="module", params=FAMILIES)
def setting(request, tmp_path_factory, images):
    folder = tiny_model.build(tmp_path_factory.mktemp(request.param) / "model", request.param)
    encoder = Encoder(load_tokenizer(folder), TEMPLATES["qwen2_vl"], image_rule(folder, 112))
    rows = [
        Conversation((Turn("user", "<image>" * 3 + question), Turn("assistant", answer)), images, Origin("d", "f", n))
        for n, (question, answer) in enumerate(ROWS)
    ]
    return folder, encoder, [encoder.encode(row) for row in rows]


def losses_and_gradients(model, encoder, packs):
    model.zero_grad()
    losses = []
    for samples in packs:
        batch = collate(make_pack(samples), encoder)
        rows = row_losses(model, batch, encoder.vision)
        rows.sum().backward()
        losses.append(rows.detach().float())
    return torch.cat(losses), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("flash_attn", get_args(FlashAttention))
def test_pack_equals_separate_samples(setting, flash_attn):
    folder, encoder, samples = setting
    model = load_model(folder, attention=attention_backend(flash_attn)[0])
    apart, grads_apart = losses_and_gradients(model, encoder, [[sample] for sample in samples])
    together, grads_together = losses_and_gradients(model, encoder, [samples])
    assert relative(together, apart) < 1e-5
    assert grads_apart.keys() == grads_together.keys() and len(grads_apart) > 30
    for name, gradient in grads_apart.items():
        assert relative(grads_together[name], gradient) < 1e-4, name


@pytest.mark.slow
@pytest.mark.parametrize("flash_attn", get_args(FlashAttention))
def test_answers_side_by_side_equal_answers_one_by_one(setting, images, flash_attn):
    folder, encoder, _ = setting
    engine = Engine(Scheduler(load_model(folder, attention=attention_backend(flash_attn)[0]), encoder))
    apart = Engine(Scheduler(load_model(folder), encoder, branch_limit=1))
    questions = [Question("scanqa", n, "room", text, images) for n, (text, _) in enumerate(ROWS)]
    settings = GenerationSettings(max_new_tokens=12, temperature=1.0)  # drawn, so that every score counts
    got = {answer.question.key: answer.text for answer in engine.answer(questions, settings)}
    wanted = {answer.question.key: answer.text for answer in apart.answer(questions, settings)}
    assert got == wanted and len(set(wanted.values())) > 1


@pytest.mark.slow
def test_the_place_in_config_json_does_not_choose_the_attention(setting, tmp_path):
    folder, encoder, samples = setting
    other = shutil.copytree(folder, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    for part in (config, config["text_config"]):
        part |= {"attn_implementation": "eager", "_attn_implementation": "eager"}
    (other / "config.json").write_text(json.dumps(config))
    packed = [losses_and_gradients(load_model(place), encoder, [samples])[0] for place in (folder, other)]
    assert torch.equal(*packed)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_an_attention_that_would_drop_the_layout_is_refused(setting, attention):
    folder, encoder, samples = setting
    model = load_model(folder)
    model.set_attn_implementation({"text_config": attention})
    with pytest.raises(ValueError, match=f"attention '{attention}' does not know"):
        losses_and_gradients(model, encoder, [samples])
    with pytest.raises(ValueError, match=f"attention '{attention}' does not know"):
        Scheduler(model, encoder)


def test_single_sample_equals_transformers_own_forward(setting):
    folder, encoder, samples = setting
    model = load_model(folder)
    reference = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager")
    for sample in samples:
        batch = collate(make_pack([sample]), encoder)
        ours = row_losses(model, batch, encoder.vision)
        ids = torch.from_numpy(sample.ids_L)[None]
        theirs = reference(
            input_ids=ids,
            labels=torch.from_numpy(sample.labels_L)[None],
            pixel_values=normalise(batch.pixel_values, encoder.vision),
            image_grid_thw=torch.tensor(sample.grids),
            mm_token_type_ids=(ids == encoder.special.image_pad).int(),
        ).loss
        assert relative(ours, theirs) < 1e-5


def test_batches_of_several_rows_are_refused(setting):
    folder, encoder, samples = setting
    model = load_model(folder)
    with pytest.raises(ValueError, match="one packed row"):
        model(input_ids=torch.zeros(2, 4, dtype=torch.long))


@pytest.mark.slow
@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_changes_nothing(setting, reentrant):
    folder, encoder, samples = setting
    model = load_model(folder)
    model.train()
    plain, gradients = losses_and_gradients(model, encoder, [samples])
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    model.enable_input_require_grads()
    again, checkpointed = losses_and_gradients(model, encoder, [samples])
    assert torch.equal(plain, again)
    for name, gradient in gradients.items():
        assert relative(checkpointed[name], gradient) < 1e-5, name


@pytest.mark.slow
def test_pack_equals_separate_samples_in_mixed_precision(setting):
    """Under autocast a branch that saw another would be off by more than rounding.

    Of a model with experts all are active: one that rounding chooses or leaves out would change gradients as much.
    """
    folder, encoder, samples = setting
    model = load_model(folder)
    for router in [one for name, one in model.named_modules() if name.endswith(".mlp.gate")]:
        assert router.top_k < router.num_experts
        router.top_k = router.num_experts
    exact, _ = losses_and_gradients(model, encoder, [samples])
    with torch.autocast("cpu", torch.bfloat16):
        apart, grads_apart = losses_and_gradients(model, encoder, [[sample] for sample in samples])
        together, grads_together = losses_and_gradients(model, encoder, [samples])
    assert relative(together, apart) < 5e-3 and relative(together, exact) < 5e-3
    for name, gradient in grads_apart.items():
        assert grads_together[name].dtype == torch.float32
        cosine = torch.nn.functional.cosine_similarity(grads_together[name].flatten(), gradient.flatten(), dim=0)
        assert cosine > 0.97, name


@pytest.mark.slow
@pytest.mark.parametrize("bf16", [False, True])
def test_an_adapter_learns_the_same_from_packs(setting, bf16):
    folder, encoder, samples = setting
    torch.manual_seed(0)
    arguments = TuningArguments(finetuning_type="lora", lora_rank=4, lora_target=["all"])
    model = prepare_for_training(load_model(folder), arguments, bf16=bf16)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)  # else nothing but these would have a gradient
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        apart, grads_apart = losses_and_gradients(model, encoder, [[sample] for sample in samples])
        together, grads_together = losses_and_gradients(model, encoder, [samples])
    assert relative(together, apart) < (5e-3 if bf16 else 1e-5) and len(grads_apart) > 10
    for name, gradient in grads_apart.items():
        difference = (grads_together[name] - gradient).norm() / gradient.norm()
        assert difference < (0.15 if bf16 else 1e-4), name
