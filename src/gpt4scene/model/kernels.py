"""Fused attention with its log-sum-exp: the one kernel that all attention over packs is built of.

Attention on a set of keys is exact when computed in parts: each part gives its output and the log of its sum of
exponentials, and ``merge`` weighs the outputs by them. The gradient of a part is that of the kernel, taken with the
merged output and log-sum-exp (the identity behind ring attention, arXiv 2310.01889).

Kernels are called by name, not chosen by PyTorch: its first choice on Hopper, cuDNN, makes a plan for every new shape
and has wrong gradients at some lengths; its last, plain products, keeps a score for every pair of tokens. The package
flash-attn is not called here, since its public functions promise neither the log-sum-exp nor a backward pass that takes
one; PyTorch's own FlashAttention is the same algorithm, and FlashAttention 3 can take its place in the process.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Literal

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from gpt4scene.errors import ConfigError

Kernel = Literal["flash", "efficient", "cpu"]
"""PyTorch's FlashAttention, its memory-efficient attention (CUTLASS), and its flash attention for CPUs."""

_HALF = (torch.bfloat16, torch.float16)
_WIDE_HEADS = ((8, 0), (9, 0), (10, 0))
"""Compute capabilities whose flash backward takes heads of over 192 channels."""
_ALIGNED = 32
"""The efficient kernel keeps the log-sum-exp of so many queries together."""


def kernel_for(device: str, dtype: torch.dtype, channels: int, capability: tuple[int, int] = (0, 0)) -> Kernel:
    """Return the kernel for tensors of ``dtype`` with heads of ``channels`` on a device of type ``device``.

    ``capability`` is that of a CUDA device. Raises ``ValueError`` where there is none.
    """
    if device == "cpu" and dtype in (*_HALF, torch.float32, torch.float64):
        return "cpu"
    if device == "cuda":
        if dtype in _HALF and channels % 8 == 0:
            if capability >= (8, 0) and (channels <= 192 or (channels <= 256 and capability in _WIDE_HEADS)):
                return "flash"
            if dtype == torch.float16 or capability >= (8, 0):
                return "efficient"
        if dtype == torch.float32 and channels % 4 == 0:
            return "efficient"
    shown = f" of compute capability {capability[0]}.{capability[1]}" if device == "cuda" else ""
    kind = str(dtype).removeprefix("torch.")
    raise ValueError(f"no fused attention for {kind} with heads of {channels} on a {device} device{shown}")


@cache
def _kernel_on(device: torch.device, dtype: torch.dtype, channels: int) -> Kernel:
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)
    return kernel_for(device.type, dtype, channels, capability)


def kernel_sentence(device: torch.device, dtype: torch.dtype, channels: int) -> str:
    """Return the name of the kernel that attends on ``device``, as reports give it; ``ValueError`` where none can."""
    names = {
        "flash": f"FlashAttention {_flash_version()}",
        "efficient": "memory-efficient attention",
        "cpu": "flash attention on the CPU",
    }
    name, kind = names[_kernel_on(device, dtype, channels)], str(dtype).removeprefix("torch.")
    return f"{name} of torch {torch.__version__} in {kind}, prefix and branches in two parts"


def use_flash_3() -> None:
    """Let FlashAttention 3 take the place of PyTorch's FlashAttention, in this process.

    Raises ``ConfigError`` where the GPU is none for it, or PyTorch or the package flash-attn-3 can't.
    """
    where = "flash_attn: fa3"
    if not torch.cuda.is_available() or torch.cuda.get_device_capability()[0] != 9:
        raise ConfigError(f"{where} needs a Hopper GPU (H100, H200), and none is here; write auto")
    try:
        from torch.nn.attention import activate_flash_attention_impl, current_flash_attention_impl

        if current_flash_attention_impl() != "FA3":
            activate_flash_attention_impl("FA3")
    except (ImportError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())
        raise ConfigError(
            f"{where} does not go together with torch {torch.__version__} ({said}); write auto"
        ) from error


def _flash_version() -> str:
    """Return 2, or what has taken the place of FlashAttention 2."""
    try:
        from torch.nn.attention import current_flash_attention_impl
    except ImportError:
        return "2"
    return (current_flash_attention_impl() or "FA2").removeprefix("FA")


def attention_part(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, causal: bool, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return attention ``[B, heads, L, channels]`` on the keys given, and its log-sum-exp ``[B, heads, L]``.

    ``query[B, heads, L, channels]``, ``key`` and ``value`` ``[B, key heads, S, channels]`` of one dtype; ``key heads``
    divides ``heads``. ``causal`` needs S = L. The log-sum-exp is fp32, for fp64 tensors fp64. Gradients do not flow
    through here: see ``attention_gradients``.
    """
    assert query.stride(-1) == key.stride(-1) == value.stride(-1) == 1, "the CPU's kernel does not look, and errs"
    kernel = _kernel_on(query.device, query.dtype, query.shape[-1])
    if kernel == "cpu":
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, causal, scale=scale)
    if kernel == "flash":
        out, lse, *_ = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, 0.0, causal, scale=scale)
        return out, lse
    key, value = (repeated(states, query) for states in (key, value))
    efficient = torch.ops.aten._scaled_dot_product_efficient_attention
    out, lse, *_ = efficient(query, key, value, None, True, 0.0, causal, scale=scale)
    return out, lse[:, :, : query.shape[2]]


def attention_gradients(
    grad: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    out: torch.Tensor,
    lse: torch.Tensor,
    *,
    causal: bool,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradients of query, key and value of one part; ``out`` and ``lse`` are the merged ones."""
    kernel = _kernel_on(query.device, query.dtype, query.shape[-1])
    if kernel == "flash":
        backward = torch.ops.aten._scaled_dot_product_flash_attention_backward
        random = torch.empty(0, dtype=torch.uint64, device=query.device)  # of dropout: none is drawn
        sizes = None, None, query.shape[2], key.shape[2]
        states = grad, query, key, value, out, lse.contiguous()
        return backward(*states, *sizes, 0.0, causal, random, random, scale=scale)
    groups = query.shape[1] // key.shape[1]
    states = grad, query, repeated(key, query), repeated(value, query), out
    if kernel == "cpu":
        backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        grad_q, grad_k, grad_v = backward(*states, lse, 0.0, causal, scale=scale)
    else:
        backward = torch.ops.aten._scaled_dot_product_efficient_attention_backward
        random = torch.empty((), dtype=torch.int64, device=query.device)  # of dropout: none is drawn
        wanted = [True, True, True, False]
        options = {"scale": scale}
        grad_q, grad_k, grad_v, _ = backward(
            *states[:4], None, out, _aligned(lse), random, random, 0.0, wanted, causal, **options
        )
    if groups > 1:
        grad_k, grad_v = (one.unflatten(1, (-1, groups)).sum(2) for one in (grad_k, grad_v))
    return grad_q, grad_k, grad_v


def merge(
    one: torch.Tensor, one_lse: torch.Tensor, other: torch.Tensor, other_lse: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the attention of two disjoint sets of keys, and its log-sum-exp, from those of each set."""
    lse = torch.logaddexp(one_lse, other_lse)
    weights = [(part - lse).exp().unsqueeze(-1) for part in (one_lse, other_lse)]
    return (one * weights[0] + other * weights[1]).to(one.dtype), lse


def one_precision(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the three in one dtype: that of autocast where it is on, else that of ``value``.

    Rotary positions are turned in fp32 under autocast, so that queries and keys come in fp32, values in bf16.
    """
    device = query.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else value.dtype
    return query.to(dtype), key.to(dtype), value.to(dtype)


def fused_kernels(device: torch.device) -> AbstractContextManager[object]:
    """Return the context for every call of ``scaled_dot_product_attention``: on CUDA, neither cuDNN nor plain products.

    Such a call fails where flash and efficient attention can't do it: fp32 with grouped heads is one.
    """
    if device.type != "cuda":
        return nullcontext()
    return sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION])


def repeated(states: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Return key or value ``states[B, key heads, S, channels]`` with as many heads as ``query``."""
    groups = query.shape[1] // states.shape[1]
    return states.repeat_interleave(groups, 1) if groups > 1 else states


def _aligned(lse: torch.Tensor) -> torch.Tensor:
    """Return the log-sum-exp as the efficient kernel keeps it: infinite for the queries that fill its last block."""
    missing = -lse.shape[2] % _ALIGNED
    return torch.nn.functional.pad(lse, (0, missing), value=float("inf")).contiguous()
