"""How fast a run is: questions and tokens a second, time spent waiting for data, memory, utilisation.

Everything is counted on the host from what batches say of themselves, and shared among processes once a log line:
no step waits for it.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import TrainingArguments

from gpt4scene.families.registry import shape_of
from gpt4scene.families.shape import ModelShape
from gpt4scene.settings.config import TrainConfig
from gpt4scene.training.costs import DEVICES, forward_of, work_of
from gpt4scene.training.fitting import setup_of
from gpt4scene.training.launch_files import deepspeed_content
from gpt4scene.training.memory import PackSize, Setup
from gpt4scene.types import Batch

SLOWER = frozenset({"PCIe", "NVL", "D", "Laptop"})
"""Words of names of cards that reach less than the data sheet of their name says."""

Operations = Callable[[Batch], float]
"""Useful operations of a pack, forward and backward (see ``training.costs``)."""


class Speed:
    """Counts what the steps since the last log line took, and what all of them took.

    Tokens of a prefix count once for its whole pack, as they are computed once. Evaluations and saving are left out of
    the time. ``operations`` over ``peak`` (a second and device) is the utilisation; it is left out where either is not
    known.
    """

    def __init__(
        self,
        device: torch.device,
        rank: int,
        ranks: int,
        operations: Operations | None = None,
        peak: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._device, self._rank, self._ranks = device, rank, ranks
        self._operations, self._peak, self._clock = (operations, peak, clock) if peak else (None, None, clock)
        self._counted = [0.0] * 4  # questions, tokens, operations, seconds of waiting
        self._whole = [0.0] * 5  # the same of all processes since the beginning, and seconds
        self._since, self._aside, self._memory = clock(), 0.0, 0.0

    def begin(self) -> None:
        """Begin to measure now."""
        self._since, self._aside = self._clock(), 0.0

    def loaded(self, batches: Sequence[Batch | None], questions: int, waited: float) -> None:
        """Note the packs of a step on this process, its rows, and the seconds that it waited for them."""
        self._counted[0] += questions
        self._counted[3] += waited
        for batch in batches:
            if batch is None:
                continue
            self._counted[1] += batch.input_ids.numel()
            self._counted[2] += self._operations(batch) if self._operations else 0.0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave what is done in the block out of the time."""
        started = self._clock()
        try:
            yield
        finally:
            self._aside += self._clock() - started

    def take(self, reduce: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, float]:
        """Return the figures since they were last taken, over all processes, whose sums ``reduce`` gives."""
        seconds = max(self._clock() - self._since - self._aside, 1e-9)
        places = [0.0] * self._ranks
        places[self._rank] = peak_memory(self._device) / 1e9
        kind = torch.float32 if self._device.type == "mps" else torch.float64
        here = torch.tensor([*self._counted, *places], dtype=kind, device=self._device)
        found = reduce(here).tolist()
        self._memory = max(found[4:])
        self._whole = [old + new for old, new in zip(self._whole, [*found[:4], seconds], strict=True)]
        self._counted = [0.0] * 4
        self.begin()
        return self._figures([*found[:4], seconds])

    def total(self) -> dict[str, float]:
        """Return the figures of all steps that were taken so far."""
        return self._figures(self._whole) if self._whole[4] else {}

    def _figures(self, counted: Sequence[float]) -> dict[str, float]:
        questions, tokens, operations, waited, seconds = counted
        figures = {
            "questions_per_second": round(questions / seconds, 3),
            "tokens_per_second": round(tokens / seconds, 1),
            "data_wait_share": round(min(waited / seconds / self._ranks, 1.0), 4),
            "peak_memory_gb": round(self._memory, 3),
        }
        if self._operations is not None and self._peak:
            figures["utilisation"] = round(operations / seconds / self._ranks / self._peak, 4)
        return figures


def peak_memory(device: torch.device) -> float:
    """Return the most bytes that this process held: of tensors on a GPU, in all (resident) on a CPU."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def in_half(config: TrainConfig, arguments: TrainingArguments) -> bool:
    """Return whether a run multiplies matrices in 16 bits; of ``pure_bf16`` the Trainer's arguments say nothing."""
    return bool(arguments.bf16 or arguments.fp16 or config.tuning.pure_bf16)


def peak_operations(device: torch.device, half: bool) -> float | None:
    """Return the dense operations a second of a GPU by its data sheet, None where it is not known.

    Only for ``half`` precision: rates of fp32 hang on whether TF32 is used.
    """
    if device.type != "cuda" or not half:
        return None
    name, memory = torch.cuda.get_device_name(device), torch.cuda.get_device_properties(device).total_memory
    return peak_of(name, memory)


def peak_of(name: str, memory: float) -> float | None:
    """Return what ``peak_operations`` does for a GPU of this name with so many bytes.

    Cards of the same name that are slower (PCIe, NVL, for laptops) are not known, and neither are parts of one (MIG).
    """
    words = set(name.replace("-", " ").split())
    if "MIG" in words:
        return None
    if "A100" in words:
        return DEVICES["A100-80" if memory > 50e9 else "A100-40"].flops
    if words & SLOWER:
        return None
    return next((one.flops for key, one in DEVICES.items() if key in words), None)


def operations_of(model: ModelShape, setup: Setup, *, refers: bool = False) -> Operations:
    """Return what counts the useful operations of a pack; a tower that is not run, as features are kept, has none.

    Where a loss ``refers`` to another model, its pass over tokens is among them.
    """

    def count(batch: Batch) -> float:
        layout, patches = batch.layout, len(batch.pixel_values)
        branches = max(len(layout.lengths), 1)
        labels = -(-len(batch.label_ids) // branches)
        pack = PackSize(layout.prefix_length, branches, -(-layout.branch_tokens // branches), labels, patches)
        useful = work_of(model, setup, pack, every=0).useful
        return useful + (forward_of(model, pack) if refers else 0.0)

    return count


def run_operations(config: TrainConfig, processes: int, model: torch.nn.Module) -> Operations:
    """Return what counts the useful operations of a pack of a run."""
    shape = shape_of(model.config)
    setup = setup_of(config, shape, processes, deepspeed=deepspeed_content(config))
    return operations_of(shape, setup, refers=config.tuning.stage == "dpo" and config.preferences.refers)
