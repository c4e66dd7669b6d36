"""Keys of the training methods: variants of LoRA, quantised bases, optimizers, rates of parts, early stopping.

Names, defaults and meanings are LLaMA-Factory's; ``tower_learning_rate`` and ``merger_learning_rate`` are ours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gpt4scene.settings.arguments import Arguments, key
from gpt4scene.settings.preferences import WITHOUT_REFERENCE, compares


@dataclass(frozen=True)
class MethodArguments(Arguments):
    """How the trained numbers are made, kept and updated, beyond plain LoRA and AdamW."""

    use_dora: bool = key("LoRA with a learned length for every output channel (DoRA).", False, method="lora")
    use_rslora: bool = key("Scale LoRA by alpha over the root of the rank (rsLoRA).", False, method="lora")
    pissa_init: bool = key(
        "Start LoRA from the largest singular vectors of each weight, which keeps the rest (PiSSA).",
        False,
        method="lora",
    )
    pissa_iter: int = key("Iterations of PiSSA's fast decomposition; -1 for the exact one.", 16, least=-1)
    pissa_convert: bool = key(
        "Write the PiSSA adapter as a plain LoRA of twice the rank, too, into pissa_converted.", False, method="lora"
    )
    additional_target: list[str] | None = key(
        "Modules beside LoRA that are trained whole and saved with the adapter, such as embed_tokens,lm_head.",
        None,
        method="lora",
    )
    create_new_adapter: bool = key(
        "Merge the adapters of adapter_name_or_path into the base and train a new one on top.", False, method="lora"
    )
    loraplus_lr_ratio: float | None = key(
        "LoRA+: how many times the learning rate LoRA's second matrices (B) have.", None, least=0, method="lora"
    )
    loraplus_lr_embedding: float = key("LoRA+: the learning rate of LoRA on embeddings.", 1e-6, least=0)
    quantization_bit: int | None = key(
        "Keep the language layers' weights in 4 or 8 bits while LoRA trains (QLoRA).", None, least=1, method="lora"
    )
    quantization_method: Literal["bnb", "bitsandbytes"] = key("What quantises; bitsandbytes is the only one.", "bnb")
    quantization_type: Literal["nf4", "fp4"] = key("The number format of 4 bits.", "nf4")
    double_quantization: bool = key("Quantise the scales of 4 bits, too.", True)
    quantization_device_map: Literal["auto"] | None = key(
        "LLaMA-Factory's for inference; refused in training, as there.", None
    )
    use_galore: bool = key("Project gradients of linear modules to a low rank (GaLore).", False)
    galore_target: list[str] = key("Names of the linear modules that GaLore treats, or all.", ["all"])
    galore_rank: int = key("Rank of GaLore's gradients.", 16, least=1)
    galore_update_interval: int = key("Steps between GaLore's projections.", 200, least=1)
    galore_scale: float = key("Factor of GaLore's updates.", 2.0, least=0)
    galore_proj_type: Literal["std", "reverse_std", "right", "left", "full"] = key("Kind of GaLore projection.", "std")
    galore_layerwise: bool = key("Update layer by layer; refused, as a checkpoint would hold nothing of it.", False)
    use_apollo: bool = key("Scale gradients by statistics of a low rank (APOLLO).", False)
    apollo_target: list[str] = key("Names of the linear modules that APOLLO treats, or all.", ["all"])
    apollo_rank: int = key("Rank of APOLLO's statistics.", 16, least=1)
    apollo_update_interval: int = key("Steps between APOLLO's projections.", 200, least=1)
    apollo_scale: float = key("Factor of APOLLO's updates.", 32.0, least=0)
    apollo_proj: Literal["svd", "random"] = key("How APOLLO projects.", "random")
    apollo_proj_type: Literal["std", "right", "left"] = key("Kind of APOLLO projection.", "std")
    apollo_scale_type: Literal["channel", "tensor"] = key("Whether APOLLO scales channels or whole tensors.", "channel")
    apollo_layerwise: bool = key("Update layer by layer; refused, as a checkpoint would hold nothing of it.", False)
    apollo_scale_front: bool = key("Scale before APOLLO's limit of growth, not after it.", False)
    use_muon: bool = key("Muon for matrices, AdamW for all else (embeddings, head, vectors).", False)
    early_stopping_steps: int | None = key(
        "Stop after so many evaluations without a better metric_for_best_model.", None, least=1
    )
    tower_learning_rate: float | None = key(
        "Learning rate of the vision tower where it learns; learning_rate when left out.", None, least=0
    )
    merger_learning_rate: float | None = key(
        "Learning rate of the projector where it learns; learning_rate when left out.", None, least=0
    )

    @property
    def pissa(self) -> str | None:
        """Return peft's name of the start that ``pissa_init`` asks for."""
        if not self.pissa_init:
            return None
        return "pissa" if self.pissa_iter == -1 else f"pissa_niter_{self.pissa_iter}"

    @property
    def low_rank(self) -> Literal["galore", "apollo"] | None:
        """Return which optimizer of low-rank gradients is asked for."""
        return "galore" if self.use_galore else "apollo" if self.use_apollo else None


def adapter_names(given: object) -> list[str]:
    """Return the folders that ``adapter_name_or_path`` names, in their order; commas part them."""
    return [one.strip() for one in str(given or "").split(",") if one.strip()]


_OWN_GROUPS = ("galore", "apollo", "lomo", "adalomo")
"""Beginnings of transformers' optimizers that take the model, or groups of their own, in place of ours."""
_QUANTISED = ("quantization_method", "quantization_type", "double_quantization", "quantization_device_map")


def methods_without_effect(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for every key that is set to something of its own while its method is not asked for."""
    switches = {
        "pissa_": "pissa_init",
        "galore_": "use_galore",
        "apollo_": "use_apollo",
        "loraplus_lr_embedding": "loraplus_lr_ratio",
        **dict.fromkeys(_QUANTISED, "quantization_bit"),
    }
    defaults = MethodArguments()
    for name in (one.name for one in dataclasses.fields(MethodArguments)):
        switch = next((switch for beginning, switch in switches.items() if name.startswith(beginning)), None)
        same = values.get(name) in (None, getattr(defaults, name))
        alias = name == "quantization_method"  # two names of one method
        if switch and name != switch and not same and not alias and not values.get(switch):
            yield f"{name} has no effect: it needs {switch}"
    yield from _idle(values)


def _idle(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for every key that its method passes over in this run."""
    get, defaults = values.get, MethodArguments()
    for name in ("quantization_type", "double_quantization") if get("quantization_bit") == 8 else ():
        if get(name) not in (None, getattr(defaults, name)):
            yield f"{name} has no effect: it is for quantization_bit: 4"
    goes_on = get("adapter_name_or_path") and not get("create_new_adapter")
    other = get("loraplus_lr_embedding") not in (None, defaults.loraplus_lr_embedding)
    if get("loraplus_lr_ratio") and other and not goes_on:
        yield "loraplus_lr_embedding has no effect: a new adapter has LoRA on linear modules alone, none on embeddings"


def method_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for settings of methods that cannot stand together; ``values`` holds what was set, by key."""
    yield from _adapters(values)
    yield from _quantised(values)
    yield from _optimizers(values)
    yield from _rates(values)
    get = values.get
    if get("early_stopping_steps") and get("eval_strategy", "no") == "no":
        yield "early_stopping_steps needs evaluations; write eval_strategy: steps, and val_size or eval_dataset"


def _adapters(values: Mapping[str, Any]) -> Iterator[str]:
    get = values.get
    given = get("adapter_name_or_path")
    several = len(adapter_names(given)) > 1
    if get("create_new_adapter") and not given:
        yield "create_new_adapter needs adapter_name_or_path, the adapters to merge first; a run without is new anyway"
    if given and not get("create_new_adapter"):
        for name in ("use_dora", "use_rslora", "pissa_init", "additional_target"):
            if get(name):
                yield (
                    f"{name} is for a new adapter, and adapter_name_or_path goes on with one; leave it out, or write "
                    "create_new_adapter: true"
                )
    if (several or get("create_new_adapter")) and get("deepspeed"):
        yield (
            "adapters can't be merged into weights that DeepSpeed may share out; merge them first with gpt4scene export"
        )
    if get("pissa_iter") == 0:
        yield "pissa_iter must be 1 or more, or -1 for the exact decomposition, not 0"
    if get("pissa_init") and (get("deepspeed") or get("fsdp")):
        yield "pissa_init decomposes whole weights, which DeepSpeed and FSDP may share out; leave one of them out"
    compared = compares(values) and get("pref_loss") not in WITHOUT_REFERENCE and not get("ref_model")
    if get("pissa_init") and compared:
        yield "pissa_init takes its start out of the base, which would be the reference; write ref_model: the base"
    if get("pissa_convert") and get("use_dora"):
        yield "pissa_convert is for plain LoRA: DoRA's lengths have no place in it; leave one of them out"


def _quantised(values: Mapping[str, Any]) -> Iterator[str]:
    get = values.get
    bits = get("quantization_bit")
    if bits is None:
        return
    if bits not in (4, 8):
        yield f"quantization_bit must be 4 or 8, not {bits}"
    if get("pissa_init"):
        yield "pissa_init decomposes whole weights, and quantization_bit keeps few bits of them; leave one of them out"
    if get("create_new_adapter") or len(adapter_names(get("adapter_name_or_path"))) > 1:
        yield "adapters can't be merged into a quantised base; merge them first with gpt4scene export"
    if get("quantization_device_map"):
        yield "quantization_device_map: auto is for inference, as in LLaMA-Factory; leave it out to train"
    for name in ("deepspeed", "fsdp"):
        if get(name):
            yield f"quantization_bit and {name} are not done together; leave {name} out to run on plain processes (DDP)"
    if get("pure_bf16"):
        yield "pure_bf16 would cast quantised weights; write bf16: true"


def _optimizers(values: Mapping[str, Any]) -> Iterator[str]:
    get = values.get
    asked = [name for name in ("use_galore", "use_apollo", "use_muon", "loraplus_lr_ratio") if get(name)]
    if len(asked) > 1:
        yield f"{' and '.join(asked)} exclude each other: each is an optimizer of its own"
    optim = get("optim") or "adamw_torch"
    for name, fits in (
        ("use_galore", ("adamw_torch", "adamw_torch_fused", "adafactor")),
        ("use_apollo", ("adamw_torch", "adamw_torch_fused")),
        ("use_muon", ("adamw_torch", "adamw_torch_fused")),
    ):
        if not get(name):
            continue
        if optim not in fits:
            yield f"{name} goes with optim: {' or '.join(fits)}, not {optim}; leave optim out"
        if get("deepspeed") or get("fsdp"):
            yield f"{name} needs whole gradients, which DeepSpeed and FSDP share out; run on plain processes (DDP)"
        if name != "use_muon" and get("finetuning_type", "lora") == "lora":
            yield f"{name} is for full or freeze training: LoRA's matrices are of a low rank already"
    side = get("apollo_proj_type")
    if get("use_apollo") and side in ("left", "right") and get("apollo_scale_type", "channel") == "channel":
        yield (
            f"apollo_proj_type: {side} has no scales of channels; write std, which takes the fitting side of each "
            "matrix, or apollo_scale_type: tensor"
        )
    for name in ("galore_layerwise", "apollo_layerwise"):
        if get(name):
            yield f"{name} is not done here: a checkpoint would hold nothing of what it keeps; leave it out"
    if get("loraplus_lr_ratio") == 0:
        yield "loraplus_lr_ratio 0 would train none of LoRA's second matrices; write 1 or more, such as 16"


def _rates(values: Mapping[str, Any]) -> Iterator[str]:
    get = values.get
    optim = str(get("optim") or "")
    for name in ("loraplus_lr_ratio", "tower_learning_rate", "merger_learning_rate"):
        if get(name) is not None and optim.startswith(_OWN_GROUPS):
            yield f"{name} and optim: {optim} exclude each other, since that one makes its groups itself; leave one out"
    for name, frozen in (
        ("tower_learning_rate", "freeze_vision_tower"),
        ("merger_learning_rate", "freeze_multi_modal_projector"),
    ):
        whole = get("additional_target") and not get("adapter_name_or_path")  # the model tells what it names
        if get(name) is not None and get(frozen, True) and not whole:
            yield f"{name} is for a part that learns; write {frozen}: false"
