"""Qwen3-VL with experts: files of the release, packs, the router's loss, adapters, export."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from scene_rows import write_image
from transformers import AutoModelForImageTextToText

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.packs import collate, make_pack
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.demo import tiny_model
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.families.registry import shape_of
from gpt4scene.model.export import export, merge_adapter
from gpt4scene.model.inputs import row_losses
from gpt4scene.model.loading import check_checkpoint, load_model, load_tokenizer
from gpt4scene.model.lora import targets
from gpt4scene.model.pixels import normalise
from gpt4scene.model.quantized import unquantised
from gpt4scene.model.recompute import recompute
from gpt4scene.model.router import set_balance
from gpt4scene.model.tuning import prepare_for_training
from gpt4scene.settings.arguments import TuningArguments
from gpt4scene.settings.methods import MethodArguments
from gpt4scene.training.memory import PUBLISHED_PACK, Setup, estimate
from gpt4scene.types import Conversation, Origin, Turn

ROWS = (("What color is the chair?", "Red."), ("How many lamps are in the room?", "Two lamps."), ("Where?", "No."))
COEFFICIENT = 0.5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    shape = tiny_model.TinyShape(width=64, layers=2, heads=4, key_value_heads=2, vision_width=32, vision_layers=1)
    return tiny_model.build(tmp_path_factory.mktemp("moe") / "model", "qwen3_vl_moe", shape)


@pytest.fixture(scope="module")
def encoder(folder):
    return Encoder(load_tokenizer(folder), TEMPLATES["qwen3_vl"], image_rule(folder, 112))


@pytest.fixture(scope="module")
def samples(encoder, tmp_path_factory):
    place = tmp_path_factory.mktemp("images")
    images = tuple(write_image(place / f"{n}.png", size, n) for n, size in enumerate(((120, 90), (64, 100))))
    return [
        encoder.encode(
            Conversation((Turn("user", "<image>" * 2 + asked), Turn("assistant", answer)), images, Origin("d", "f", n))
        )
        for n, (asked, answer) in enumerate(ROWS)
    ]


def relative(a, b):
    return float((a - b).detach().abs().max() / b.detach().abs().max().clamp(min=1e-12))


def learned(model, encoder, packs):
    """The losses of the rows, and the gradients of their sum."""
    model.zero_grad()
    losses = []
    for pack in packs:
        rows = row_losses(model, collate(make_pack(pack), encoder), encoder.vision)
        rows.sum().backward()
        losses.append(rows.detach())
    return torch.cat(losses), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def swap_experts(folder, target):
    """A copy with the experts' axes as the release has them."""
    shutil.copytree(folder, target)
    weights = load_file(target / "model.safetensors")
    swapped = {name: one.mT.contiguous() if ".experts." in name else one for name, one in weights.items()}
    save_file(swapped, target / "model.safetensors", {"format": "pt"})
    return target


def test_experts_load_as_the_release_and_as_transformers_5_stores_them(folder, tmp_path):
    released = swap_experts(folder, tmp_path / "released")
    stored = [load_file(place / "model.safetensors") for place in (folder, released)]
    experts = [name for name in stored[0] if ".experts." in name]
    assert len(experts) == 4 and all(stored[0][name].shape == stored[1][name].mT.shape for name in experts)
    check_checkpoint(released)
    ours, theirs = load_model(folder).state_dict(), load_model(released).state_dict()
    assert all(torch.equal(theirs[name], one) for name, one in ours.items())


def test_experts_whose_axes_nobody_can_tell_apart_are_refused(folder, tmp_path):
    config = json.loads((shutil.copytree(folder, tmp_path / "square") / "config.json").read_text())
    config["text_config"]["moe_intermediate_size"] = 64
    (tmp_path / "square" / "config.json").write_text(json.dumps(config))
    weights = load_file(tmp_path / "square" / "model.safetensors")
    for name in [name for name in weights if ".experts." in name]:
        weights[name] = torch.zeros(4, 64, 64) if "down" in name else torch.zeros(4, 128, 64)
    save_file(weights, tmp_path / "square" / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match="square .*down_proj.*axes are swapped"):
        check_checkpoint(tmp_path / "square")


def test_layers_of_two_kinds_are_refused_before_memory_is_planned(folder):
    config = load_model(folder).config
    config.text_config.mlp_only_layers = [0]
    with pytest.raises(DataError, match="mlp_only_layers"):
        set_balance(config, 0.1)


def test_exports_load_in_plain_transformers(folder, tmp_path):
    wanted = AutoModelForImageTextToText.from_pretrained(folder).state_dict()
    for layout, swapped in (("released", True), ("current", False)):
        out = export(folder, [], tmp_path / layout, layout=layout)
        stored = load_file(out / "model.safetensors")
        name = "model.language_model.layers.0.mlp.experts.gate_up_proj"
        assert (stored[name].shape == wanted[name].mT.shape) == swapped
        found = AutoModelForImageTextToText.from_pretrained(out).state_dict()
        assert all(torch.equal(found[name], one) for name, one in wanted.items())


@pytest.mark.parametrize("coefficient", [None, COEFFICIENT])
def test_a_pack_equals_its_rows_and_a_row_transformers_own_loss(folder, encoder, samples, coefficient):
    model = load_model(folder)
    set_balance(model.config, coefficient)
    apart, grads_apart = learned(model, encoder, [[sample] for sample in samples])
    together, grads_together = learned(model, encoder, [samples])
    assert relative(together, apart) < 1e-5 and grads_apart.keys() == grads_together.keys()
    assert any("mlp.gate" in name for name in grads_apart) and any("experts" in name for name in grads_apart)
    for name, gradient in grads_apart.items():
        assert relative(grads_together[name], gradient) < 1e-4, name
    reference = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager")
    batch, ids = collate(make_pack(samples[:1]), encoder), torch.from_numpy(samples[0].ids_L)[None]
    reference.config.text_config.router_aux_loss_coef = coefficient or 0.0
    out = reference(
        input_ids=ids,
        labels=torch.from_numpy(samples[0].labels_L)[None],
        pixel_values=normalise(batch.pixel_values, encoder.vision),
        image_grid_thw=torch.tensor(samples[0].grids),
        mm_token_type_ids=(ids == encoder.special.image_pad).int(),
        output_router_logits=True,
    )
    assert relative(apart[0], out.loss) < 1e-5 and out.aux_loss > 1.9  # two choices a token, among four experts


def test_the_routers_loss_is_learned_where_layers_are_computed_again(folder, encoder, samples):
    model = load_model(folder).train()
    set_balance(model.config, COEFFICIENT)
    plain, wanted = learned(model, encoder, [samples])
    with pytest.raises(ConfigError, match="use_reentrant"):
        recompute(model, 1, {"use_reentrant": True})
    recompute(model, 1)
    again, found = learned(model, encoder, [samples])
    assert torch.equal(plain, again)
    for name, gradient in wanted.items():
        assert relative(found[name], gradient) < 1e-5, name


def test_a_model_without_experts_refuses_the_key(tmp_path):
    model = load_model(tiny_model.build(tmp_path / "model", "qwen3_vl"))
    set_balance(model.config, None)
    with pytest.raises(ConfigError, match="moe_aux_loss_coef: a qwen3_vl has no experts"):
        set_balance(model.config, 0.1)


def test_adapters_are_on_attention_and_experts_are_refused_by_name(folder, tmp_path):
    model = load_model(folder)
    for name in ("gate_up_proj", "experts", "gate"):
        with pytest.raises(ConfigError, match=f"lora_target: .*{name}"):
            targets(model, TuningArguments(finetuning_type="lora", lora_target=[name]))
    tuned = prepare_for_training(model, TuningArguments(finetuning_type="lora", lora_rank=4), bf16=False)
    trained = {name for name, one in tuned.named_parameters() if one.requires_grad}
    assert len(trained) == 16 and all(".self_attn." in name for name in trained)
    for name, one in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(one, std=0.1)
    ids = torch.arange(20)[None]
    wanted = tuned.eval()(input_ids=ids).logits
    tuned.save_pretrained(tmp_path / "adapter")
    merged = AutoModelForImageTextToText.from_pretrained(merge_adapter(tmp_path / "adapter", tmp_path / "out", folder))
    assert relative(merged(input_ids=ids).logits, wanted) < 1e-5
    assert relative(load_model(folder)(input_ids=ids).logits, wanted) > 1e-3


def test_few_bits_are_those_of_linear_modules_alone(folder):
    """A run says so, and its estimate of memory counts the experts whole."""
    model, asked = load_model(folder), MethodArguments(quantization_bit=4)
    shape = shape_of(model.config)
    linear = [one.weight.numel() for one in model.model.language_model.modules() if isinstance(one, torch.nn.Linear)]
    assert shape.linear_weights == sum(linear)
    assert "experts are no linear modules and stay whole, so that 2.46e-05 of the" in unquantised(asked, shape)
    assert unquantised(MethodArguments(), shape) is unquantised(asked, replace(shape, experts=0)) is None
    plain = Setup("lora", "bf16", 1, 2, rank=8)
    sizes = [estimate(shape, one, PUBLISHED_PACK, 0).weights for one in (plain, replace(plain, quantised=0.5))]
    assert sizes[0] - sizes[1] == 1.5 * sum(linear)


def test_freezing_takes_parts_of_layers_with_experts(folder):
    arguments = TuningArguments(
        finetuning_type="freeze", freeze_trainable_layers=1, freeze_trainable_modules=["experts"]
    )
    tuned = prepare_for_training(load_model(folder), arguments, bf16=False)
    assert {name for name, one in tuned.named_parameters() if one.requires_grad} == {
        f"model.language_model.layers.1.mlp.experts.{kind}_proj" for kind in ("gate_up", "down")
    }
