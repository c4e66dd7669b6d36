"""How many layers of a run compute their activations again: as the user says, or as few as the memory allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import Trainer

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.packs import PackDataset
from gpt4scene.errors import DataError
from gpt4scene.families.shape import ModelShape
from gpt4scene.files.tokenized import TokenizedRows
from gpt4scene.settings.config import TrainConfig
from gpt4scene.training.memory import Memory, PackSize, Setup, estimate, least_checkpointing, usable
from gpt4scene.types import IGNORED, Conversation, EncodedSample

SCENES = 512
"""Scenes of which a row is encoded to know the longest prefix: those with the most images."""

GB = 10**9

OPTIONS = ("gradient_checkpointing_kwargs", "activation_checkpointing_kwargs")


@dataclass(frozen=True)
class Choice:
    """Every ``every``-th layer is computed again, none where it is 0; ``sentence`` says so, and why.

    ``memory`` is the estimate behind it, ``free`` the bytes that a device had to spare; None where nobody asked.
    """

    every: int
    sentence: str
    memory: Memory | None = None
    free: int | None = None

    def content(self) -> dict[str, Any]:
        """Return what ``run.json`` says of it; bytes as GB."""
        found: dict[str, Any] = {"recomputed_every": self.every, "sentence": self.sentence}
        if self.memory is not None and self.free is not None:
            found["estimate_gb"] = {name: round(size / GB, 2) for name, size in asdict(self.memory).items()}
            found["free_gb"] = round(self.free / GB, 2)
        return found


def choose(config: TrainConfig, model: ModelShape, setup: Setup, pack: PackSize | None, free: int | None) -> Choice:
    """Return how many layers are computed again.

    What the settings say wins: ``disable_gradient_checkpointing``, or ``every_n_layers`` among the options of
    checkpointing. Left out, it is as little as the estimate for ``pack`` fits into ``free`` bytes, and every layer
    where ``free`` is not known or nothing can be estimated (plain attention keeps whole score matrices).
    """
    said = config.tuning.disable_gradient_checkpointing
    every = options_of(config).get("every_n_layers")
    if said is True:
        return Choice(0, "activations are kept, as disable_gradient_checkpointing says")
    if said is False or every:
        return Choice(every or 1, f"activations of {_these(every or 1)} are computed again, as the settings say")
    if free is None or pack is None or config.model.flash_attn == "disabled":
        return Choice(1, f"activations of {_these(1)} are computed again")
    chosen = least_checkpointing(model, setup, pack, free)
    memory = estimate(model, setup, pack, 1 if chosen is None else chosen)
    room = f"estimate {memory.total / GB:.1f} of {usable(free) / GB:.1f} GB to plan with, packs of {pack.tokens} tokens"
    if chosen is None:
        sentence = (
            f"activations of every layer are computed again, and yet memory may run out ({room}); {_ways(config)}"
        )
    elif chosen == 0:
        sentence = f"activations are kept ({room})"
    else:
        without = estimate(model, setup, pack, 0).total / GB
        sentence = f"activations of {_these(chosen)} are computed again ({room}; {without:.1f} GB if all were kept)"
    return Choice(1 if chosen is None else chosen, sentence, memory, free)


def options_of(config: TrainConfig) -> dict[str, Any]:
    """Return the options of checkpointing that the user gave, under either of their names."""
    return next((dict(config.training[key]) for key in OPTIONS if config.training.get(key)), {})


def ran_out(config: TrainConfig, choice: Choice, step: int, error: Exception) -> str:
    """Return the sentence for a run whose device's memory ran out in ``step``, with what can be done."""
    first = " ".join(str(error).split()).partition(". ")[0]
    return f"step {step}: the device's memory ran out ({first}); {choice.sentence}; {_ways(config, choice)}"


@contextmanager
def told_when_memory_runs_out(config: TrainConfig, choice: Choice, trainer: Trainer) -> Iterator[None]:
    """Raise ``DataError`` with the step and the way out where a device's memory runs out in the block."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DataError(ran_out(config, choice, trainer.state.global_step + 1, error)) from error


def _ways(config: TrainConfig, choice: Choice | None = None) -> str:
    """Return what would need less memory and is not done yet, easiest first."""
    tuning, get = config.tuning, config.training.get
    ways = []
    if choice is not None and choice.every != 1:
        ways.append("disable_gradient_checkpointing: false")
    if tuning.use_liger_kernel is False:
        ways.append("enable_liger_kernel: auto")
    if tuning.scene_packing != 1:
        ways.append("a lower scene_packing")
    if not (get("deepspeed") or get("fsdp")) and tuning.finetuning_type != "lora":
        ways.append("deepspeed: examples/deepspeed/ds_z3_config.json on several GPUs, or finetuning_type: lora")
    ways.append("a lower image_resolution or fewer images a row")
    return f"try {'; or '.join(ways)}"


def _these(every: int) -> str:
    names = {1: "every layer", 2: "every 2nd layer", 3: "every 3rd layer"}
    return names.get(every, f"every {every}th layer")


def pack_size(dataset: PackDataset, branches: int) -> PackSize:
    """Return a size that no pack of ``branches`` rows passes but by a little: the longest prefix, the longest rows.

    A row that shares nothing is a pack of its own, and counts as one where it is the longest of all. Of at most
    ``SCENES`` scenes, those with the most images, a row is encoded, and so are the rows with the longest texts. Raises
    DataError for a row that can't be encoded.
    """
    rows, encoder, keys = dataset.rows, dataset.encoder, dataset.groups.keys
    shared, alone = [], []
    for index in _telling(rows, branches, keys):
        row = rows[index]
        (alone if keys[index] is None else shared).append(
            row if isinstance(row, EncodedSample) else encoder.encode(row)
        )
    sizes = [_size(sample.answers, len(sample.answers), encoder) for sample in alone]
    if shared:
        answers = [answer for sample in shared for answer in sample.answers]
        sizes.append(_size(answers, branches * len(shared[0].answers), encoder))
    return max(sizes, key=lambda size: size.tokens)


def _size(samples: Sequence[EncodedSample], branches: int, encoder: Encoder) -> PackSize:
    """Return the size of a pack with the longest prefix and the ``branches`` longest branches of ``samples``."""
    longest = sorted((len(one.ids_L) - one.cut, int((one.labels_L != IGNORED).sum())) for one in samples)[-branches:]
    count = len(longest)
    return PackSize(
        prefix=max(one.cut for one in samples),
        branches=count,
        branch=-(-sum(length for length, _ in longest) // count),
        labels=-(-sum(labels for _, labels in longest) // count),
        patches=max(sum(map(encoder.vision.patches, one.grids)) for one in samples),
    )


def _telling(rows: Sequence[Conversation] | TokenizedRows, branches: int, keys: Sequence[int | None]) -> list[int]:
    """Return the indices of a row of each scene, most images first, and of the rows with the longest texts.

    Texts of rows that share nothing (by their ``keys``), and of others, are looked at apart.
    """
    if isinstance(rows, TokenizedRows):
        images, lengths = rows.images(), rows.own_lengths().tolist()
    else:
        images = [row.images for row in rows]
        lengths = [sum(len(turn.text) for turn in row.turns) + len(row.rejected or "") for row in rows]
    scenes: dict[tuple[str, ...], int] = {}
    for index, paths in enumerate(images):
        scenes.setdefault(paths, index)
    by_images = sorted(scenes.values(), key=lambda index: -len(images[index]))[:SCENES]
    by_text = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    apart = [[index for index in by_text if (keys[index] is None) == alone][:branches] for alone in (False, True)]
    return list(dict.fromkeys([*by_images, *apart[0], *apart[1]]))
