"""Every workaround for a version of somebody else's library, dated, with the condition for its removal."""

from __future__ import annotations

import atexit
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from transformers import PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from gpt4scene import talk

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel

SLOW_CONV3D = ("2.9.",)


def check_versions() -> None:
    """Raise ``ValueError`` on library versions that are known to ruin a run.

    torch 2.9.x: its Conv3d, which embeds the patches, is 10 to 20 times slower. Seen in 2026; remove when nobody
    installs 2.9 any more.
    """
    version = torch.__version__
    if version.startswith(SLOW_CONV3D):
        raise ValueError(
            f"torch {version} embeds image patches 10 to 20 times slower than other versions; install another one"
        )


def hide_bars_from_logs() -> None:
    """Switch the bars of transformers off under --quiet and off a terminal: a log would hold all their states."""
    if talk.quiet() or not talk.can_redraw():
        disable_progress_bar()


def wrapped_by_peft(model: PreTrainedModel, config: LoraConfig) -> PeftModel:
    """Return ``model`` with a new adapter of peft, without a warning that is for peft's authors.

    peft 0.21 asks the model for ``is_gradient_checkpointing``, whose old name transformers 5.23 warns of. Seen in
    2026-11; remove when a LoRA run is silent without it.
    """
    from peft import get_peft_model

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        return get_peft_model(model, config)  # pyright: ignore[reportReturnType]  (a mixed one is not asked for)


@contextmanager
def whole_models() -> Iterator[None]:
    """Let models that are made in the block be whole, whatever DeepSpeed is to do with those made later.

    Under ZeRO-3, transformers shards each part of a model as it is made, on the meta device too, where there is nothing
    to share out. It knows of ZeRO-3 by a module-wide reference, which has a setter and a remover, but no way to look.
    Seen in 2026-11 with transformers 5.23; remove when ``from_config`` on the meta device works beside ZeRO-3.
    """
    from transformers.integrations import deepspeed

    reference = vars(deepspeed).get("_hf_deepspeed_config_weak_ref")
    held = reference() if reference is not None else None
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if held is not None:
            deepspeed.set_hf_deepspeed_config(held)


def keep_used_renamings(model: torch.nn.Module) -> None:
    """Make ``model`` save its weights under the key names that they were loaded from.

    transformers 5.23 reverses the renamings of loading when it saves. Under DeepSpeed ZeRO-3 it keeps all known ones,
    used or not, so that ``model.layers`` comes out as ``model.model.layers`` and nothing can load the file. Seen in
    2026-11; remove when a ZeRO-3 checkpoint has the same keys as any other without this.
    """
    renamings = vars(model).get("_weight_conversions")
    if renamings:
        vars(model)["_weight_conversions"] = [renaming for renaming in renamings if renaming.was_used()]


def enable_checkpointing(model: PreTrainedModel, options: dict[str, Any], *, offload: bool = False) -> None:
    """Switch the recomputing of activations on in all layers of ``model``, under the name that the version has.

    transformers 5.23 renames ``gradient_checkpointing_enable`` to ``activation_checkpointing_enable``, and warns of the
    old name. Seen in 2026-11; remove when the oldest transformers that we take has the new one.
    """
    new = getattr(model, "activation_checkpointing_enable", None)
    (new if new is not None else model.gradient_checkpointing_enable)(options, offload=offload)


def take_back_first_step(optimizer: Any) -> None:
    """Make DeepSpeed's ``optimizer`` start at step 0, where it has already taken a step with gradients of 0.

    Without ZeRO (stage 0), DeepSpeed 0.19 steps a bf16 or fp16 optimizer once when it is made, to have its memory
    allocated, and keeps the count. Adam then corrects its means for the second step: the first update is 0.744
    (0.1 / 0.19 over the root of 0.001 / 0.001999) of what it should be, and weight decay acts once too often. Call it
    before a fresh run only. Seen in 2026-11; remove when the first step of stage 0 equals that of stage 2 without it.
    """
    from deepspeed.runtime.fp16.fused_optimizer import FP16_Optimizer
    from deepspeed.runtime.fp16.unfused_optimizer import FP16_UnfusedOptimizer

    if isinstance(optimizer, FP16_UnfusedOptimizer):
        pairs = zip(optimizer.fp32_groups, optimizer.fp16_groups, strict=True)
    elif isinstance(optimizer, FP16_Optimizer):
        flat = zip(optimizer.fp32_groups_flat, optimizer.fp16_groups, strict=True)
        pairs = ((master.data.split([weight.numel() for weight in weights]), weights) for master, weights in flat)
    else:
        return
    with torch.no_grad():
        for masters, weights in pairs:
            for master, weight in zip(masters, weights, strict=True):
                master.view_as(weight).copy_(weight)
    inner = optimizer.optimizer
    inner.state.clear()
    for group in inner.param_groups:
        if "step" in group:  # FusedAdam counts here
            group["step"] = 0


def end_without_finalizing(status: int) -> NoReturn:
    """End this process with ``status``: exit handlers run and output is flushed, but Python takes nothing down.

    A thread of gloo lets go of the work of a last barrier a moment after the barrier is over, and with it of tensors
    that Python knows. Where the interpreter is being taken down by then, the thread is ended as it asks for the lock,
    in the midst of a destructor, and the process aborts: "terminate called without an active exception", SIGABRT
    after all work is done, in 2 of 36 runs of ZeRO-3 on two busy cores (``AsyncBarrierWork``, ``decref_pyobject``,
    ``take_gil``; github.com/pytorch/pytorch/issues/190489). Python's multiprocessing ends its children so, too.
    Seen in 2026-11 with torch 2.13; remove when the oldest torch that we take has it mended.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(status)
