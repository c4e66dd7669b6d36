"""The tower gives what transformers' own gives, in one attention call a layer, whatever the sizes of images."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForImageTextToText
from transformers.vision_utils import get_vision_attention_seqlens, get_vision_window_index

from gpt4scene.data.image_rules import image_rule
from gpt4scene.demo import tiny_model
from gpt4scene.demo.tiny_model import TinyShape
from gpt4scene.model import tower_attention
from gpt4scene.model.loading import load_model
from gpt4scene.model.tower import Tower
from gpt4scene.model.tower_attention import Sequences, TowerLayout, attend_images
from gpt4scene.model.tower_plan import TowerPlans

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
EQUAL = ((1, 12, 14),) * 3
MIXED = ((1, 12, 14), (1, 8, 6), (1, 12, 14), (1, 10, 12), (1, 8, 6), (2, 4, 8))
DEPTH = 3


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory):
    shape = TinyShape(vision_layers=DEPTH)
    return tiny_model.build(tmp_path_factory.mktemp(request.param) / "model", request.param, shape)


def pixels_of(grids, rule, dtype=torch.float32):
    torch.manual_seed(0)
    return torch.randn(sum(t * h * w for t, h, w in grids), rule.patch_length, dtype=dtype)


def parts(out):
    return [*out.pooler_output, *(one for layer in out.deepstack_features for one in layer)]


def reference(folder, grids, pixels, dtype, attention):
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, attn_implementation=attention)
    with torch.no_grad():
        out = model.model.visual(pixels, grid_thw=torch.tensor(grids))
    merged = [t * h * w // 4 for t, h, w in grids]
    found = list(out.pooler_output.split(merged))
    for layer in getattr(out, "deepstack_features", None) or ():
        found += layer.split(merged)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("grids", [EQUAL, MIXED], ids=["equal", "mixed"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_features_equal_those_of_transformers(folder, grids, dtype, tolerance, attention):
    tower = Tower(load_model(folder, dtype=dtype, attention=attention), image_rule(folder))
    pixels = pixels_of(grids, tower.rule, dtype)
    ours, theirs = parts(tower.encode(grids, pixels)), reference(folder, grids, pixels, dtype, attention)
    assert len(ours) == len(theirs) >= len(grids)
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape
        assert float((one - other).abs().max() / other.abs().max()) < tolerance


def test_varlen_kernels_get_the_sequences_that_transformers_would_give_them(folder):
    """flash-attn takes them as int32 on the device, and the longest as a number of the host."""
    model = load_model(folder)
    config = copy.deepcopy(model.config.vision_config)
    config._attn_implementation = "flash_attention_2"
    plan = TowerPlans(model.get_submodule("model.visual"), config)(MIXED, torch.device("cpu"))
    bounds, longest = get_vision_attention_seqlens(torch.tensor(MIXED), config)
    wanted = {"cu_seqlens": bounds, "max_seqlen": longest}
    if "window_index" in plan:
        sizes = config.spatial_merge_size, config.window_size, config.patch_size
        index, bounds = get_vision_window_index(torch.tensor(MIXED), *sizes)
        wanted |= {"window_index": index, "cu_window_seqlens": bounds, "max_window_seqlen": int(bounds.diff().max())}
    for name, value in wanted.items():
        found = plan[name]
        assert torch.equal(found, value) and found.dtype == value.dtype if torch.is_tensor(value) else found == value


@pytest.fixture
def calls(monkeypatch):
    """The shapes of queries that the tower's attention was called with."""
    found, real = [], tower_attention.scaled_dot_product_attention

    def counted(query, *args, **options):
        found.append(tuple(query.shape))
        return real(query, *args, **options)

    monkeypatch.setattr(tower_attention, "scaled_dot_product_attention", counted)
    return found


def test_images_of_one_size_are_one_call_a_layer(folder, calls):
    tower = Tower(load_model(folder), image_rule(folder))
    tower.encode(EQUAL, pixels_of(EQUAL, tower.rule))
    whole = [shape for shape in calls if shape[2] == 12 * 14]
    if folder.parent.name.startswith("qwen2_5_vl"):  # two layers of windows, of 64, 32 and 16 patches
        windows = [(shape[0], shape[2]) for shape in calls if shape not in whole]
        assert len(whole) == 1 and windows == [(3, 64), (3, 48), (3, 32), (3, 24)] * 2
    else:
        assert len(whole) == len(calls) == DEPTH
    assert {shape[0] for shape in whole} == {3}


def test_images_of_several_sizes_are_one_call_a_layer_and_size(folder, calls):
    tower = Tower(load_model(folder), image_rule(folder))
    tower.encode(MIXED, pixels_of(MIXED, tower.rule))
    sizes = {rows * columns for _, rows, columns in MIXED}
    assert len(calls) <= DEPTH * 4 * len(sizes)
    if not tower.plans.windowed():
        assert len(calls) == DEPTH * len(sizes)


def one_by_one(query, key, value, lengths):
    """Attention in every sequence by itself, by plain products."""
    found = []
    for one in zip(*(states.split(list(lengths), 2) for states in (query, key, value)), strict=True):
        weights = (one[0] @ one[1].transpose(2, 3) * query.shape[-1] ** -0.5).softmax(-1)
        found.append(weights @ one[2])
    return torch.cat(found, 2).transpose(1, 2)


@settings(max_examples=40)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=9), st.integers(0, 99))
def test_sequences_of_any_lengths_attend_within_themselves(lengths, seed):
    torch.manual_seed(seed)
    query, key, value = torch.randn(3, 1, 2, sum(lengths), 8, dtype=torch.float64).requires_grad_()
    layout = TowerLayout(Sequences.of(lengths))
    assert len(layout.images.groups) <= len(set(lengths)) * 1
    ours, _ = attend_images(torch.nn.Identity(), query, key, value, sequences=layout)
    assert torch.allclose(ours, one_by_one(query, key, value, lengths), atol=1e-12)


@settings(max_examples=40)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=9), st.integers(0, 99))
def test_sequences_whose_patches_lie_anywhere_attend_within_themselves(lengths, seed):
    torch.manual_seed(seed)
    row = torch.randperm(sum(lengths))  # patch i lies at row[i]
    states = torch.randn(3, 1, 2, sum(lengths), 8, dtype=torch.float64)
    layout = TowerLayout(Sequences.ordered(lengths, row.numpy()))
    ours, _ = attend_images(torch.nn.Identity(), *states.index_select(3, row.argsort()), sequences=layout)
    assert torch.allclose(ours[:, row], one_by_one(*states, lengths), atol=1e-12)


def test_transformers_own_call_of_a_loaded_model_is_the_same(folder):
    """Without our plan, transformers cuts the row into sequences itself: ``generate`` and foreign code stay right."""
    tower = Tower(load_model(folder, dtype=torch.float64), image_rule(folder))
    pixels = pixels_of(MIXED, tower.rule, torch.float64)
    with torch.no_grad():
        out = tower.module(pixels, grid_thw=torch.tensor(MIXED)).pooler_output
    assert torch.allclose(out, torch.cat(tower.encode(MIXED, pixels).pooler_output), atol=1e-11)
