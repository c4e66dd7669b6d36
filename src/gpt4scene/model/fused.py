"""Norms and SwiGLU in one kernel each: less memory is read, and less is kept for the backward pass.

The modules that we name are exchanged for ones with the same weights under the same names, so that checkpoints stay as
they are. Liger's kernels and compiled ones round where the plain modules do. Liger's other replacements are left out:
its rotary embedding does nothing on Qwen2-VL without saying so, and its fused loss makes logits of every position.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from gpt4scene.errors import ConfigError
from gpt4scene.families.registry import family_of

NormKernel = Callable[[torch.Tensor, torch.Tensor, float, bool], torch.Tensor]
GateKernel = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Kernels:
    """Two functions: ``norm(x, weight, eps, centred)`` and ``gate(gate, up)``, which is SiLU of one times the other.

    None in place of one leaves those modules as they are.
    """

    name: str
    norm: NormKernel | None
    gate: GateKernel | None

    @property
    def both(self) -> bool:
        """Whether neither norms nor MLPs are left as they are."""
        return None not in (self.norm, self.gate)


def plain_norm(states: torch.Tensor, weight: torch.Tensor, eps: float, centred: bool = False) -> torch.Tensor:
    """Return the root-mean-square norm of the last axis, computed in fp32, as Qwen's modules do it.

    ``centred`` is Qwen3.5's kind: it multiplies by 1 + ``weight``, and rounds once, behind that.
    """
    values = states.float()
    values = values * torch.rsqrt(values.pow(2).mean(-1, keepdim=True) + eps)
    if centred:
        return (values * (1.0 + weight.float())).to(states.dtype)
    return weight * values.to(states.dtype)


def plain_gate(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """Return SiLU of ``gate`` times ``up``."""
    return torch.nn.functional.silu(gate) * up


def compiled(norm: bool = True, gate: bool = True) -> Kernels:
    """Return kernels that torch.compile makes of the plain functions: one graph for rows of any length.

    Values are rounded between operations as without compiling (``emulate_precision_casts``).
    """
    options: dict[str, Any] = {"emulate_precision_casts": True}

    def made(function):
        return torch.compile(function, dynamic=True, fullgraph=True, options=options)

    return Kernels("torch.compile", made(plain_norm) if norm else None, made(plain_gate) if gate else None)


def ligers(norm: bool = True, gate: bool = True) -> Kernels:
    """Return Liger's kernels, by its public functions; CUDA alone runs them."""
    from liger_kernel.transformers.functional import liger_rms_norm, liger_swiglu

    def rms_norm(states: torch.Tensor, weight: torch.Tensor, eps: float, centred: bool = False) -> torch.Tensor:
        # "llama" rounds to the precision of the input before the weight, as Qwen does, and "gemma" behind it, as
        # Qwen3.5 does; nothing is overwritten
        return liger_rms_norm(states, weight, eps, 1.0 if centred else 0.0, "gemma" if centred else "llama", False)

    return Kernels("Liger", rms_norm if norm else None, liger_swiglu if gate else None)


def has_liger() -> bool:
    """Return whether Liger and the compiler that it needs are installed; neither is imported."""
    return all(importlib.util.find_spec(name) is not None for name in ("liger_kernel", "triton"))


def can_compile() -> bool:
    """Return whether torch.compile works on CUDA: with triton, and a C compiler to build launchers with."""
    compilers = (os.environ.get("CC", "gcc"), "cc", "clang")
    return importlib.util.find_spec("triton") is not None and any(shutil.which(name) for name in compilers)


def misfits(model: PreTrainedModel, norm: bool = True, gate: bool = True) -> dict[str, str]:
    """Return why the norms (``norm``) or the MLPs (``gate``) of the language part can't be exchanged.

    Only the wanted kinds are looked at; those that can be exchanged are left out. ``model`` may lie on the meta device.
    """
    family = family_of(model.config)
    kinds = [type(module).__name__ for module in model.get_submodule(family.layers.rpartition(".")[0]).modules()]
    layers, activation = len(list(model.get_submodule(family.layers).children())), model.config.text_config.hidden_act
    found: dict[str, str] = {}
    if norm and sum(kind in family.norms for kind in kinds) < 2 * layers + 1:
        found["norm"] = "no exact kernel is known for the norms of this model"
    if gate and activation != "silu":
        found["gate"] = f"the MLPs of this model are gated by {activation}, and fused kernels know silu alone"
    elif gate and sum(kind in family.gates for kind in kinds) < layers:
        found["gate"] = "no exact kernel is known for the MLPs of this model"
    return found


def check_fusing(asked: bool | None, model: PreTrainedModel, norm: bool = True, gate: bool = True) -> None:
    """Raise ``ConfigError`` where kernels were ``asked`` for that do not fit ``model``; see ``choose_kernels``."""
    if asked and (found := misfits(model, norm, gate)):
        raise ConfigError(f"use_liger_kernel: {'; '.join(found.values())}; leave use_liger_kernel out")


def choose_kernels(
    asked: bool | None, model: PreTrainedModel, device: torch.device, norm: bool = True, gate: bool = True
) -> tuple[Kernels | None, str | None]:
    """Return the kernels of a run on ``device``, None for the plain modules, and a sentence about the choice.

    ``asked``: True wants Liger's, False none. None takes Liger's where they are installed, else compiled ones where
    they can be made; none of both without CUDA, and not for modules of ``model`` that they don't fit. ``norm`` and
    ``gate`` say which of the two are wanted.
    """
    if asked is False:
        return None, None
    if not (norm or gate):
        return None, "use_liger_kernel has no effect: liger_kernel_config leaves nothing to fuse" if asked else None
    if device.type != "cuda":
        return None, "use_liger_kernel has no effect: Liger's kernels need a CUDA device" if asked else None
    check_fusing(asked, model, norm, gate)
    plain = misfits(model, norm, gate)
    norm, gate = norm and "norm" not in plain, gate and "gate" not in plain
    if not (norm or gate):
        return None, f"kernels are not fused: {'; '.join(plain.values())}"
    named = "; ".join([" and ".join(["norms"] * norm + ["SwiGLU"] * gate), *plain.values()])
    if has_liger():
        return ligers(norm, gate), f"Liger's kernels compute {named}"
    if asked:
        raise ConfigError("use_liger_kernel needs the packages liger-kernel and triton: pip install liger-kernel")
    if not can_compile():
        ways = "pip install liger-kernel triton, or triton and a C compiler, make the run faster"
        return None, f"no fused kernels compute {named}: {ways}"
    return compiled(norm, gate), f"compiled kernels compute {named}; pip install liger-kernel saves the compiling"


class FusedNorm(torch.nn.Module):
    """An RMS norm with the weight of another one, which may be ``centred`` (``plain_norm``)."""

    def __init__(self, norm: torch.nn.Module, kernel: NormKernel, centred: bool = False) -> None:
        super().__init__()
        self.weight, self._kernel, self._centred = norm.get_parameter("weight"), kernel, centred
        self.variance_epsilon = float(vars(norm)["eps" if centred else "variance_epsilon"])

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Return the normed states, in the precision of the plain module's."""
        return self._kernel(hidden_states, self.weight, self.variance_epsilon, self._centred)


class FusedGate(torch.nn.Module):
    """A SwiGLU MLP made of another one's matrices, adapters on them included."""

    def __init__(self, mlp: torch.nn.Module, kernel: GateKernel) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = mlp.get_submodule("gate_proj"), mlp.get_submodule("up_proj")
        self.down_proj, self._kernel = mlp.get_submodule("down_proj"), kernel

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the MLP's output."""
        return self.down_proj(self._kernel(self.gate_proj(x), self.up_proj(x)))


def fuse(model: PreTrainedModel, kernels: Kernels) -> dict[str, int]:
    """Exchange norms and MLPs of the language part, which must fit (``misfits``); return how many of each kind."""
    assert not misfits(model, kernels.norm is not None, kernels.gate is not None)
    family = family_of(model.config)
    language = model.get_submodule(family.layers.rpartition(".")[0])
    done = {"norms": 0, "gates": 0}
    for parent in [module for module in language.modules()]:
        for name, child in list(parent.named_children()):
            kind = type(child).__name__
            if kernels.norm is not None and kind in family.norms:
                parent.register_module(name, FusedNorm(child, kernels.norm, family.centred).train(child.training))
                done["norms"] += 1
            elif kernels.gate is not None and kind in family.gates:
                parent.register_module(name, FusedGate(child, kernels.gate).train(child.training))
                done["gates"] += 1
    return done
