"""Where the time of a training step would go on a GPU: every operation of the real model at its real size, traced.

Tensors are fake: they have shapes and no numbers, so 7 billion parameters need no memory and no GPU. The time of an
operation is the larger of its work over the rate of such work and its bytes over the rate of memory, and at least 2
microseconds; the rates are shares of a data sheet (``gpt4scene.training.costs``). So the figures are estimates. Memory
is that of all tensors alive at the fullest moment, and is compared with ``gpt4scene.training.memory``.

    utilisation = useful operations / time / data sheet's operations a second

    python scripts/bench/trace.py [--branches 1 4 8 16 32] [--method lora|full] [--every N] [--plain] [--casts]
    python scripts/bench/trace.py --answer 64
"""

from __future__ import annotations

import argparse
import collections
import itertools
import sys
import weakref
from dataclasses import replace

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from transformers import AutoModelForImageTextToText, Qwen2VLConfig

from gpt4scene.families.shape import PUBLISHED, ModelShape
from gpt4scene.model.attention import NAME
from gpt4scene.model.fused import Kernels, fuse
from gpt4scene.model.lora import spare_casts
from gpt4scene.model.recompute import inner_model, recompute
from gpt4scene.training.costs import ATTENTION, DEVICES, MATMUL, STREAM, work_of
from gpt4scene.training.memory import PUBLISHED_PACK, PackSize, Setup, estimate
from gpt4scene.types import PackLayout

VIEWS = frozenset(
    (
        *("device", "sym_size", "sym_stride", "sym_numel", "is_contiguous", "stride", "size", "storage_offset", "view"),
        *("_unsafe_view", "transpose", "t", "expand", "slice", "select", "unsqueeze", "squeeze", "permute", "split"),
        *("split_with_sizes", "unbind", "alias", "detach", "as_strided", "_reshape_alias", "lift_fresh", "empty"),
        *("empty_like", "new_empty", "empty_strided", "new_empty_strided", "unfold", "diagonal"),
    )
)
"""Operations that move nothing."""
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "linear", "convolution")
LEAST_S = 2e-6


class Trace(TorchDispatchMode):
    """Adds up seconds by kind of operation, and bytes that are alive."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device, self.seconds, self.count = DEVICES[device], collections.Counter(), collections.Counter()
        self.alive = self.peak = 0
        self._known: set[int] = set()
        self.by_name: collections.Counter[str] = collections.Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        name = function.__name__.split(".")[0]
        for tensor in (one for one in tree_leaves(out) if torch.is_tensor(one)):
            self.watch(tensor)
        if name not in VIEWS:
            kind, seconds = self._cost(function, name, args, kwargs or {}, out)
            self.seconds[kind] += seconds
            self.count[kind] += 1
            self.by_name[name] += seconds
        return out

    def watch(self, tensor: torch.Tensor) -> None:
        """Count the memory of a tensor until nobody holds it."""
        storage = tensor.untyped_storage()
        if storage._cdata in self._known:
            return
        self._known.add(storage._cdata)
        self.alive += storage.nbytes()
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())

    def _gone(self, place: int, size: int) -> None:
        self._known.discard(place)
        self.alive -= size

    def _cost(self, function, name, args, kwargs, out) -> tuple[str, float]:
        tensors = [one for one in tree_leaves((args, kwargs)) + tree_leaves(out) if torch.is_tensor(one)]
        # an expanded tensor is read once
        size = sum(min(one.nbytes, one.untyped_storage().nbytes()) for one in tensors)
        streaming = max(size / (self.device.bandwidth * STREAM), LEAST_S)
        if "scaled_dot_product" in name:
            back = "backward" in name
            query, key = (args[1], args[2]) if back else (args[0], args[1])
            causal = next(iter(args[7 if back else 4 :]), False)
            work = (10 if back else 4) * query.shape[0] * query.shape[1] * query.shape[3]
            work *= query.shape[2] * key.shape[2] * (0.5 if causal else 1)
            return "attention", max(work / (self.device.flops * ATTENTION), streaming)
        if name in PRODUCTS:
            work = flop_registry[function.overloadpacket](*args, **kwargs, out_val=out)
            return "products", max(work / (self.device.flops * MATMUL), streaming)
        return "streams", streaming


def _one_kernel(name: str, plain, kept: int):
    """Return ``plain`` as one traced operation, whose backward pass is one as well and keeps the first ``kept``."""

    @torch.library.custom_op(f"gpt4scene_trace::{name}", mutates_args=())
    def forward(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    @torch.library.custom_op(f"gpt4scene_trace::{name}_backward", mutates_args=())
    def backward(grad: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        raise NotImplementedError

    forward.register_fake(lambda one, other: plain(one, other))
    backward.register_fake(lambda grad, one, other: (torch.empty_like(one), torch.empty_like(other)))

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, one, other):
            ctx.save_for_backward(one, other)
            return forward(one, other)

        @staticmethod
        def backward(ctx, grad):
            return backward(grad, *ctx.saved_tensors)

    return Function.apply


def one_kernel_each() -> Kernels:
    """Return stand-ins for fused kernels: they read their inputs once and write their outputs once."""
    norm = _one_kernel("norm", lambda states, weight: torch.empty_like(states), 1)
    gate = _one_kernel("gate", lambda gate, up: torch.empty_like(gate), 2)
    return Kernels("fused", lambda states, weight, eps, centred: norm(states, weight.to(states.dtype)), gate)


def build(shape: ModelShape, method: str, rank: int) -> torch.nn.Module:
    """Return the model of ``shape`` without numbers, with what ``method`` trains, in its precisions."""
    text = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_heads,
        "max_position_embeddings": 32_768,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        "bos_token_id": None,
        "eos_token_id": None,
    }
    vision = {"depth": 1, "embed_dim": 1280, "hidden_size": shape.hidden, "num_heads": 16}  # not run
    config = Qwen2VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=shape.tied)
    parts = {"text_config": NAME, "vision_config": "sdpa"}
    with torch.device("meta"):  # peft moves modules, which fake ones can't be
        dtype = torch.float32 if method == "full" else torch.bfloat16
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype, attn_implementation=parts)
        model.requires_grad_(False)
        if method == "full":
            model.model.language_model.requires_grad_(True)
            model.lm_head.requires_grad_(True)
        else:
            from peft import LoraConfig, get_peft_model

            targets = r"model\.language_model\..*_proj"
            model = get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets))
    made: dict[int, torch.nn.Parameter] = {}
    for module in model.modules():
        for name, one in list(module.named_parameters(recurse=False)):
            kind = torch.float32 if one.requires_grad else one.dtype
            if id(one) not in made:
                made[id(one)] = torch.nn.Parameter(torch.empty(one.shape, dtype=kind), one.requires_grad)
            module.register_parameter(name, made[id(one)])
        for name, one in list(module.named_buffers(recurse=False)):
            module.register_buffer(name, torch.empty(one.shape, dtype=one.dtype), persistent=False)
    return model.train()


def trace(shape: ModelShape, setup: Setup, pack: PackSize, every: int, device: str, casts: bool) -> Trace:
    """Return the trace of forward and backward of the language part on one pack."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = build(shape, setup.method, setup.rank)
        if setup.rank and not casts:
            spare_casts(model)
        if setup.fused:
            fuse(inner_model(model), one_kernel_each())
        recompute(model, every)
        places = torch.zeros(pack.branches * pack.branch, dtype=torch.long)
        layout = PackLayout(pack.prefix, (pack.branch,) * pack.branches, 0, ((pack.branches, pack.branch),), places)
        ids, learned = torch.zeros(1, pack.tokens, dtype=torch.long), pack.branches * pack.labels
        with Trace(device) as traced:
            for parameter in itertools.chain(model.parameters(), model.buffers()):
                traced.watch(parameter)
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(
                    input_ids=ids,
                    position_ids=torch.zeros(3, 1, pack.tokens, dtype=torch.long),
                    layout=layout,
                    branches_only=True,
                    use_cache=False,
                    logits_to_keep=torch.zeros(learned, dtype=torch.long),
                ).logits
            labels = torch.zeros(learned, dtype=torch.long)
            torch.nn.functional.cross_entropy(logits[0].float(), labels, reduction="sum").backward()
    return traced


def expected_peak(shape: ModelShape, setup: Setup, pack: PackSize, every: int) -> float:
    """Return the estimate of what is traced: the first pack of a step, without tower and optimizer.

    Its gradients are not there yet when the forward pass ends, and are when nothing but them is left to be made.
    """
    memory = estimate(shape, setup, pack, every)
    tower = 2 * (shape.tower.parameters + shape.tower.merger_parameters)
    forward = memory.total - memory.gradients - memory.optimizer
    return max(forward, memory.weights + memory.gradients) - tower


def answering(shape: ModelShape, device: str, questions: int, branch: int, answer: int) -> dict[str, float]:
    """Return seconds of a scene's parts: tower, prefix, questions of ``branch`` tokens, ``answer`` decoding steps.

    A step reads all weights of the language part and the prefix's keys once, in bf16; launches, which CUDA graphs
    hide, and the host are left out.
    """
    chip, prefix = DEVICES[device], PUBLISHED_PACK.prefix
    weights = shape.layers * shape.layer_matmul
    attended = 4.0 * shape.layers * shape.query_width
    own = questions * branch

    def took(products: float, pairs: float) -> float:
        return products / (chip.flops * MATMUL) + attended * pairs / (chip.flops * ATTENTION)

    pixels = replace(PUBLISHED_PACK, branches=0, prefix=0)
    tower = work_of(shape, Setup("lora", "bf16", 0, 0), pixels, 0).tower
    keys = 4.0 * shape.layers * shape.key_width * (prefix + questions * (branch + answer))
    step = (2.0 * (weights + shape.head_parameters) + keys) / (chip.bandwidth * STREAM)
    return {
        "tower": took(tower, 0),
        "prefix": took(2.0 * weights * prefix, prefix**2 / 2),
        "questions": took(2.0 * (weights * own + shape.head_parameters * questions), own * prefix + own * branch / 2),
        "decoding": answer * step,
    }


def main(argv: list[str] | None = None) -> int:
    """Print a line for each number of branches."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=sorted(PUBLISHED), default="Qwen2-VL-7B")
    parser.add_argument("--method", choices=("lora", "full"), default="lora")
    parser.add_argument("--branches", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    parser.add_argument("--every", type=int, default=0, help="compute every n-th layer again; 0 keeps all")
    parser.add_argument("--plain", action="store_true", help="norms and SwiGLU as they are, not fused")
    parser.add_argument("--casts", action="store_true", help="LoRA inputs cast there and back, as peft does")
    parser.add_argument("--device", choices=sorted(DEVICES), default="H100")
    parser.add_argument("--slowest", type=int, default=0, help="also name this many of the slowest operations")
    parser.add_argument("--answer", type=int, metavar="N", help="instead: answers of 16 tokens to N questions")
    options = parser.parse_args(argv)
    if options.answer:
        parts = answering(PUBLISHED[options.model], options.device, options.answer, 110, 16)
        shown = ", ".join(f"{name} {1e3 * one:.0f}" for name, one in parts.items())
        print(f"{options.answer} questions, {options.device}: {1e3 * sum(parts.values()):.0f} ms ({shown})")
        return 0
    shape, full = PUBLISHED[options.model], options.method == "full"
    trained = shape.language_parameters if full else shape.lora_parameters(8)
    rank = 0 if full else 8
    setup = Setup(options.method, "bf16", trained, shape.layers, rank=rank, fused=not options.plain)
    for branches in options.branches:
        pack = replace(PUBLISHED_PACK, branches=branches, patches=0)
        traced = trace(shape, setup, pack, options.every, options.device, options.casts)
        useful = work_of(shape, setup, pack, options.every).useful
        seconds = sum(traced.seconds.values())
        kinds = ", ".join(f"{kind} {1e3 * one:.0f}" for kind, one in traced.seconds.most_common())
        expected = expected_peak(shape, setup, pack, options.every)
        print(
            f"{branches:3d} branches: {1e3 * seconds:5.0f} ms ({kinds}; {sum(traced.count.values())} kernels), "
            f"utilisation {useful / seconds / DEVICES[options.device].flops:.0%}; "
            f"memory traced {traced.peak / 1e9:.1f} GB, estimated {expected / 1e9:.1f} GB",
            flush=True,
        )
        for name, spent in traced.by_name.most_common(options.slowest):
            print(f"      {name}: {1e3 * spent:.1f} ms", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
