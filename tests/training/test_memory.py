"""The estimate of memory: parameters exactly, kept activations as PyTorch saves them, sharing out by its rules."""

from dataclasses import replace

import pytest
import torch
from hybrid import skip_unless_known
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForImageTextToText

from gpt4scene.families.registry import FAMILIES, shape_of
from gpt4scene.families.shape import PUBLISHED
from gpt4scene.families.tiny import TinyShape
from gpt4scene.model.attention import NAME
from gpt4scene.model.tuning import prepare_for_training
from gpt4scene.settings.arguments import TuningArguments
from gpt4scene.training.memory import (
    PUBLISHED_PACK,
    PackSize,
    Setup,
    estimate,
    kept_by_checkpoint,
    kept_by_layer,
    largest_pack,
    least_checkpointing,
    usable,
)

TOKENS = 611
"""A prime that is no size of any weight: what has it among its sizes is an activation."""

SEVEN = PUBLISHED["Qwen2-VL-7B"]
GB = 10**9


def config_of(family, layers=2):
    shape = TinyShape(width=128, layers=layers)
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    text = shape.text_config(1031) | {"bos_token_id": 0, "eos_token_id": 1}
    tokens = {name: index for index, name in enumerate(FAMILIES[family].tiny.tokens, 9)}
    return FAMILIES[family].tiny.config(shape, text, {name: index for index, name in enumerate(names, 5)} | tokens)


def make(family, layers, dtype=torch.float32):
    config = config_of(family, layers)
    parts = {"text_config": NAME, "vision_config": "sdpa"}
    return AutoModelForImageTextToText.from_config(config, dtype=dtype, attn_implementation=parts)


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_are_counted_exactly(family):
    skip_unless_known(family)
    model = make(family, 3)
    shape = shape_of(model.config)
    part_of = FAMILIES[family].part_of
    mergers = [one.numel() for name, one in model.named_parameters() if part_of(name) == "merger"]
    assert shape.parameters == sum(one.numel() for one in model.parameters())
    assert shape.tower.merger_parameters == sum(mergers)
    layers = list(model.get_submodule(FAMILIES[family].layers).children())
    assert shape.layer_parameters == max(sum(one.numel() for one in layer.parameters()) for layer in layers)
    wanted = prepare_for_training(model, TuningArguments(finetuning_type="lora", lora_rank=4), bf16=False)
    assert shape.lora_parameters(4) == sum(one.numel() for one in wanted.parameters() if one.requires_grad)


def test_published_sizes_are_the_published_ones():
    assert SEVEN.parameters == 8_291_375_616
    assert PUBLISHED["Qwen2-VL-2B"].parameters == 2_208_985_600


def saved(family, layers, method, precision, checkpoint=False, tokens=TOKENS, counts=lambda one: TOKENS in one.shape):
    """Bytes a token that PyTorch saves for the backward pass, in tensors that ``counts`` takes for activations."""
    arguments = TuningArguments(finetuning_type=method, pure_bf16=precision == "pure_bf16")
    model = prepare_for_training(make(family, layers), arguments, bf16=precision != "fp32").train()
    if checkpoint:
        base = model.base_model.model if method == "lora" else model
        base.gradient_checkpointing_enable({"use_reentrant": False})
    own = {one.untyped_storage().data_ptr() for one in (*model.parameters(), *model.buffers())}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and counts(tensor):
            kept[storage.data_ptr()] = storage  # held, so that no other takes its place
        return tensor

    ids, positions = torch.zeros(1, tokens, dtype=torch.long), torch.arange(tokens).expand(3, 1, -1)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
    ):
        model(input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=torch.tensor([3, 9]))
    return sum(storage.nbytes() for storage in kept.values()) / tokens


WAYS = [
    ("qwen2_vl", "lora", "bf16"),
    ("qwen2_vl", "lora", "fp32"),
    ("qwen2_vl", "full", "bf16"),
    ("qwen2_vl", "full", "pure_bf16"),
    ("qwen2_vl", "full", "fp32"),
    ("qwen2_5_vl", "lora", "bf16"),
    ("qwen3_vl", "lora", "bf16"),
    ("qwen3_vl", "full", "fp32"),
    ("qwen3_vl", "full", "bf16"),
]


@pytest.mark.parametrize(("family", "method", "precision"), WAYS, ids=map(" ".join, WAYS))
def test_a_layer_keeps_what_is_estimated(family, method, precision):
    rank = 8 if method == "lora" else 0
    setup = Setup(method, precision, trained=1, kept_layers=4, rank=rank)
    measured = (saved(family, 4, method, precision) - saved(family, 2, method, precision)) / 2
    assert kept_by_layer(shape_of(config_of(family)), setup) == pytest.approx(measured, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "precision"), [("lora", "bf16"), ("full", "bf16"), ("full", "fp32")])
@pytest.mark.parametrize(("family", "equal"), [("qwen3_5", 3), ("qwen3_5_moe", 3), ("qwen3_vl_moe", 1)])
def test_layers_that_carry_a_memory_or_have_experts_keep_what_is_estimated(family, equal, method, precision):
    """Two of three layers carry a memory; its chunks of 64 tokens, and pairs of token and expert, are no row's size."""
    skip_unless_known(family)
    setup = Setup(method, precision, trained=1, kept_layers=2 * equal, rank=8 if method == "lora" else 0)
    many, few = (
        saved(family, layers, method, precision, tokens=640, counts=lambda one: one.numel() >= 640)
        for layers in (2 * equal, equal)
    )
    shape = shape_of(config_of(family, 2 * equal))
    assert kept_by_layer(shape, setup) == pytest.approx((many - few) / equal, rel=0.05)


@pytest.mark.parametrize(("method", "precision"), [("lora", "bf16"), ("full", "bf16"), ("full", "fp32")])
def test_a_checkpointed_layer_keeps_its_input(method, precision):
    setup = Setup(method, precision, trained=1, kept_layers=4, rank=8 if method == "lora" else 0)
    both = [saved("qwen2_vl", layers, method, precision, checkpoint=True) for layers in (4, 2)]
    assert kept_by_checkpoint(shape_of(config_of("qwen2_vl")), setup) == pytest.approx((both[0] - both[1]) / 2)


def test_seven_billion_parameters_keep_what_was_traced():
    """Figures of a trace of the real shapes with fake tensors: bytes a token and layer."""
    full = Setup("full", "bf16", SEVEN.language_parameters, 28)
    lora = Setup("lora", "bf16", SEVEN.lora_parameters(8), 28, rank=8)
    assert kept_by_layer(SEVEN, full) == pytest.approx(261_240, rel=0.01)
    assert kept_by_layer(SEVEN, lora) == pytest.approx(211_176, rel=0.01)
    assert kept_by_layer(SEVEN, replace(full, precision="pure_bf16")) == pytest.approx(225_400, rel=0.01)


def test_sharding_follows_its_papers():
    """ZeRO, table 1: 16 bytes a trained number under mixed precision, shared out stage by stage."""
    full = Setup("full", "bf16", SEVEN.language_parameters, 28, processes=8)
    trained = full.trained

    def model_states(sharding, **changes):
        found = estimate(SEVEN, replace(full, sharding=sharding, **changes), PUBLISHED_PACK, 1)
        frozen = SEVEN.parameters - trained
        shards = 8 if sharding in ("zero3", "fsdp2") else 1
        return (found.weights + found.gradients + found.optimizer - 2 * frozen / shards) / trained

    assert model_states("one") == pytest.approx(16)  # weights 4, gradients 4, Adam 8
    assert model_states("ddp") == pytest.approx(20)  # and buckets
    assert model_states("zero1") == pytest.approx(2 + 2 + 16 / 8)
    assert model_states("zero2") == pytest.approx(2 + 2 / 8 + 16 / 8)
    assert model_states("zero3") == pytest.approx(20 / 8)
    assert model_states("zero3", offload=True) == pytest.approx(4 / 8)
    assert model_states("fsdp2") == pytest.approx(16 / 8)


@given(
    free=st.integers(2, 200).map(lambda size: size * GB),
    branches=st.integers(1, 64),
    fused=st.booleans(),
    method=st.sampled_from(["lora", "full"]),
)
def test_the_least_checkpointing_that_fits_is_chosen(free, branches, fused, method):
    trained = SEVEN.lora_parameters(8) if method == "lora" else SEVEN.language_parameters
    setup = Setup(method, "bf16", trained, 28, rank=8 * (method == "lora"), fused=fused)
    pack = replace(PUBLISHED_PACK, branches=branches)
    every = least_checkpointing(SEVEN, setup, pack, free)
    fits = {n: estimate(SEVEN, setup, pack, n).total <= usable(free) for n in range(29)}
    if every is None:
        assert not any(fits.values())
    elif every == 0:
        assert fits[0]
    else:
        assert fits[every] and not fits[0] and not any(fits[n] for n in range(every + 1, 29))


@given(free=st.integers(10, 200).map(lambda size: size * GB), most=st.integers(1, 64))
def test_the_largest_pack_fits_and_one_more_does_not(free, most):
    setup = Setup("lora", "bf16", SEVEN.lora_parameters(8), 28, rank=8)
    found = largest_pack(SEVEN, setup, PUBLISHED_PACK, free, most=most)
    assert 1 <= found <= most

    def total(branches):
        return estimate(SEVEN, setup, replace(PUBLISHED_PACK, branches=branches), 1).total

    assert found == 1 or total(found) <= usable(free)
    assert found == most or total(found + 1) > usable(free)


def test_memory_grows_with_all_that_costs_memory():
    setup = Setup("lora", "bf16", SEVEN.lora_parameters(8), 28, rank=8)
    pack = PackSize(prefix=8412, branches=4, branch=110, labels=20, patches=33_264)
    base = estimate(SEVEN, setup, pack, 1).total
    for changed in (replace(pack, branches=5), replace(pack, prefix=9000), replace(pack, patches=400_000)):
        assert estimate(SEVEN, setup, changed, 1).total > base
    totals = [estimate(SEVEN, setup, pack, every).total for every in (1, 2, 3, 7, 28, 0)]
    assert totals == sorted(totals), "the more is kept, the more memory"
    assert estimate(SEVEN, replace(setup, fused=True), pack, 0).total < estimate(SEVEN, setup, pack, 0).total


def test_few_bits_are_counted_of_linear_modules_alone():
    assert SEVEN.linear_weights == SEVEN.layers * SEVEN.layer_matmul
    mixed = shape_of(config_of("qwen3_vl_moe"))
    few, whole = (Setup("lora", "bf16", 0, 2, rank=8, quantised=bytes_) for bytes_ in (0.5, None))
    spared = estimate(mixed, whole, PUBLISHED_PACK, 1).weights - estimate(mixed, few, PUBLISHED_PACK, 1).weights
    with torch.device("meta"):
        layers = make("qwen3_vl_moe", 2).model.language_model.layers
    linear = [one for one in layers.modules() if isinstance(one, torch.nn.Linear)]
    assert spared == 1.5 * sum(one.weight.numel() for one in linear)
