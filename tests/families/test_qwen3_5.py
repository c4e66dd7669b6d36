"""Qwen3.5: what its releases hold, what learns, fused kernels; and its kind with experts."""

import json
import shutil

import pytest
import torch
from hybrid import make_exact
from safetensors.torch import load_file, save_file
from scene_rows import write_image
from transformers import AutoModelForImageTextToText

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.packs import collate, make_pack
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.demo import tiny_model
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.families.tiny import TinyShape
from gpt4scene.model.experts import joined
from gpt4scene.model.export import export
from gpt4scene.model.fused import Kernels, fuse, plain_gate, plain_norm
from gpt4scene.model.inputs import row_losses
from gpt4scene.model.loading import check_checkpoint, load_model, load_tokenizer, unused_weights
from gpt4scene.model.pixels import normalise
from gpt4scene.model.recompute import recompute
from gpt4scene.model.router import set_balance
from gpt4scene.model.tuning import prepare_for_training
from gpt4scene.model.weight_files import Stored
from gpt4scene.settings.arguments import TuningArguments
from gpt4scene.settings.methods import MethodArguments
from gpt4scene.types import Conversation, Origin, Turn

pytest.importorskip("transformers.models.qwen3_5", reason="this transformers has no Qwen3.5")
SHAPE = TinyShape(width=64, layers=3, vision_layers=1)
ROWS = (("What color is the chair?", "Red."), ("How many lamps are in the room?", "Two lamps."), ("Where?", "No."))
WEIGHTS = "model.safetensors"
EXPERTS = "model.language_model.layers.0.mlp.experts"
MIXERS = {"in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b", "out_proj"}


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    return tiny_model.build(tmp_path_factory.mktemp("dense") / "model", "qwen3_5", SHAPE)


@pytest.fixture(scope="module")
def moe(tmp_path_factory):
    return tiny_model.build(tmp_path_factory.mktemp("moe") / "model", "qwen3_5_moe", SHAPE)


def encoded(folder, place):
    """The encoder of a checkpoint, and three questions about two images."""
    encoder = Encoder(load_tokenizer(folder), TEMPLATES["qwen2_vl"], image_rule(folder, 112))
    images = tuple(write_image(place / f"{n}.png", size, n) for n, size in enumerate(((120, 90), (64, 100))))
    turns = [(Turn("user", "<image>" * 2 + asked), Turn("assistant", answer)) for asked, answer in ROWS]
    return encoder, [encoder.encode(Conversation(two, images, Origin("d", "f", n))) for n, two in enumerate(turns)]


def learned(model, encoder, packs):
    """The losses of the rows, and the gradients of their sum."""
    model.zero_grad()
    losses = []
    for pack in packs:
        rows = row_losses(model, collate(make_pack(pack), encoder), encoder.vision)
        rows.sum().backward()
        losses.append(rows.detach())
    return torch.cat(losses), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def relative(a, b):
    return float((a - b).detach().abs().max() / b.detach().abs().max().clamp(min=1e-12))


@pytest.mark.slow
def test_weights_that_draft_answers_are_passed_over_and_named(dense, tmp_path):
    folder = shutil.copytree(dense, tmp_path / "released")
    assert unused_weights(folder) is None
    weights = load_file(folder / WEIGHTS) | {"mtp.fc.weight": torch.ones(64, 128), "mtp.norm.weight": torch.ones(64)}
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    said = unused_weights(folder)
    assert said is not None and "2 tensors (mtp.*) are neither loaded nor saved" in said
    ours = load_model(folder).state_dict()
    assert all(torch.equal(ours[name], one) for name, one in load_model(dense).state_dict().items())
    save_file(weights | {"mtq.fc.weight": torch.ones(2)}, folder / WEIGHTS, {"format": "pt"})
    with pytest.raises(DataError, match="unknown mtq.fc.weight"):
        check_checkpoint(folder)


def test_rotary_sections_fill_the_part_of_a_head_that_turns(dense, tmp_path):
    folder = shutil.copytree(dense, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["rope_parameters"]["mrope_section"] = [4, 2, 2]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"does not sum to 4, half of the 0.5 of a head's channels that turn"):
        check_checkpoint(folder)


def test_all_linear_modules_of_recurrent_layers_learn_as_the_keys_say(dense):
    tuned = prepare_for_training(load_model(dense), TuningArguments(finetuning_type="lora", lora_rank=2), bf16=False)
    adapted = {name.split(".")[-4] for name, one in tuned.named_parameters() if one.requires_grad}
    assert adapted == MIXERS | {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    arguments = TuningArguments(
        finetuning_type="freeze", freeze_trainable_layers=2, freeze_trainable_modules=["linear_attn"]
    )
    model = prepare_for_training(load_model(dense), arguments, bf16=True)
    trained = [name for name, one in model.named_parameters() if one.requires_grad and "language" in name]
    assert len(trained) == 9 and all(".layers.1.linear_attn." in name for name in trained)
    assert model.get_parameter("model.language_model.layers.0.linear_attn.A_log").dtype == torch.bfloat16
    asked = TuningArguments(finetuning_type="lora", lora_target=["q_proj"])
    tuned = prepare_for_training(
        load_model(dense), asked, bf16=False, methods=MethodArguments(additional_target=["linear_attn"])
    )
    tuned(input_ids=torch.arange(9)[None], use_cache=False).logits.sum().backward()
    whole = {name: one.grad for name, one in tuned.named_parameters() if "modules_to_save" in name}
    assert len(whole) == 18 and all(gradient.any() for gradient in whole.values())
    wrong = TuningArguments(finetuning_type="freeze", freeze_trainable_modules=["linear_atn"])
    with pytest.raises(ConfigError, match="known: .*linear_attn"):
        prepare_for_training(load_model(dense), wrong, bf16=False)


@pytest.mark.parametrize(("kind", "bf16"), [("dense", False), ("dense", True), ("moe", True)])
def test_centred_norms_and_gates_are_fused_bit_for_bit(request, kind, bf16):
    folder = request.getfixturevalue(kind)
    model, ids = load_model(folder, dtype=torch.bfloat16 if bf16 else torch.float32), torch.arange(40)[None]
    for name, weight in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(weight, std=0.3)  # zeros would hide what is added to them

    def step():
        model.zero_grad()
        logits = model(input_ids=ids, use_cache=False).logits
        logits.float().logsumexp(-1).mean().backward()
        return logits.detach(), [one.grad for one in model.parameters() if one.grad is not None]

    logits, gradients = step()
    names = list(model.state_dict())
    assert fuse(model, Kernels("plain", plain_norm, plain_gate)) == {"norms": 9, "gates": 3}
    found, again = step()
    assert list(model.state_dict()) == names and torch.equal(found, logits)
    assert all(map(torch.equal, again, gradients))


@pytest.mark.slow
def test_experts_of_both_kinds_of_files_are_the_same_model(moe, tmp_path):
    alone, places = load_file(moe / WEIGHTS), {}
    assert f"{EXPERTS}.3.up_proj.weight" in alone and f"{EXPERTS}.gate_up_proj" not in alone
    for layout in ("released", "current"):
        places[layout] = export(moe, [], tmp_path / layout, layout=layout)
        assert load_file(places[layout] / WEIGHTS)[f"{EXPERTS}.gate_up_proj"].shape == (4, 64, 64)
    wanted = AutoModelForImageTextToText.from_pretrained(moe).state_dict()
    for folder in (moe, *places.values()):
        ours, theirs = load_model(folder).state_dict(), AutoModelForImageTextToText.from_pretrained(folder).state_dict()
        assert all(torch.equal(ours[name], one) and torch.equal(theirs[name], one) for name, one in wanted.items())


def test_experts_that_are_not_whole_fit_no_model(moe, tmp_path):
    sizes = {"gate_proj": (5, 8), "up_proj": (5, 8), "down_proj": (8, 5)}
    stored = {f"a.mlp.experts.{n}.{kind}.weight": Stored("F32", size) for n in range(3) for kind, size in sizes.items()}
    whole = joined(stored | {"b": Stored("F32", (1,))})
    assert {name: one.shape for name, one in whole.items()} == {
        "b": (1,),
        "a.mlp.experts.gate_up_proj": (3, 10, 8),
        "a.mlp.experts.down_proj": (3, 8, 5),
    }
    for name in ("a.mlp.experts.1.up_proj.weight", "a.mlp.experts.0.down_proj.weight"):
        other = {key: one for key, one in stored.items() if key != name}
        assert joined(other) == other
        assert joined(stored | {name: Stored("F32", (8, 8))}).keys() == stored.keys()
    folder = shutil.copytree(moe, tmp_path / "cut")
    weights = load_file(folder / WEIGHTS)
    del weights[f"{EXPERTS}.3.up_proj.weight"]
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    with pytest.raises(DataError, match=r"unknown .*experts\.0"):
        check_checkpoint(folder)


@pytest.mark.slow
@pytest.mark.parametrize("coefficient", [None, 0.5])
def test_with_experts_a_pack_equals_its_rows_and_a_row_transformers_own_loss(moe, tmp_path, coefficient):
    encoder, rows = encoded(moe, tmp_path)
    model = make_exact(load_model(moe))
    model.set_experts_implementation("eager")  # the products of the other take no fp64
    set_balance(model.config, coefficient)
    apart, grads_apart = learned(model, encoder, [[row] for row in rows])
    together, grads_together = learned(model, encoder, [rows])
    assert relative(together, apart) < 1e-5 and grads_apart.keys() == grads_together.keys()
    assert {"gate.weight", "gate_up_proj", "shared_expert_gate.weight"} <= {
        n.split("mlp.")[-1].removeprefix("experts.") for n in grads_apart
    }
    for name, gradient in grads_apart.items():
        bound = 5e-3 if name.endswith(("A_log", "dt_bias", "in_proj_a.weight")) else 1e-3  # computed in fp32
        assert relative(grads_together[name], gradient) < bound, name
    recompute(model.train(), 1)
    again, found = learned(model, encoder, [rows])
    assert torch.equal(again, together)
    assert all(relative(found[name], one) < 1e-5 for name, one in grads_together.items())
    reference = AutoModelForImageTextToText.from_pretrained(moe, attn_implementation="eager")
    reference.config.text_config.router_aux_loss_coef = coefficient or 0.0
    batch, ids = collate(make_pack(rows[:1]), encoder), torch.from_numpy(rows[0].ids_L)[None]
    out = reference(
        input_ids=ids,
        labels=torch.from_numpy(rows[0].labels_L)[None],
        pixel_values=normalise(batch.pixel_values, encoder.vision),
        image_grid_thw=torch.tensor(rows[0].grids),
        mm_token_type_ids=(ids == encoder.special.image_pad).int(),
        output_router_logits=True,
    )
    assert relative(apart[0], out.loss) < 1e-5
