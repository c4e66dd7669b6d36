"""Two-part attention is exact: outputs and gradients are those of one softmax under a dense mask."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from transformers import Qwen2VLTextConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import eager_attention_forward

from gpt4scene.data.layout import pack_layout
from gpt4scene.model.attention import attend, attend_eagerly
from gpt4scene.model.layout import seen
from gpt4scene.model.two_part import attend_branches, attend_causally, attend_pack
from gpt4scene.types import PackLayout

SCALE = 0.2
CPU = torch.device("cpu")


def states(layout: PackLayout, dtype: torch.dtype, heads: int = 4, key_heads: int = 2) -> list[torch.Tensor]:
    """Return query, key and value of a row, laid out as transformers does: tokens one behind the other."""
    torch.manual_seed(0)
    length = layout.prefix_length + layout.branch_tokens
    shapes = [(1, length, number, 16) for number in (heads, key_heads, key_heads)]
    return [torch.randn(shape, dtype=dtype).transpose(1, 2).requires_grad_() for shape in shapes]


def dense(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layout: PackLayout) -> torch.Tensor:
    groups, mask = query.shape[1] // key.shape[1], seen(layout, CPU)[-query.shape[2] :]
    key, value = (one.repeat_interleave(groups, 1) for one in (key, value))
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=SCALE).transpose(1, 2)


def furthest(found: tuple[torch.Tensor, ...], wanted: tuple[torch.Tensor, ...]) -> float:
    """Return the largest difference, measured by the largest number of all.

    Not of its own tensor: where each token sees itself alone, queries have no gradient, and rounding is all there is.
    """
    largest = max(float(other.detach().abs().max()) for other in wanted)
    return max(float((one - other).detach().abs().max()) for one, other in zip(found, wanted, strict=True)) / largest


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 60),
    st.lists(st.integers(1, 40), max_size=6),
    st.integers(0, 6),
    st.booleans(),
    st.sampled_from((1, 2)),
)
def test_exact_against_a_dense_mask(prefix, lengths, apart, cached, key_heads):
    layout = pack_layout(prefix if lengths else 7, lengths, min(apart, len(lengths)))
    query, key, value = states(layout, torch.float64, key_heads=key_heads)
    if cached and lengths:  # the prefix comes from a cache: queries are the branches'
        query = query[:, :, layout.prefix_length :].detach().requires_grad_()
    found, wanted = attend_pack(query, key, value, layout, SCALE), dense(query, key, value, layout)
    assert furthest((found,), (wanted,)) < 2e-15
    grad = torch.randn_like(wanted)
    grads = (torch.autograd.grad(out, (query, key, value), grad) for out in (found, wanted))
    assert furthest(*grads) < 2e-14


def test_gradients_in_fp32():
    layout = pack_layout(512, (70, 64, 110, 81))
    three = states(layout, torch.float32)
    found, wanted = attend_pack(*three, layout, SCALE), dense(*three, layout)
    grad = torch.randn_like(wanted)
    grads = [torch.autograd.grad(out, three, grad) for out in (found, wanted)]
    assert furthest((found,), (wanted,)) < 1e-6 and furthest(*grads) < 1e-6


@pytest.mark.parametrize(("lengths", "apart"), [((9, 17, 17), 0), ((9, 17), 1), ((12,), 0), ((12,), 1)])
def test_branches_alone_are_those_of_the_whole_row(lengths, apart):
    layout = pack_layout(20, lengths, apart)
    three = states(layout, torch.float64)
    found, wanted = attend_branches(*three, layout, SCALE), attend_pack(*three, layout, SCALE)
    assert torch.count_nonzero(found[:, :20]) == 0 and torch.allclose(found[:, 20:], wanted[:, 20:], atol=1e-14)
    grad = torch.randn_like(wanted)
    grad[:, :20] = 0  # nobody reads the output there
    grads = [torch.autograd.grad(out, three, grad) for out in (found, wanted)]
    assert furthest(*grads) < 2e-14


@pytest.mark.parametrize(("number", "kernels"), [(0, 3), (1, 2)])
def test_the_last_layer_alone_leaves_the_prefix_out(number, kernels):
    module, layout = torch.nn.Module(), pack_layout(20, (9, 17))
    module.layer_idx, module.config = number, Qwen2VLTextConfig(num_hidden_layers=2)
    with Calls() as calls:
        attend(module, *states(layout, torch.float32), None, layout=layout, branches_only=True)
    assert len([name for name in calls.names if "attention" in name]) == kernels


def test_a_sequence_goes_on_behind_cached_keys():
    layout = pack_layout(20, (9,))
    query, key, value = states(layout, torch.float64)
    found = attend_causally(query[:, :, 20:], key, value, SCALE)
    assert torch.allclose(found, dense(query, key, value, layout)[:, 20:], atol=1e-14)


class Calls(TorchDispatchMode):
    """Keeps the names of operations, and the size of the largest tensor that one made."""

    def __init__(self) -> None:
        super().__init__()
        self.names, self.largest = [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.names.append(function.overloadpacket.__name__)
        tensors = [one for one in (out if isinstance(out, tuple | list) else (out,)) if isinstance(one, torch.Tensor)]
        self.largest = max([self.largest, *(one.numel() for one in tensors)])
        return out


@pytest.mark.parametrize("lengths", [(20,) * 8, (30, 20, 10, 20, 30, 20, 10, 20)])
def test_three_kernel_calls_without_mask_repeated_keys_or_waiting(lengths):
    layout = pack_layout(100, lengths)
    query, key, value = states(layout, torch.float32, heads=8, key_heads=1)
    with Calls() as calls:
        out, _ = attend(torch.nn.Module(), query, key, value, None, layout=layout)
    kernels = [name for name in calls.names if "attention" in name]
    assert kernels == ["_scaled_dot_product_flash_attention_for_cpu"] * 3
    assert not {"repeat_interleave", "expand", "repeat", "masked_fill"} & set(calls.names)
    with calls:
        out.sum().backward()
    assert not {"_local_scalar_dense", "nonzero"} & set(calls.names)
    assert calls.largest <= 8 * (100 + 8 * 30) * 16, "neither scores nor a mask of all pairs"


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_it_is_the_same(reentrant):
    layout = pack_layout(64, (9, 17, 17))
    three = states(layout, torch.float32)
    grad = torch.randn(1, 107, 4, 16)

    def run(query, key, value):
        return attend(torch.nn.Module(), query, key, value, None, layout=layout)[0]

    wanted = torch.autograd.grad(run(*three), three, grad)
    again = [one.detach().clone().requires_grad_() for one in three]
    checkpoint(run, *again, use_reentrant=reentrant).backward(grad)
    assert all(torch.equal(one.grad, other) for one, other in zip(again, wanted, strict=True))


def test_autocast_takes_all_three_in_its_precision():
    """Queries and keys arrive in fp32, values in bf16; gradients go back as they came."""
    layout = pack_layout(300, (40, 21, 33))
    query, key, value = states(layout, torch.float32)
    half = value.detach().bfloat16().requires_grad_()
    wanted = dense(query, key, value, layout)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = attend(torch.nn.Module(), query, key, half, None, scaling=SCALE, layout=layout)
    assert found.dtype == torch.bfloat16 and furthest((found.float(),), (wanted,)) < 0.02
    grad = torch.randn_like(wanted)
    exact = torch.autograd.grad(wanted, (query, key, value), grad)
    rounded = torch.autograd.grad(found, (query, key, half), grad.bfloat16())
    assert [one.dtype for one in rounded] == [torch.float32, torch.float32, torch.bfloat16]
    assert furthest(tuple(one.float() for one in rounded), exact) < 0.03


def test_dropout_is_refused():
    layout = pack_layout(4, (2, 2))
    with pytest.raises(ValueError, match="attention_dropout to 0.1.*flash_attn: disabled"):
        attend(torch.nn.Module(), *states(layout, torch.float32), None, dropout=0.1, layout=layout)


def test_plain_attention_drops_weights_as_transformers_does():
    query, key, value = states(pack_layout(0, (12,)), torch.float32)
    module = torch.nn.Module().train()
    module.num_key_value_groups = 2
    hidden = torch.full((12, 12), torch.finfo(torch.float32).min).triu(1)[None, None]
    torch.manual_seed(3)
    wanted, _ = eager_attention_forward(module, query, key, value, hidden, scaling=SCALE, dropout=0.5)
    torch.manual_seed(3)
    found, _ = attend_eagerly(module, query, key, value, None, scaling=SCALE, dropout=0.5)
    assert torch.allclose(found, wanted, atol=1e-6) and not torch.allclose(
        found, dense(query, key, value, pack_layout(0, (12,)))
    )
