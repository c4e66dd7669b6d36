"""Layers with a recurrent state: a pack gives the losses and gradients of its rows one by one, and of transformers."""

import json

import pytest
import torch
from hybrid import make_exact
from scene_rows import write_image
from transformers import AutoModelForImageTextToText

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.layout import pack_layout
from gpt4scene.data.packs import collate, make_pack
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.demo import tiny_model
from gpt4scene.families.tiny import TinyShape
from gpt4scene.model.delta import PackedDelta, delta_sentence, fork_states
from gpt4scene.model.inputs import row_losses
from gpt4scene.model.loading import load_model, load_tokenizer
from gpt4scene.model.pixels import normalise
from gpt4scene.types import Conversation, Origin, Turn

pytest.importorskip("transformers.models.qwen3_5", reason="this transformers has no Qwen3.5")


@pytest.fixture(scope="module")
def layer():
    """One layer of transformers, its twin of ours, and 40 tokens' inputs."""
    from transformers import Qwen3_5TextConfig
    from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5GatedDeltaNet

    torch.manual_seed(0)
    sizes = {"linear_num_key_heads": 2, "linear_num_value_heads": 4}
    sizes |= {"linear_key_head_dim": 16, "linear_value_head_dim": 24, "num_hidden_layers": 4, "hidden_size": 64}
    theirs = Qwen3_5GatedDeltaNet(Qwen3_5TextConfig(**sizes), 0)
    return theirs, PackedDelta(theirs), torch.randn(1, 40, 64, requires_grad=True)


LAYOUTS = {
    "uneven": (17, (5, 9, 1, 8), 0),
    "even": (16, (8, 8, 8), 0),
    "no prefix": (0, (13, 20, 7), 0),
    "prefix shorter than a window": (2, (30, 8), 0),
    "some apart": (19, (5, 1, 8, 7), 2),
    "all apart": (20, (9, 11), 2),
    "one": (30, (10,), 0),
    "far from even": (9, (1, 25, 2, 3), 1),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_a_layer_gives_each_branch_what_transformers_gives_it_alone(layer, case):
    theirs, ours, hidden = layer
    prefix, lengths, apart = LAYOUTS[case]
    assert prefix + sum(lengths) == hidden.shape[1]
    weights = torch.linspace(-1, 1, hidden.numel()).view_as(hidden)

    def gradients(out):
        theirs.zero_grad()
        hidden.grad = None
        (out * weights).sum().backward()
        return {"hidden": hidden.grad, **{n: p.grad.clone() for n, p in theirs.named_parameters()}}

    found = ours(hidden, layout=pack_layout(prefix, lengths, apart))
    together = gradients(found)
    parts, start = [theirs(hidden[:, :prefix])] if prefix else [], prefix
    for number, length in enumerate(lengths):
        before = 0 if number >= len(lengths) - apart else prefix
        row = torch.cat([hidden[:, :before], hidden[:, start : start + length]], 1)
        parts.append(theirs(row)[:, before:])
        start += length
    alone = torch.cat(parts, 1)
    torch.testing.assert_close(found, alone, rtol=1e-5, atol=1e-6)
    for name, gradient in gradients(alone).items():
        assert (together[name] - gradient).abs().max() <= 2e-5 * gradient.abs().max(), name


def test_weights_keep_their_names(layer):
    theirs, ours, _ = layer
    assert list(ours.state_dict()) and set(ours.state_dict()) == set(theirs.state_dict())


def test_what_would_go_unseen_is_refused(layer):
    _, ours, hidden = layer
    for wrong in ({"attention_mask": torch.ones(1, 40)}, {"cache_params": object(), "layout": pack_layout(40, ())}):
        with pytest.raises(ValueError, match="one packed row at a time"):
            ours(hidden, **wrong)
    with pytest.raises(ValueError, match="one packed row at a time"):
        ours(hidden.expand(2, -1, -1))


SAID = (
    (True, "What color is the chair?", "Red."),
    (False, "What is a bed for?", "For sleeping in it."),
    (True, "How many lamps are in the room?", "Two lamps, both white, and one more beside the door."),
    (False, "Hello?", "Hello."),
    (True, "Where?", "No."),
)


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """A checkpoint, its encoder, and samples: three of a scene, two of text."""
    place = tmp_path_factory.mktemp("hybrid")
    folder = tiny_model.build(place / "model", "qwen3_5", TinyShape(width=64, layers=3, vision_layers=1))
    encoder = Encoder(load_tokenizer(folder), TEMPLATES["qwen2_vl"], image_rule(folder, 112))
    scene = tuple(write_image(place / f"{i}.png", size, i) for i, size in enumerate(((80, 60), (112, 84))))
    rows = []
    for number, (sees, asked, answer) in enumerate(SAID):
        images = scene if sees else ()
        turns = Turn("user", "<image>" * len(images) + asked), Turn("assistant", answer)
        rows.append(encoder.encode(Conversation(turns, images, Origin("d", "f", number))))
    return folder, encoder, rows


def losses_and_gradients(model, encoder, packs):
    model.zero_grad()
    losses = {}
    for samples in packs:
        batch = collate(make_pack(samples), encoder)
        found = row_losses(model, batch, encoder.vision)
        found.sum().backward()
        losses |= dict(zip((origin.row for origin in batch.origins), found.tolist(), strict=True))
    return losses, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.slow
def test_a_pack_equals_its_rows_one_by_one_and_a_cut_of_it_in_two(setting):
    folder, encoder, rows = setting
    model = make_exact(load_model(folder))
    losses, gradients = losses_and_gradients(model, encoder, [[row] for row in rows])
    assert {name.rpartition(".")[2] for name in gradients} >= {"A_log", "dt_bias"}
    for packs in ([rows], [rows[2:], rows[:2]]):
        together, found = losses_and_gradients(model, encoder, packs)
        assert together == pytest.approx(losses, rel=1e-6)  # the cross entropy is taken in fp32
        assert found.keys() == gradients.keys()
        for name, gradient in gradients.items():
            assert (found[name] - gradient).abs().max() <= 1e-6 * gradient.abs().max(), name


def test_a_row_equals_transformers(setting):
    folder, encoder, rows = setting
    model = load_model(folder)
    reference = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager")
    for sample in rows[:2]:
        batch = collate(make_pack([sample]), encoder)
        ours = row_losses(model, batch, encoder.vision)
        ids = torch.from_numpy(sample.ids_L)[None]
        seen = {"pixel_values": normalise(batch.pixel_values, encoder.vision)} if sample.grids else {}
        seen |= {"image_grid_thw": torch.tensor(sample.grids)} if sample.grids else {}
        types = (ids == encoder.special.image_pad).int()
        theirs = reference(
            input_ids=ids, labels=torch.from_numpy(sample.labels_L)[None], mm_token_type_ids=types, **seen
        )
        assert ours.item() == pytest.approx(float(theirs.loss.detach()), rel=1e-5)


def test_generate_of_transformers_goes_on_where_its_cache_ends(setting):
    folder, _, _ = setting
    ids = torch.arange(9, 21)[None]
    loaded = [load_model(folder), AutoModelForImageTextToText.from_pretrained(folder)]
    ours, theirs = (
        one.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False)
        for one in loaded
    )
    assert torch.equal(ours, theirs)


def test_layers_that_are_not_exchanged_are_refused(setting):
    folder, encoder, rows = setting
    model = load_model(folder)
    kept = {name: one for name, one in model.named_modules() if isinstance(one, PackedDelta)}
    reference = AutoModelForImageTextToText.from_pretrained(folder)
    assert len(kept) == 2 and fork_states(model) == 0
    name = next(iter(kept))
    model.get_submodule(name.rpartition(".")[0]).register_module("linear_attn", reference.get_submodule(name))
    with pytest.raises(ValueError, match="Qwen3_5GatedDeltaNet does not know which questions"):
        row_losses(model, collate(make_pack(rows), encoder), encoder.vision)


def test_reports_name_what_computes_the_recurrent_layers(setting, monkeypatch):
    folder, _, _ = setting
    config = load_model(folder).config
    assert delta_sentence(config, torch.device("cpu"), torch.float32) == "recurrent layers: PyTorch"
    cuda = torch.device("cuda")
    assert "no fp32" in delta_sentence(config, cuda, torch.float32)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "fla" or None)
    said = delta_sentence(config, cuda, torch.bfloat16)
    assert said == ("recurrent layers: flash-linear-attention and PyTorch; pip install causal-conv1d makes them faster")
    config.text_config.layer_types = ["full_attention"] * 3
    assert delta_sentence(config, cuda, torch.bfloat16) is None


def test_the_tower_is_qwen3_vls_without_inner_layers(setting):
    folder, _, _ = setting
    described = json.loads((folder / "config.json").read_text())
    assert "deepstack_visual_indexes" not in described["vision_config"]
