"""What is given to CUDA's kernels, checked without a GPU: kernels of Python take their places behind the same schemas.

They demand of their arguments what PyTorch's C++ does (``attention_backward.cu``, ``flash_api.cpp``), and compute with
the log-sum-exp and the output that they are given, not with their own.
"""

import pytest
import torch

from gpt4scene.data.layout import pack_layout
from gpt4scene.model import kernels
from gpt4scene.model.layout import seen
from gpt4scene.model.two_part import attend_pack

SCALE = 0.3


def scores(query, key, causal):
    found = query @ key.repeat_interleave(query.shape[1] // key.shape[1], 1).transpose(2, 3) * SCALE
    if causal:
        assert query.shape[2] == key.shape[2]
        found = found.masked_fill(torch.ones(found.shape[2:], dtype=torch.bool).triu(1), float("-inf"))
    return found


def forward(query, key, value, causal):
    assert query.stride(-1) == key.stride(-1) == value.stride(-1) == 1
    assert query.dtype == key.dtype == value.dtype and query.shape[1] % key.shape[1] == 0
    whole = scores(query, key, causal)
    lse = whole.logsumexp(-1)
    out = (whole - lse[..., None]).exp() @ value.repeat_interleave(query.shape[1] // value.shape[1], 1)
    return out.transpose(1, 2).contiguous().transpose(1, 2), lse


def backward(grad, query, key, value, out, lse, causal):
    assert query.stride(-1) == key.stride(-1) == value.stride(-1) == out.stride(-1) == 1
    assert grad.shape == out.shape == query.shape and key.shape == value.shape
    assert grad.dtype == query.dtype == key.dtype == value.dtype == out.dtype and key.shape[2] > 0
    groups = query.shape[1] // key.shape[1]
    wide_key, wide_value = (one.repeat_interleave(groups, 1) for one in (key, value))
    weights = (scores(query, key, causal) - lse[..., None]).exp()
    slopes = weights * (grad @ wide_value.transpose(2, 3) - (grad * out).sum(-1, keepdim=True)) * SCALE
    wide = slopes.transpose(2, 3) @ query, weights.transpose(2, 3) @ grad
    return slopes @ wide_key, *(one.unflatten(1, (-1, groups)).sum(2) for one in wide)


def efficient(query, key, value, bias, with_lse, dropout=0.0, causal=False, *, scale):
    assert bias is None and with_lse and dropout == 0 and scale == SCALE and query.shape[1] == key.shape[1]
    out, lse = forward(query, key, value, causal)
    padded = torch.nn.functional.pad(lse, (0, -lse.shape[2] % 32), value=float("inf"))
    return out, padded, torch.empty(()), torch.empty(())


def efficient_backward(
    grad, query, key, value, bias, out, lse, seed, offset, dropout, wanted, causal=False, *, scale=None
):
    length, heads = query.shape[2], query.shape[1]
    assert bias is None and dropout == 0 and scale == SCALE and list(wanted) == [True, True, True, False]
    assert heads == key.shape[1] == value.shape[1]
    assert lse.is_contiguous() and lse.shape[2] % 32 == 0 and bool((lse[:, :, length:] == float("inf")).all())
    assert out.transpose(1, 2).stride(1) == heads * out.shape[3], "the kernel takes this step from token to token"
    assert seed.dtype == offset.dtype == torch.int64
    return *backward(grad, query, key, value, out, lse[:, :, :length], causal), None


def flash(query, key, value, dropout=0.0, causal=False, debug=False, *, scale):
    assert dropout == 0 and not debug and scale == SCALE and query.shape[3] % 8 == 0
    out, lse = forward(query, key, value, causal)
    out = out.contiguous() if query.shape[2] == 1 else out  # then heads, not tokens, lie one behind the other
    empty = torch.empty(0)
    return out, lse, None, None, query.shape[2], key.shape[2], empty, empty, empty


def flash_backward(
    grad, query, key, value, out, lse, starts_q, starts_k, most_q, most_k, dropout, causal, seed, offset, *, scale
):
    assert starts_q is None and starts_k is None, "else rows of varying length are meant"
    assert (most_q, most_k) == (query.shape[2], key.shape[2]) and dropout == 0 and scale == SCALE
    assert lse.is_contiguous() and lse.shape == query.shape[:3]
    assert seed.dtype == offset.dtype == torch.uint64
    return backward(grad, query, key, value, out, lse, causal)


PLACES = {"efficient": (efficient, efficient_backward), "flash": (flash, flash_backward)}


@pytest.fixture(params=PLACES)
def stands_in(request, monkeypatch):
    monkeypatch.setattr(kernels, "_kernel_on", lambda *_: request.param)
    library = torch.library.Library("aten", "IMPL")
    for ending, work in zip(("", "_backward"), PLACES[request.param], strict=True):
        library.impl(f"_scaled_dot_product_{request.param}_attention{ending}", work, "CPU")
    yield
    library._destroy()


@pytest.mark.parametrize(
    ("prefix", "lengths", "apart"),
    [
        (70, (9, 9, 9), 0),
        (40, (5, 33, 17, 2), 1),
        (0, (7, 4), 0),
        (50, (6,), 0),
        (40, (1, 1), 0),
        (40, (5, 5), 2),
    ],
)
@pytest.mark.parametrize("cached", [False, True])
def test_packs_are_exact_by_way_of_cudas_calls(stands_in, prefix, lengths, apart, cached):
    torch.manual_seed(0)
    layout = pack_layout(prefix, lengths, apart)
    total = prefix + layout.branch_tokens
    shapes = [(1, total, heads, 8) for heads in (4, 2, 2)]
    query, key, value = (torch.randn(one, dtype=torch.float64).transpose(1, 2).requires_grad_() for one in shapes)
    first = prefix if cached else 0
    found = attend_pack(query[:, :, first:], key, value, layout, SCALE)
    hidden = ~seen(layout, query.device)
    whole = (query @ key.repeat_interleave(2, 1).transpose(2, 3) * SCALE).masked_fill(hidden, float("-inf"))
    wanted = (whole.softmax(-1) @ value.repeat_interleave(2, 1)).transpose(1, 2)[:, first:]
    assert torch.allclose(found, wanted, atol=1e-12)
    grad = torch.randn_like(wanted)
    pairs = (torch.autograd.grad(one, (query, key, value), grad) for one in (found, wanted))
    assert all(torch.allclose(one, other, atol=1e-11) for one, other in zip(*pairs, strict=True))
