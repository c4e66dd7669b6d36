"""The kernel that packs are attended with: its parts merge to the whole, and its gradients to those of the whole."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from gpt4scene.model.kernels import attention_gradients, attention_part, merge


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
