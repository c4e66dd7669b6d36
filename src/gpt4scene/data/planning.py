"""Packs: rows of one scene that share their image prefix. Forming them, and planning them for every epoch."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from gpt4scene.data.encoding import Encoder, SpecialTokens
from gpt4scene.data.vision import VisionSpec
from gpt4scene.files.tokenized import TokenizedRows
from gpt4scene.types import IGNORED, Branch, Conversation, EncodedSample, Pack


def make_pack(samples: Sequence[EncodedSample], weight: float = 1.0) -> Pack:
    """Return one pack of all ``samples``, which must have equal prefixes.

    A sample without a prefix makes a pack of its own. The first label of every branch is ignored: its prediction
    would hang on the prefix's last token, which all branches share. Raises ValueError for samples that don't belong
    together.
    """
    first = samples[0]
    prefix_P = first.ids_L[: first.cut]
    for sample in samples[1:]:
        same = sample.cut == first.cut and sample.images == first.images
        if not (first.cut and same and np.array_equal(sample.ids_L[: sample.cut], prefix_P)):
            raise ValueError(f"rows of different scenes can't share a pack: {first.origin} and {sample.origin}")
    branches = []
    for sample in samples:
        labels = sample.labels_L[sample.cut :].copy()
        labels[:1] = IGNORED
        branches.append(Branch(sample.ids_L[sample.cut :], labels, sample.origin, weight))
    return Pack(prefix_P, first.images, first.grids, tuple(branches))


def with_dummy_image(pack: Pack | None, spec: VisionSpec, special: SpecialTokens) -> Pack:
    """Return the pack with one more branch of weight 0 that holds a smallest, blank image.

    Where parameters are sharded over processes (ZeRO-3, FSDP), every rank must run the vision tower in every step, or
    the others wait for it forever. Without a pack, the result is a filling pack: it runs and changes nothing. Its
    image is a grid without a path.
    """
    image = [special.image_start, special.image_pad, special.image_end]
    ids = np.array([*image, special.message_end], dtype=np.int64)
    labels = np.array([IGNORED] * len(image) + [special.message_end], dtype=np.int64)
    dummy = Branch(ids, labels, None, 0.0)
    grid = (1, spec.merge_size, spec.merge_size)
    if pack is None:
        return Pack(np.empty(0, dtype=np.int64), (), (grid,), (dummy,))
    return replace(pack, grids=(*pack.grids, grid), branches=(*pack.branches, dummy))


def packs_per_step(branches: int, per_device_train_batch_size: int, gradient_accumulation_steps: int) -> int:
    """Return the number of packs that one rank takes in an optimizer step: the Trainer's own accumulation.

    Raises ValueError when ``branches`` does not divide the questions of a step.
    """
    questions = per_device_train_batch_size * gradient_accumulation_steps
    if branches < 1 or questions % branches:
        raise ValueError(
            f"scene_packing {branches} must divide the {questions} questions that a process takes in a step "
            f"(per_device_train_batch_size {per_device_train_batch_size} x gradient_accumulation_steps "
            f"{gradient_accumulation_steps}); change one of them"
        )
    return questions // branches


def scene_keys(rows: Iterable[Conversation] | TokenizedRows, encoder: Encoder) -> list[int | None]:
    """Return a number for every row, equal where rows share a prefix; None where a row can share none."""
    if isinstance(rows, TokenizedRows):
        return rows.scene_keys()
    numbers: dict[Hashable, int] = {}
    keys = (encoder.prefix_key(row) for row in rows)
    return [None if key is None else numbers.setdefault(key, len(numbers)) for key in keys]


def plan_packs(
    keys: Sequence[Hashable | None], branches: int, seed: int, epoch: int, ranks: int
) -> list[list[list[int]]]:
    """Return, for every rank, the packs of an epoch as lists of row indices; an empty list is a filling pack.

    Rows of one key meet anew in every epoch, at most ``branches`` together and as evenly as their number allows;
    packs of all scenes are shuffled together. Pack i goes to rank i modulo ``ranks``, so that a step of all ranks
    takes the same rows however many ranks there are. All ranks get equally many packs. Deterministic in its arguments.
    """
    random = np.random.default_rng([seed, epoch])
    groups: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(("alone", row) if key is None else ("scene", key), []).append(row)
    packs: list[list[int]] = []
    for rows in groups.values():
        mixed = random.permutation(rows)
        packs += [part.tolist() for part in np.array_split(mixed, -(-len(mixed) // branches))]
    shuffled = [packs[index] for index in random.permutation(len(packs))]
    shuffled += [[] for _ in range(-len(shuffled) % ranks)]
    return [shuffled[rank::ranks] for rank in range(ranks)]


class PackPlan:
    """The packs of every epoch for a set of rows: ``plan_packs`` with its arguments bound."""

    def __init__(self, keys: Sequence[Hashable | None], branches: int, seed: int = 0, ranks: int = 1) -> None:
        self.keys, self.branches, self.seed, self.ranks = tuple(keys), branches, seed, ranks
        self.rows = len(self.keys)
        self.packs_per_rank = len(plan_packs(self.keys, branches, seed, 0, ranks)[0])

    def epoch(self, epoch: int) -> list[list[list[int]]]:
        """Return the packs of one epoch for every rank."""
        return plan_packs(self.keys, self.branches, self.seed, epoch, self.ranks)


class PackSampler:
    """Yields the packs of an epoch as tuples of row indices, the keys that ``PackDataset`` takes.

    With a ``rank``, the packs of that rank; without, all packs with the ranks taking turns, which is the order that
    accelerate deals out one by one. To resume inside an epoch, name it and the packs it has already given:
    ``resume=(epoch, packs)``; they are left out without being read.
    """

    def __init__(self, plan: PackPlan, rank: int | None = None, resume: tuple[int, int] = (0, 0)) -> None:
        self.plan, self.rank, self.resume = plan, rank, resume
        self._epoch = resume[0]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration runs through."""
        self._epoch = epoch

    @property
    def _given(self) -> int:
        return self.resume[1] if self._epoch == self.resume[0] else 0

    def __len__(self) -> int:
        ranks = self.plan.ranks if self.rank is None else 1
        return self.plan.packs_per_rank * ranks - self._given

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        shares = self.plan.epoch(self._epoch)
        dealt = [shares[self.rank]] if self.rank is not None else shares
        packs = [pack for turn in zip(*dealt, strict=True) for pack in turn]
        yield from (tuple(pack) for pack in packs[self._given :])
