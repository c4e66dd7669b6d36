"""The kernel that packs are attended with: its parts merge to the whole, and its gradients to those of the whole."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn import attention
from torch.nn.attention import _registry
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoConfig

import gpt4scene
from gpt4scene.demo import tiny_model
from gpt4scene.errors import ConfigError
from gpt4scene.model import kernels
from gpt4scene.model.attention import attention_sentence
from gpt4scene.model.kernels import attention_gradients, attention_part, fused_kernels, kernel_for, merge
from gpt4scene.settings.config import parse
from gpt4scene.training import preflight


def states(heads: int, length: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(1, heads, length, 32, dtype=dtype)


@pytest.mark.parametrize("groups", [1, 4])
def test_parts_merge_to_the_whole(groups: int):
    torch.manual_seed(0)
    query, key, value = states(4, 7, torch.float64), *(states(4 // groups, 30, torch.float64) for _ in range(2))
    options = {"causal": False, "scale": 0.3}
    first = attention_part(query, key[:, :, :11], value[:, :, :11], **options)
    second = attention_part(query, key[:, :, 11:], value[:, :, 11:], **options)
    merged, _ = merge(*first, *second)
    whole = scaled_dot_product_attention(query, key, value, scale=0.3, enable_gqa=groups > 1)
    assert torch.allclose(merged, whole, atol=1e-14)


@pytest.mark.parametrize("groups", [1, 2])
def test_gradients_are_those_of_autograd(groups: int):
    torch.manual_seed(0)
    tensors = [states(heads, 9, torch.float64).requires_grad_() for heads in (4, 4 // groups, 4 // groups)]
    whole = scaled_dot_product_attention(*tensors, is_causal=True, scale=0.3, enable_gqa=groups > 1)
    grad = torch.randn_like(whole)
    wanted = torch.autograd.grad(whole, tensors, grad)
    plain = [tensor.detach() for tensor in tensors]
    out, lse = attention_part(*plain, causal=True, scale=0.3)
    found = attention_gradients(grad, *plain, out, lse, causal=True, scale=0.3)
    assert all(torch.allclose(one, other, atol=1e-13) for one, other in zip(found, wanted, strict=True))


TABLE = [
    ("cpu", torch.float32, 128, (0, 0), "cpu"),
    ("cpu", torch.float64, 33, (0, 0), "cpu"),
    ("cpu", torch.bfloat16, 64, (0, 0), "cpu"),
    ("cpu", torch.float16, 64, (0, 0), "cpu"),
    ("cuda", torch.bfloat16, 128, (9, 0), "flash"),
    ("cuda", torch.float16, 80, (8, 0), "flash"),
    ("cuda", torch.bfloat16, 72, (8, 9), "flash"),
    ("cuda", torch.bfloat16, 256, (9, 0), "flash"),
    ("cuda", torch.bfloat16, 256, (8, 9), "efficient"),
    ("cuda", torch.bfloat16, 320, (9, 0), "efficient"),
    ("cuda", torch.float32, 128, (9, 0), "efficient"),
    ("cuda", torch.float32, 36, (7, 5), "efficient"),
    ("cuda", torch.float16, 128, (7, 5), "efficient"),
    ("cuda", torch.bfloat16, 128, (7, 5), None),
    ("cuda", torch.bfloat16, 36, (9, 0), None),
    ("cuda", torch.float32, 33, (9, 0), None),
    ("cuda", torch.float64, 128, (9, 0), None),
    ("cpu", torch.float8_e4m3fn, 128, (0, 0), None),
    ("mps", torch.float32, 128, (0, 0), None),
]


@pytest.mark.parametrize(("device", "dtype", "channels", "capability", "kernel"), TABLE)
def test_every_entry_has_its_kernel_or_is_refused(device, dtype, channels, capability, kernel):
    if kernel is None:
        with pytest.raises(ValueError, match=f"heads of {channels} on a {device} device"):
            kernel_for(device, dtype, channels, capability)
    else:
        assert kernel_for(device, dtype, channels, capability) == kernel


def test_a_run_that_no_kernel_can_do_is_told_what_its_command_takes(tmp_path):
    folder = tiny_model.build(tmp_path / "model")
    nowhere = torch.device("mps")
    config = parse(["--model_name_or_path", "m", "--dataset", "d", "--output_dir", "o"])
    arguments = SimpleNamespace(fp16=False, bf16=False, device=nowhere)
    with pytest.raises(ConfigError, match="no fused attention for float32.*flash_attn: disabled"):
        preflight.attention_of(config, arguments, folder)
    network = AutoConfig.from_pretrained(folder)
    with pytest.raises(ConfigError, match="on a mps device; take --device cpu$"):
        attention_sentence(network, "sdpa", nowhere, torch.float32, "take --device cpu")
    assert "plain products" in attention_sentence(network, "eager", nowhere, torch.float32, "")


@pytest.mark.parametrize("kernel", ["flash", "efficient"])
@pytest.mark.parametrize("groups", [1, 4])
def test_cuda_kernels_are_called_as_this_torch_declares_them(monkeypatch, kernel, groups):
    """On the meta device, which checks arguments and shapes and computes nothing."""
    monkeypatch.setattr(kernels, "_kernel_on", lambda *_: kernel)
    query = torch.empty(2, 4, 70, 32, device="meta", dtype=torch.bfloat16)
    key, value = (torch.empty(2, 4 // groups, 70, 32, device="meta", dtype=torch.bfloat16) for _ in range(2))
    out, lse = attention_part(query, key, value, causal=True, scale=0.3)
    assert out.shape == query.shape and lse.shape == (2, 4, 70) and lse.dtype == torch.float32
    grads = attention_gradients(out, query, key, value, out, lse, causal=True, scale=0.3)
    assert [one.shape for one in grads] == [query.shape, key.shape, value.shape]


def test_the_efficient_kernel_gets_the_log_sum_exp_in_whole_blocks():
    lse = torch.randn(1, 3, 70).transpose(0, 1).contiguous().transpose(0, 1)
    kept = kernels._aligned(lse)
    assert kept.shape == (1, 3, 96) and kept.is_contiguous() and kept[:, :, 70:].isposinf().all()
    assert torch.equal(kept[:, :, :70], lse)


def test_on_cuda_neither_cudnn_nor_plain_products_may_be_chosen():
    flags = torch.backends.cuda
    before = flags.cudnn_sdp_enabled(), flags.math_sdp_enabled()
    with fused_kernels(torch.device("cuda")):
        assert flags.flash_sdp_enabled() and flags.mem_efficient_sdp_enabled()
        assert not flags.cudnn_sdp_enabled() and not flags.math_sdp_enabled()
    with fused_kernels(torch.device("cpu")):
        assert (flags.cudnn_sdp_enabled(), flags.math_sdp_enabled()) == before


def test_pytorch_chooses_no_kernel_without_the_bounds():
    """Every ``scaled_dot_product_attention`` of ours stands in ``with fused_kernels(device)``."""
    texts = {path: path.read_text(encoding="utf-8") for path in Path(gpt4scene.__file__).parent.rglob("*.py")}
    calls, bounded = [], set()
    for path, text in texts.items():
        if "scaled_dot_product_attention(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.With) and any("fused_kernels" in ast.unparse(item) for item in node.items):
                bounded |= {(path.name, inner.lineno) for inner in ast.walk(node) if isinstance(inner, ast.Call)}
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("scaled_dot_product_attention"):
                calls.append((path.name, node.lineno))
    assert calls and not set(calls) - bounded


def test_the_kernel_in_use_is_named():
    said = kernels.kernel_sentence(torch.device("cpu"), torch.float32, 128)
    assert (
        said == f"flash attention on the CPU of torch {torch.__version__} in float32, prefix and branches in two parts"
    )


@pytest.fixture
def flash_3(monkeypatch):
    """A stand-in for the package flash-attn-3 on a Hopper GPU; what it was asked to do."""
    done = []

    class Handle:
        def remove(self):
            done.append("removed")

    def activate():
        done.append("activated")
        return Handle()

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    monkeypatch.setitem(_registry._FLASH_ATTENTION_IMPLS, "FA3", activate)
    yield done
    if attention.current_flash_attention_impl():
        attention.restore_flash_attention_impl()


def test_flash_attention_3_takes_the_place_of_2_once(flash_3):
    kernels.use_flash_3()
    kernels.use_flash_3()
    assert flash_3 == ["activated"] and attention.current_flash_attention_impl() == "FA3"
    assert "FlashAttention 3 of torch" in kernels.kernel_sentence(torch.device("cuda", 7), torch.bfloat16, 128)


def test_a_run_names_flash_attention_3_before_the_model_is_there(flash_3, monkeypatch, tmp_path):
    """``run.json`` and ``doctor`` ask for the name before anything is loaded."""
    monkeypatch.setattr(preflight, "attention_backend", lambda said: ("flash_attention_3", None))
    config = parse(["--model_name_or_path", "m", "--dataset", "d", "--output_dir", "o", "--flash_attn", "fa3"])
    arguments = SimpleNamespace(fp16=False, bf16=True, device=torch.device("cuda", 7))
    said = preflight.attention_of(config, arguments, tiny_model.build(tmp_path / "model"))
    assert said.startswith("FlashAttention 3 of torch") and flash_3 == ["activated"]


def test_flash_attention_3_is_refused_where_it_can_not_run(monkeypatch, flash_3):
    def broken():
        raise RuntimeError("does not expose FA3 kernels")

    monkeypatch.setitem(_registry._FLASH_ATTENTION_IMPLS, "FA3", broken)
    with pytest.raises(ConfigError, match="does not expose FA3 kernels.*write auto"):
        kernels.use_flash_3()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 0))
    with pytest.raises(ConfigError, match="needs a Hopper GPU"):
        kernels.use_flash_3()
