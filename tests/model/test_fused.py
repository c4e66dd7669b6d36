"""Fused norms and SwiGLU: same numbers, same names of weights, in the modules that are named and in no others."""

import importlib.util
import shutil
from dataclasses import replace

import pytest
import torch
from peft import get_peft_model_state_dict
from transformers import PreTrainedModel

from gpt4scene.demo import tiny_model
from gpt4scene.errors import ConfigError
from gpt4scene.families.registry import family_of
from gpt4scene.model import fused
from gpt4scene.model.fused import (
    FusedGate,
    FusedNorm,
    Kernels,
    check_fusing,
    choose_kernels,
    compiled,
    fuse,
    plain_gate,
    plain_norm,
)
from gpt4scene.model.loading import load_model, meta_model
from gpt4scene.model.recompute import recompute
from gpt4scene.model.tuning import prepare_for_training
from gpt4scene.settings.arguments import TuningArguments

PLAIN = Kernels("plain", plain_norm, plain_gate)
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile on a CPU needs g++")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    shape = tiny_model.TinyShape(width=64, layers=2)
    names = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
    return {name: tiny_model.build(tmp_path_factory.mktemp(name) / "model", name, shape) for name in names}


def inner(model) -> PreTrainedModel:
    return model if isinstance(model, PreTrainedModel) else model.get_base_model()


def made(folder, method, bf16=False):
    torch.manual_seed(0)
    model = prepare_for_training(load_model(folder), TuningArguments(finetuning_type=method), bf16=bf16).train()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def step(model, length=150, bf16=False):
    model.zero_grad()
    ids, positions = torch.arange(length)[None], torch.arange(length).expand(3, 1, -1)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits
    loss = logits.float().logsumexp(-1).mean()
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_exchanged_modules_change_no_bit_and_no_name(folders, family, method):
    model = made(folders[family], method)
    names, (loss, gradients) = list(model.state_dict()), step(model)
    done = fuse(inner(model), PLAIN)
    assert done == {"norms": 5 + 4 * (family == "qwen3_vl"), "gates": 2}
    assert list(model.state_dict()) == names
    found, again = step(model)
    assert torch.equal(found, loss) and again.keys() == gradients.keys()
    assert all(torch.equal(again[name], one) for name, one in gradients.items())
    if method == "lora":
        assert len(get_peft_model_state_dict(model)) == 2 * 2 * 7


def test_what_is_not_named_stays(folders):
    model = load_model(folders["qwen2_5_vl"])
    fuse(model, replace(PLAIN, gate=None))
    kinds = {type(module).__name__ for module in model.model.language_model.modules()}
    assert "Qwen2MLP" in kinds and "Qwen2_5_VLRMSNorm" not in kinds
    assert not any(isinstance(one, FusedNorm | FusedGate) for one in model.model.visual.modules())


@pytest.fixture
def with_liger(monkeypatch):
    monkeypatch.setattr(fused, "has_liger", lambda: True)
    monkeypatch.setattr(
        fused, "ligers", lambda norm, gate: Kernels("Liger", plain_norm if norm else None, plain_gate if gate else None)
    )


def test_what_does_not_fit_is_refused_where_it_was_asked_for_and_else_left_plain(folders, monkeypatch, with_liger):
    model = meta_model(folders["qwen2_vl"])
    check_fusing(True, model)
    model.config.text_config.hidden_act = "gelu"
    check_fusing(None, model)
    check_fusing(True, model, gate=False)
    for refused in (check_fusing, lambda asked, model: choose_kernels(asked, model, CUDA)):
        with pytest.raises(ConfigError, match="gated by gelu.*leave use_liger_kernel out"):
            refused(True, model)
    kernels, sentence = choose_kernels(None, model, CUDA)
    assert kernels.norm and kernels.gate is None and "compute norms; the MLPs" in sentence and "gelu" in sentence
    assert fuse(model, kernels) == {"norms": 5, "gates": 0}
    other = replace(family_of(model.config), norms=("SomeOtherNorm",))
    monkeypatch.setattr(fused, "family_of", lambda config: other)
    kernels, sentence = choose_kernels(None, meta_model(folders["qwen2_vl"]), CUDA, gate=False)
    assert kernels is None and "no exact kernel is known for the norms" in sentence


def apart(found, wanted):
    """The largest difference, relative to the largest number."""
    return float((found - wanted).detach().abs().max() / wanted.detach().abs().max())


@pytest.mark.slow
@compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_kernels_round_as_the_plain_ones_and_compile_once(dtype):
    kernels = compiled()
    weight = torch.randn(64, dtype=dtype, requires_grad=True)
    graphs = []
    for length in (150, 311, 64):
        x, up = (torch.randn(1, length, 64, dtype=dtype, requires_grad=True) for _ in range(2))
        for fast, slow, given in ((kernels.norm, plain_norm, (x, weight, 1e-6)), (kernels.gate, plain_gate, (x, up))):
            tensors = [one for one in given if torch.is_tensor(one)]
            out, wanted = fast(*given), slow(*given)
            grad = torch.randn_like(out)
            found, reference = (torch.autograd.grad(one, tensors, grad) for one in (out, wanted))
            half = dtype == torch.bfloat16
            assert torch.equal(out, wanted) if half else apart(out, wanted) < 1e-6
            assert all(apart(a, b) < (1e-2 if half else 1e-5) for a, b in zip(found, reference, strict=True))
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert graphs[0] == graphs[-1], "another length compiles nothing anew"


@pytest.mark.slow
@compiler
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_model_with_compiled_kernels_learns_the_same(folders, method):
    model = made(folders["qwen2_vl"], method)
    loss, gradients = step(model)
    fuse(inner(model), compiled())
    recompute(model, 1 if method == "lora" else 0)
    found, again = step(model)
    assert torch.allclose(found, loss, rtol=1e-6)
    scale = max(float(one.abs().max()) for one in gradients.values())
    assert all(float((again[name] - one).abs().max()) < 1e-5 * scale for name, one in gradients.items())


@pytest.mark.parametrize(
    ("asked", "device", "liger", "triton", "name"),
    [
        (None, CPU, True, True, None),
        (False, CUDA, True, True, None),
        (None, CUDA, True, True, "Liger"),
        (True, CUDA, True, True, "Liger"),
        (None, CUDA, False, True, "torch.compile"),
        (None, CUDA, False, False, None),
    ],
)
def test_which_kernels_are_taken(folders, monkeypatch, asked, device, liger, triton, name):
    there = {"liger_kernel": liger, "triton": triton}
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda one: there.get(one) or (None if one in there else real(one))
    )
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(fused, "ligers", lambda norm, gate: Kernels("Liger", plain_norm, plain_gate))
    kernels, sentence = choose_kernels(asked, meta_model(folders["qwen2_vl"]), device)
    assert (kernels.name if kernels else None) == name
    assert bool(sentence) == (asked is not False and device is CUDA), "also where there are none, and could be"
    assert sentence is None or "norms and SwiGLU" in sentence


def test_the_sentence_names_what_is_fused_and_nothing_else(folders, with_liger):
    model = meta_model(folders["qwen2_vl"])
    assert choose_kernels(None, model, CUDA, norm=False)[1] == "Liger's kernels compute SwiGLU"
    assert choose_kernels(None, model, CUDA, norm=False, gate=False) == (None, None)
    assert "leaves nothing to fuse" in str(choose_kernels(True, model, CUDA, norm=False, gate=False)[1])


def test_liger_that_was_asked_for_and_cannot_run_is_said(folders, monkeypatch):
    model = meta_model(folders["qwen2_vl"])
    assert "need a CUDA device" in str(choose_kernels(True, model, CPU)[1])
    monkeypatch.setattr(fused, "has_liger", lambda: False)
    with pytest.raises(ConfigError, match="pip install liger-kernel"):
        choose_kernels(True, model, CUDA)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available() or not fused.has_liger(), reason="needs CUDA and Liger")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_ligers_kernels_give_the_plain_numbers(dtype):
    kernels = fused.ligers()
    x, up = (torch.randn(1, 311, 256, device="cuda", dtype=dtype, requires_grad=True) for _ in range(2))
    weight = torch.randn(256, device="cuda", dtype=dtype, requires_grad=True)
    most = 1e-2 if dtype == torch.bfloat16 else 1e-5
    for fast, slow, given in ((kernels.norm, plain_norm, (x, weight, 1e-6)), (kernels.gate, plain_gate, (x, up))):
        tensors = [one for one in given if torch.is_tensor(one)]
        wanted = slow(*given)
        grad = torch.randn_like(wanted)
        reference = torch.autograd.grad(wanted, tensors, grad)
        out = fast(*given)
        assert apart(out, wanted) < most
        found = torch.autograd.grad(out, tensors, grad)  # writes over what it saved, so the plain one came first
        assert all(apart(a, b) < most for a, b in zip(found, reference, strict=True))
