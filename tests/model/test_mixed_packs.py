"""Rows with images of their own and rows of text in a scene's pack: the losses and gradients of each row alone."""

import pytest
import torch
from scene_rows import write_image

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.groups import group_rows
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.packs import collate, make_pack
from gpt4scene.data.planning import plan_packs
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.demo import tiny_model
from gpt4scene.model.inputs import row_losses
from gpt4scene.model.loading import load_model, load_tokenizer
from gpt4scene.types import Conversation, Origin, Turn


@pytest.fixture(scope="module", params=("qwen2_vl", "qwen2_5_vl", "qwen3_vl"))
def setting(request, tmp_path_factory):
    """A model in fp64, its encoder, and rows: two of a scene, two with images of their own, two of text."""
    place = tmp_path_factory.mktemp(request.param)
    model = load_model(tiny_model.build(place / "model", request.param)).double()
    encoder = Encoder(load_tokenizer(place / "model"), TEMPLATES["qwen2_vl"], image_rule(place / "model", 112))
    scene = tuple(write_image(place / f"{i}.png", size, i) for i, size in enumerate(((80, 60), (60, 90), (112, 84))))
    own = [write_image(place / f"own{i}.png", size, 7 + i) for i, size in enumerate(((84, 56), (57, 90)))]
    said = (
        (scene, "What color is the chair?", "Red."),
        ((*scene, own[0]), "Where was this seen?", "Beside the lamp."),
        ((), "What is a bed for?", "For sleeping in it."),
        (scene, "How many lamps are in the room?", "Two lamps, both white."),
        ((*scene, own[1]), "Is this the room?", "No."),
        ((), "Hello?", "Hello."),
    )
    rows = [
        Conversation(
            (Turn("user", "<image>" * len(images) + asked), Turn("assistant", answer)), images, Origin("d", "f", n)
        )
        for n, (images, asked, answer) in enumerate(said)
    ]
    return model, encoder, rows


def losses_and_gradients(model, encoder, packs):
    """Return losses by row, and all gradients."""
    model.zero_grad()
    losses = {}
    for samples in packs:
        batch = collate(make_pack(samples), encoder)
        found = row_losses(model, batch, encoder.vision)
        found.sum().backward()
        losses |= dict(zip((origin.row for origin in batch.origins), found.tolist(), strict=True))
    return losses, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.fixture(scope="module")
def alone(setting):
    """Losses and gradients of the rows one by one."""
    model, encoder, rows = setting
    return losses_and_gradients(model, encoder, [[encoder.encode(row)] for row in rows])


@pytest.mark.slow
@pytest.mark.parametrize(
    "packs",
    [((0, 1, 2, 3, 4, 5),), ((4, 1, 5), (2, 0), (3,)), ((2, 5), (1, 0), (4, 3)), ((5, 1), (3, 2, 4, 0))],
    ids=["all", "no row of the scene alone", "texts together", "one with its own"],
)
def test_mixed_packs_equal_separate_samples(setting, alone, packs):
    model, encoder, rows = setting
    samples = [encoder.encode(row) for row in rows]
    apart, grads_apart = alone
    together, grads_together = losses_and_gradients(model, encoder, [[samples[i] for i in pack] for pack in packs])
    assert together == pytest.approx(apart, rel=2e-6)  # the cross entropy is taken in fp32
    assert grads_apart.keys() == grads_together.keys() and len(grads_apart) > 30
    for name, gradient in grads_apart.items():
        assert (grads_together[name] - gradient).abs().max() <= 1e-5 * gradient.abs().max().clamp(min=1e-9), name


def test_all_of_them_are_planned_as_one_pack(setting):
    _, encoder, rows = setting
    assert [sorted(pack) for pack in plan_packs(group_rows(rows, encoder), 8, 0, 0, 1)[0]] == [list(range(6))]


def test_a_branch_without_the_prefix_does_not_see_it(setting):
    """The check that the test above can fail: one token of the prefix changes scene rows, and no row of text."""
    model, encoder, rows = setting
    batch = collate(make_pack([encoder.encode(rows[index]) for index in (0, 2)]), encoder)
    with torch.no_grad():
        before = row_losses(model, batch, encoder.vision)
        batch.input_ids[0, 1] += 1
        after = row_losses(model, batch, encoder.vision)
    assert before[0] != after[0] and before[1] == after[1]
