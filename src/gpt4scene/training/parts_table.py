"""What a run trains, part by part, before its first step: a table for the terminal, and the same for ``run.json``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import torch

from gpt4scene.families.family import Family
from gpt4scene.settings.methods import MethodArguments
from gpt4scene.training.parameter_groups import WRAPPER, rate_of

_ORDER = ("tower", "merger", "embeddings", "layers", "head")
_SHORT = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16", torch.int8: "8 bit"}


@dataclass(frozen=True)
class Part:
    """A part of the model: ``parameters`` without adapters, ``trained`` those that learn, adapters' among them.

    ``how`` is ``frozen``, ``full`` or ``some``, ``LoRA`` with its rank, ``whole`` for a copy beside LoRA.
    """

    name: str
    how: str
    parameters: int
    trained: int
    precision: str
    learning_rates: list[float]


@dataclass
class _Count:
    parameters: int = 0
    learning: int = 0
    adapters: int = 0
    copies: int = 0
    lengths: bool = False
    ranks: set[int] = field(default_factory=set)
    frozen: set[str] = field(default_factory=set)
    trained: set[str] = field(default_factory=set)
    rates: set[float] = field(default_factory=set)


def parts_of(model: torch.nn.Module, methods: MethodArguments, rate: float, family: Family) -> list[Part]:
    """Return the parts of ``model``, ready to train at learning rate ``rate``; tied weights count once."""
    counts: dict[str, _Count] = {}
    for name, parameter in model.named_parameters():
        plain = name.removeprefix(WRAPPER)
        count, size = counts.setdefault(_part(plain, family), _Count()), size_of(parameter)
        lora, copy = ".lora_" in plain, ".modules_to_save." in plain
        count.parameters += 0 if lora or copy else size
        if "lora_A" in plain:
            count.ranks.add(_shape(parameter)[0])
        count.lengths |= "lora_magnitude" in plain
        if not parameter.requires_grad:
            count.frozen |= set() if lora else {_precision(parameter)}
            continue
        count.adapters += size if lora else 0
        count.copies += size if copy else 0
        count.learning += 0 if lora or copy else size
        count.trained.add(_precision(parameter))
        count.rates.add(rate_of(name, len(_shape(parameter)), methods, rate, family))
    return [_described(name, counts[name]) for name in _ORDER if name in counts]


def table(parts: Sequence[Part]) -> str:
    """Return the parts as lines of aligned columns, with a last line for all of them."""
    head = ("part", "trained", "parameters", "of them", "precision", "learning rate")
    rows = [
        (
            part.name,
            part.how,
            f"{part.parameters:,}",
            f"{part.trained:,}",
            part.precision,
            " and ".join(f"{rate:g}" for rate in part.learning_rates) or "-",
        )
        for part in parts
    ]
    rows.append(("all", "", f"{sum(p.parameters for p in parts):,}", f"{sum(p.trained for p in parts):,}", "", ""))
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = [
            word.rjust(width) if column in (2, 3) else word.ljust(width)
            for column, (word, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def content(parts: Sequence[Part]) -> list[dict[str, object]]:
    """Return the parts as JSON values."""
    return [asdict(part) for part in parts]


def size_of(parameter: torch.nn.Parameter) -> int:
    """Return how many numbers a parameter stands for, the whole of it where it is sharded or kept in 4 bits."""
    return math.prod(_shape(parameter))


def _shape(parameter: torch.nn.Parameter) -> tuple[int, ...]:
    """Return the whole shape of a parameter, which ZeRO-3 and bitsandbytes keep beside what is there of it."""
    state = getattr(parameter, "quant_state", None)
    return tuple(state.shape if state is not None else getattr(parameter, "ds_shape", parameter.shape))


def _precision(parameter: torch.nn.Parameter) -> str:
    if getattr(parameter, "quant_state", None) is not None:
        return "4 bit"
    return _SHORT.get(parameter.dtype, str(parameter.dtype).removeprefix("torch."))


def _part(name: str, family: Family) -> str:
    part = family.part_of(name)
    if part != "language":
        return part
    if name.startswith("lm_head."):
        return "head"
    return "embeddings" if "embed_tokens." in name else "layers"


def _described(name: str, count: _Count) -> Part:
    """Return what is said of a part."""
    kind = "DoRA" if count.lengths else "LoRA"
    ways = [f"{kind}, rank {'/'.join(map(str, sorted(count.ranks)))}"] if count.adapters else []
    ways += ["a copy, whole"] if count.copies else []
    if count.learning:
        ways.append("full" if count.learning == count.parameters else "some")
    frozen, trained = ("/".join(sorted(kinds)) for kinds in (count.frozen, count.trained))
    precision = frozen if not trained or frozen == trained else f"{frozen}, trained {trained}" if frozen else trained
    return Part(
        name=name,
        how=" and ".join(ways) or "frozen",
        parameters=count.parameters,
        trained=count.learning + count.adapters + count.copies,
        precision=precision,
        learning_rates=sorted(count.rates),
    )
