"""Qwen3.5's recurrent layers over a pack: the prefix runs once, and each branch goes on from where it ended.

A GatedDeltaNet layer keeps no keys. It carries a memory, which every token changes, and a window: the last inputs of
its short convolution (arXiv 2412.06464). No mask separates branches there, so each gets a copy of both. Gradients flow
through the copies into the prefix. Letters: N sequences side by side, T tokens, W inputs of a window, C channels of the
convolution, K branches of R tokens.

The modules of transformers are exchanged for ours, with the same weights under the same names. The arithmetic stays
theirs: their functions, which call the packages flash-linear-attention and causal-conv1d on CUDA where installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn.functional import softplus
from transformers import Cache, PreTrainedConfig, PreTrainedModel

from gpt4scene.model.branches import KeptKeys
from gpt4scene.model.layout import padded, unpadded
from gpt4scene.types import PackLayout

KINDS = ("Qwen3_5GatedDeltaNet", "Qwen3_5MoeGatedDeltaNet")
"""Classes of transformers that are exchanged, by name."""

FUNCTIONS = ("causal_conv1d_fn", "torch_chunk_gated_delta_rule", "torch_recurrent_gated_delta_rule")
"""What they compute with. A layer holds these, not their module, which would not be copied with it."""


class PackedDelta(torch.nn.Module):
    """A GatedDeltaNet layer with the weights of another one, which obeys the layouts of packs and of kept keys."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.in_proj_qkv, self.in_proj_z = layer.get_submodule("in_proj_qkv"), layer.get_submodule("in_proj_z")
        self.in_proj_b, self.in_proj_a = layer.get_submodule("in_proj_b"), layer.get_submodule("in_proj_a")
        self.conv1d, self.norm = layer.get_submodule("conv1d"), layer.get_submodule("norm")
        self.out_proj = layer.get_submodule("out_proj")
        self.dt_bias, self.A_log = layer.get_parameter("dt_bias"), layer.get_parameter("A_log")
        known: dict[str, Any] = vars(layer)
        self.layer_idx, self.activation = int(known["layer_idx"]), str(known["activation"])
        self.num_k_heads, self.num_v_heads = int(known["num_k_heads"]), int(known["num_v_heads"])
        self.head_k_dim, self.head_v_dim = int(known["head_k_dim"]), int(known["head_v_dim"])
        self.key_dim, self.value_dim = self.num_k_heads * self.head_k_dim, self.num_v_heads * self.head_v_dim
        self.window = int(known["conv_kernel_size"]) - 1
        theirs = importlib.import_module(type(layer).__module__)
        self._functions = SimpleNamespace(
            **{name: getattr(theirs, name) for name in FUNCTIONS}
        )  # copies with the layer

    def forward(
        self,
        hidden_states: torch.Tensor,
        cache_params: Cache | None = None,
        attention_mask: torch.Tensor | None = None,
        layout: PackLayout | KeptKeys | None = None,
        **_: object,
    ) -> torch.Tensor:
        """Return ``[1, L, width]`` of a packed row ``hidden_states[1, L, width]``; without ``layout`` it is one text.

        ``cache_params`` of transformers may hold what came before that text. ``ValueError`` for what would go unseen
        here: several rows, a mask of padding, and a cache beside a layout.
        """
        cached = cache_params is not None and layout is not None
        if hidden_states.shape[0] != 1 or attention_mask is not None or cached:
            raise ValueError(
                "layers with a recurrent state take one packed row at a time, without padding, and no cache beside a "
                "layout; write use_cache=False, or load the model with transformers alone"
            )
        mixed, z = self.in_proj_qkv(hidden_states), self.in_proj_z(hidden_states)
        beta, rate = self.in_proj_b(hidden_states).sigmoid(), self.in_proj_a(hidden_states).float() + self.dt_bias
        decay = -self.A_log.float().exp() * softplus(rate)
        if isinstance(layout, KeptKeys):
            out = layout.advance(self.layer_idx, mixed, decay, beta, self.mix)
        elif cache_params is not None:
            out = self._behind(cache_params, mixed, decay, beta)
        else:
            out = self._packed(mixed, decay, beta, layout)
        normed = self.norm(out.reshape(-1, self.head_v_dim), z.reshape(-1, self.head_v_dim))
        return self.out_proj(normed.reshape(z.shape))

    def mix(
        self, inputs: torch.Tensor, decay: torch.Tensor, beta: torch.Tensor, memory: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``[N, T, heads, value channels]`` of T tokens, and the memories behind them.

        ``inputs[N, W + T, C]`` of the convolution begin with a window; those before a text are zeros. ``decay`` and
        ``beta`` are ``[N, T, heads]``, in log space and as a share. Where both are 0 a token changes no memory.
        ``memory[N, heads, key channels, value channels]`` is fp32, None for zeros.
        """
        count, tokens = inputs.shape[0], decay.shape[1]
        kernel: torch.Tensor = self.conv1d.get_parameter("weight").squeeze(1)
        states = self._function("causal_conv1d_fn", inputs)(
            inputs.transpose(1, 2), kernel, None, activation=self.activation
        )
        states = states[:, :, self.window :].transpose(1, 2)
        query, key, value = states.split([self.key_dim, self.key_dim, self.value_dim], dim=-1)
        single = tokens == 1 and not torch.is_grad_enabled()  # the kernel for it has no backward pass
        rule = "torch_recurrent_gated_delta_rule" if single else "torch_chunk_gated_delta_rule"
        with torch.autocast(inputs.device.type, enabled=False):  # it computes in fp32, whatever its inputs are
            out, after = self._function(rule, states)(
                query.reshape(count, tokens, -1, self.head_k_dim),
                key.reshape(count, tokens, -1, self.head_k_dim),
                value.reshape(count, tokens, -1, self.head_v_dim),
                g=decay,
                beta=beta,
                initial_state=memory,
                output_final_state=True,
                use_qk_l2norm_in_kernel=True,
            )
        return out, after

    def _behind(self, cache: Cache, mixed: torch.Tensor, decay: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        """Return ``[1, L, heads, value channels]`` of a text that goes on where ``cache`` ends; the cache moves on."""
        before = cache.get_conv_state(self.layer_idx)
        memory = None if before is None else cache.get_recurrent_state(self.layer_idx)
        window = self._zeros(mixed) if before is None else before[:, :, -self.window :].transpose(1, 2)
        out, after = self.mix(torch.cat([window, mixed], 1), decay, beta, memory)
        cache.update_conv_state(mixed.transpose(1, 2), self.layer_idx, conv_kernel_size=self.window + 1)
        cache.update_recurrent_state(after, self.layer_idx)
        return out

    def _zeros(self, mixed: torch.Tensor) -> torch.Tensor:
        """Return the window before a text, ``[1, W, C]``."""
        return mixed.new_zeros((1, self.window, mixed.shape[2]))

    def _packed(
        self, mixed: torch.Tensor, decay: torch.Tensor, beta: torch.Tensor, layout: PackLayout | None
    ) -> torch.Tensor:
        """Return ``[1, L, heads, value channels]`` of a row in training."""
        nothing = self._zeros(mixed)
        if layout is None or layout.plain:
            return self.mix(torch.cat([nothing, mixed], 1), decay, beta, None)[0]
        prefix, outs, window, memory = layout.prefix_length, [], nothing, None
        if prefix:
            inputs = torch.cat([nothing, mixed[:, :prefix]], 1)
            out, memory = self.mix(inputs, decay[:, :prefix], beta[:, :prefix], None)
            window = inputs[:, prefix:]
            outs.append(out)
        parts = [padded(one[:, None, prefix:], layout) for one in (mixed, decay, beta)]  # behind their ends stand zeros
        done = []
        for members, *batch in zip(layout.members, *parts, strict=True):
            states, slow, share = (one[:, 0] for one in batch)
            seeing = sum(branch < len(layout.lengths) - layout.apart for branch in members)
            before = _forked(window, nothing, seeing, len(members))
            start = None if memory is None else _forked(memory, torch.zeros_like(memory), seeing, len(members))
            done.append(self.mix(torch.cat([before, states], 1), slow, share, start)[0].transpose(1, 2))
        outs.append(unpadded(done, layout).transpose(1, 2))
        return torch.cat(outs, 1)

    def _function(self, name: str, states: torch.Tensor) -> Callable[..., Any]:
        """Return a function of transformers that computes on ``states``: with fast kernels where they take them."""
        found = getattr(self._functions, name)
        return found if takes_kernels(states.device, states.dtype) else inspect.unwrap(found)


def takes_kernels(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether the packages' kernels compute on such numbers; those of the delta rule take no fp32."""
    return device.type == "cuda" and dtype in (torch.bfloat16, torch.float16)


def _forked(one: torch.Tensor, none: torch.Tensor, seeing: int, count: int) -> torch.Tensor:
    """Return ``[count, ...]``: ``seeing`` times what a prefix left, then zeros for branches that do not see it."""
    return torch.cat([one.expand(seeing, *one.shape[1:]), none.expand(count - seeing, *none.shape[1:])])


def is_recurrent(config: PreTrainedConfig) -> bool:
    """Return whether some layers of a model's language part carry a recurrent state."""
    return "linear_attention" in (getattr(config.get_text_config(), "layer_types", None) or ())


def fork_states(model: PreTrainedModel) -> int:
    """Exchange the recurrent layers of ``model`` for ours; return how many. Weights and their names stay."""
    if not is_recurrent(model.config):
        return 0
    found = [(name, one) for name, one in model.named_modules() if type(one).__name__ in KINDS]
    for name, layer in found:
        parent, _, last = name.rpartition(".")
        model.get_submodule(parent).register_module(last, PackedDelta(layer).train(layer.training))
    return len(found)


def foreign_layer(model: PreTrainedModel) -> str | None:
    """Return the class of a recurrent layer that was not exchanged, and so would mix the branches of a pack, if any."""
    if not is_recurrent(model.config):
        return None
    return next((type(one).__name__ for one in model.modules() if type(one).__name__ in KINDS), None)


def delta_sentence(config: PreTrainedConfig, device: torch.device, dtype: torch.dtype) -> str | None:
    """Return what computes the recurrent layers in ``dtype``; None for a model without any."""
    if not is_recurrent(config):
        return None
    if device.type != "cuda":
        return "recurrent layers: PyTorch"
    if not takes_kernels(device, dtype):
        return "recurrent layers: PyTorch, since their kernels take no fp32"
    packages = {"fla": "flash-linear-attention", "causal_conv1d": "causal-conv1d"}
    missing = [name for package, name in packages.items() if importlib.util.find_spec(package) is None]
    known = [name for name in packages.values() if name not in missing]
    by = f"recurrent layers: {' and '.join([*known, *(['PyTorch'] if missing else [])])}"
    return f"{by}; pip install {' '.join(missing)} makes them faster" if missing else by
