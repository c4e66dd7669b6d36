"""Which layers are computed again, and that losses and gradients are the same for every choice."""

import pytest
import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from gpt4scene.demo import tiny_model
from gpt4scene.model.loading import load_model
from gpt4scene.model.recompute import draws, first_reached, recompute
from gpt4scene.model.tuning import prepare_for_training
from gpt4scene.settings.arguments import TuningArguments

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    shape = tiny_model.TinyShape(width=64, layers=5, vision_layers=2)
    return {name: tiny_model.build(tmp_path_factory.mktemp(name) / "model", name, shape) for name in FAMILIES}


@pytest.fixture(scope="module")
def folder(folders):
    return folders["qwen2_vl"]


def made(folder, **keys):
    torch.manual_seed(0)  # adapters draw their first weights
    return prepare_for_training(load_model(folder), TuningArguments(**keys), bf16=False).train()


def layers_of(model):
    return [
        one for name, one in model.named_modules() if isinstance(one, GradientCheckpointingLayer) and "lang" in name
    ]


def blocks_of(model):
    return [one for name, one in model.named_modules() if isinstance(one, GradientCheckpointingLayer) and "vis" in name]


def step(model):
    """Loss, gradients and what was kept for the backward pass, in bytes."""
    kept, own = {}, {one.untyped_storage().data_ptr() for one in model.parameters()}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    ids, positions = torch.arange(200)[None], torch.arange(200).expand(3, 1, -1)
    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one):
        logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits
        loss = logits.float().logsumexp(-1).mean()
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return loss.detach(), gradients, sum(one.nbytes() for one in kept.values())


WAYS = [
    ("qwen2_vl", "full"),
    ("qwen2_vl", "freeze"),
    ("qwen2_5_vl", "full"),
    ("qwen3_vl", "full"),
    ("qwen3_vl", "lora"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "method"), WAYS, ids=map(" ".join, WAYS))
def test_every_choice_gives_the_same_step_and_keeps_less_the_more_is_computed_again(folders, family, method):
    keys = {"finetuning_type": method} | ({"lora_dropout": 0.2} if method == "lora" else {})
    kept = []
    for every in (0, 2, 1):
        model = made(folders[family], **keys)
        recompute(model, every)
        loss, gradients, size = step(model)
        if not kept:
            wanted, reference = loss, gradients
        assert torch.equal(loss, wanted) and gradients.keys() == reference.keys() and gradients
        for name, gradient in gradients.items():
            assert torch.allclose(gradient, reference[name], rtol=1e-6, atol=1e-9), name
        kept.append(size)
    assert kept == sorted(kept, reverse=True) and kept[-1] < 0.7 * kept[0]


@pytest.mark.slow
@pytest.mark.parametrize(("every", "marked"), [(0, ""), (2, "024"), (3, "03"), (5, "0")])
def test_layers_are_counted_from_the_first(folder, every, marked):
    model = made(folder, finetuning_type="full")
    assert recompute(model, every) == len(marked)
    assert "".join(str(i) for i, one in enumerate(layers_of(model)) if one.gradient_checkpointing) == marked
    assert not any(block.gradient_checkpointing for block in blocks_of(model)), "a frozen tower keeps nothing"


def test_a_tower_that_learns_is_computed_again(folder):
    model = made(folder, finetuning_type="full", freeze_vision_tower=False)
    recompute(model, 2)
    assert all(block.gradient_checkpointing for block in blocks_of(model))


@pytest.mark.parametrize(
    ("keys", "first"),
    [
        ({"finetuning_type": "lora"}, 0),
        ({"finetuning_type": "freeze", "freeze_trainable_layers": 2}, 3),
        ({"finetuning_type": "freeze", "freeze_trainable_layers": -2}, 0),
        ({"finetuning_type": "freeze", "freeze_trainable_layers": 2, "freeze_multi_modal_projector": False}, 0),
    ],
)
def test_the_backward_pass_reaches_down_to_what_learns(folder, keys, first):
    model = made(folder, **keys)
    assert first_reached(model if keys["finetuning_type"] != "lora" else model.get_base_model()) == first
    recompute(model, 1)
    assert [one.gradient_checkpointing for one in layers_of(model)] == [index >= first for index in range(5)]


def test_random_numbers_are_kept_only_where_any_are_drawn(folder):
    assert not draws(made(folder, finetuning_type="lora"))
    assert draws(made(folder, finetuning_type="lora", lora_dropout=0.1))


def test_the_reentrant_kind_gives_the_same_gradients(folder):
    model, reference = made(folder, finetuning_type="lora"), made(folder, finetuning_type="lora")
    recompute(model, 2, {"use_reentrant": True})
    _, gradients, _ = step(model)
    _, wanted, _ = step(reference)
    assert all(torch.allclose(gradients[name], one, rtol=1e-6, atol=1e-9) for name, one in wanted.items())
