"""Rows of one scene become a pack, which shares their image prefix, and the pack becomes a batch of tensors."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from os.path import commonprefix

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.groups import Groups, group_rows
from gpt4scene.data.image_files import image_pixels
from gpt4scene.data.image_rule import ImageRule
from gpt4scene.data.layout import pack_layout
from gpt4scene.data.positions import pack_positions
from gpt4scene.errors import DataError
from gpt4scene.files.contents import Contents
from gpt4scene.files.tokenized import TokenizedRows
from gpt4scene.types import IGNORED, Batch, Branch, Conversation, EncodedSample, Images, Pack

MOST_DECODERS = 4
"""Images that one process decodes at a time, at most."""


class WithoutPixels(tuple[int, ...]):
    """A key of ``PackDataset`` whose images need not be decoded: all features of theirs are known."""


class PackDataset(Dataset[Batch]):
    """Batches by key: a tuple of row indices (see ``StepSampler``) gives the batch of their pack.

    Rows are conversations, encoded when asked for, or rows of a ``tokenized_path`` folder. An empty tuple gives the
    filling pack. Stateless, so worker processes need no word about epochs. Use it with
    ``DataLoader(dataset, sampler=PackSampler(...), batch_size=1, collate_fn=only)``.

    Args:
        rows: in the order that indices count.
        encoder: of the run.
        dummy_image: give a pack without images a blank one in a branch of weight 0 (see ``with_dummy_image``).

    ``contents``, where set, says in each batch what its image files held.
    """

    contents: Contents | None = None

    def __init__(
        self, rows: Sequence[Conversation] | TokenizedRows, encoder: Encoder, *, dummy_image: bool = False
    ) -> None:
        self.rows, self.encoder, self.dummy_image = rows, encoder, dummy_image

    @cached_property
    def groups(self) -> Groups:
        """Which rows may share a pack."""
        return group_rows(self.rows, self.encoder)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: tuple[int, ...]) -> Batch:
        return collate(self.pack(indices), self.encoder, self.contents, pixels=not isinstance(indices, WithoutPixels))

    def images(self, indices: Sequence[int]) -> list[str]:
        """Return the paths of all images of these rows, each once."""
        return list(dict.fromkeys(path for index in indices for path in self.rows[index].images))

    def pack(self, indices: Sequence[int]) -> Pack:
        """Return the pack of these rows; the filling pack where there are none.

        Raises DataError for a row without any label.
        """
        if not indices:
            return with_dummy_image(None, self.encoder)
        rows = [self.rows[index] for index in indices]
        samples = [row if isinstance(row, EncodedSample) else self.encoder.encode(row) for row in rows]
        pack = make_pack([answer for sample in samples for answer in sample.answers], self.encoder)
        for branch in pack.branches:
            if not (branch.labels_L != IGNORED).any():
                raise DataError(f"{branch.origin}: has no token to learn, so its loss would be that of nothing")
        return with_dummy_image(pack, self.encoder) if self.dummy_image and not pack.grids else pack


def only(batches: Sequence[Batch]) -> Batch:
    """Return the single batch of a list: the ``collate_fn`` for a batch size of one pack."""
    (batch,) = batches
    return batch


def make_pack(samples: Sequence[EncodedSample], encoder: Encoder | None = None) -> Pack:
    """Return one pack of all ``samples``: rows that begin with the same images, and rows of text alone.

    The prefix ends behind the last image that all rows share; a row's further images are part of its branch. Rows of
    text come last and do not see the prefix. A single row that can share nothing makes a pack without a prefix. Samples
    with images keep their order, and so do those of text, so that two answers to a question stay together. The first
    label of every branch is ignored: its prediction would hang on the prefix's last token, which all branches share.
    ``encoder`` says where images end; without it, they end with the last token of their rows' prefix. Raises ValueError
    for samples that don't belong together.
    """
    with_images = [sample for sample in samples if sample.images]
    texts = [sample for sample in samples if not sample.images]
    cut, shared = _shared(with_images, encoder) if with_images else (0, 0)
    first = samples[0] if not with_images else with_images[0]
    return Pack(
        first.ids_L[:cut],
        first.images[:shared] + tuple(path for sample in with_images for path in sample.images[shared:]),
        first.grids[:shared] + tuple(grid for sample in with_images for grid in sample.grids[shared:]),
        tuple([_branch(sample, cut, shared) for sample in with_images] + [_branch(text, 0, 0) for text in texts]),
        apart=len(texts) if cut else 0,
    )


def _shared(samples: Sequence[EncodedSample], encoder: Encoder | None) -> tuple[int, int]:
    """Return the tokens and the images that rows with images share; 0 where a single row can share nothing."""
    first = sample = samples[0]
    images, ids = first.images if first.cut else (), first.ids_L[: first.cut]
    for sample in samples[1:]:
        if sample.images != images:
            images = tuple(commonprefix([images, sample.images]))
        ids = ids[: min(len(ids), sample.cut)]
        differing = np.flatnonzero(ids != sample.ids_L[: len(ids)])
        ids = ids[: differing[0]] if len(differing) else ids
        if not (images and len(ids)):
            break
    else:
        if len(samples) == 1 or (len(ids) == first.cut and len(images) == len(first.images)):
            return len(ids), len(images)
        if encoder is None:
            ends = np.flatnonzero(ids == first.ids_L[first.cut - 1]) + 1  # behind the token that ends an image
        else:
            ends = encoder.image_ends(first.ids_L[: first.cut], first.grids)
        if shared := min(len(images), int(np.searchsorted(ends, len(ids), side="right"))):
            return int(ends[shared - 1]), shared
    raise ValueError(f"rows of different scenes can't share a pack: {first.origin} and {sample.origin}")


def _branch(sample: EncodedSample, cut: int, shared: int) -> Branch:
    """Return what lies behind ``cut``, which ``shared`` images stand before."""
    labels = sample.labels_L[cut:].copy()
    labels[:1] = IGNORED
    return Branch(sample.ids_L[cut:], labels, sample.origin, images=len(sample.images) - shared)


def with_dummy_image(pack: Pack | None, encoder: Encoder) -> Pack:
    """Return the pack with one more branch of weight 0 that holds a smallest, blank image.

    Where parameters are sharded over processes (ZeRO-3, FSDP), every rank must run the vision tower in every step, or
    the others wait for it forever. Without a pack, the result is a filling pack: it runs and changes nothing. Its
    image is a grid without a path.
    """
    special, blank = encoder.special, encoder.vision.blank
    image = special.image(encoder.vision.tokens(blank))
    ids = np.array([*image, special.message_end], dtype=np.int64)
    labels = np.array([IGNORED] * len(image) + [special.message_end], dtype=np.int64)
    dummy = Branch(ids, labels, None, 0.0)
    if pack is None:
        return Pack(np.empty(0, dtype=np.int64), (), (blank,), (dummy,))
    return replace(pack, grids=(*pack.grids, blank), branches=(*pack.branches, dummy))


def collate(pack: Pack, encoder: Encoder, contents: Contents | None = None, *, pixels: bool = True) -> Batch:
    """Return the batch of one pack; its images are decoded here, once for all branches, but not without ``pixels``.

    With ``contents`` the batch says what the decoded files held. Raises DataError for an image that can't be decoded or
    is no longer the one that was encoded.
    """
    patches, held = torch.empty((0, encoder.vision.patch_length), dtype=torch.uint8), ()
    if pixels:
        before = [contents.content(path) for path in pack.images] if contents is not None else []
        patches = torch.from_numpy(pack_pixels(pack, encoder.vision, decoders()))
        after = [contents.content(path) for path in pack.images] if contents is not None else []
        held = tuple(now if now.digest == old.digest else None for old, now in zip(before, after, strict=True))
    parts = [pack.prefix_P, *(branch.ids_L for branch in pack.branches)]
    lengths = [len(part) for part in parts]
    owners = np.repeat(np.arange(-1, len(pack.branches)), lengths)
    labels = [np.full(len(pack.prefix_P), IGNORED), *(branch.labels_L for branch in pack.branches)]
    labels_L = np.concatenate(labels)
    learned = np.flatnonzero(labels_L != IGNORED)
    positions_RL = pack_positions(pack, encoder.special.image_pad, encoder.vision)
    return Batch(
        input_ids=torch.from_numpy(np.concatenate(parts).astype(np.int64))[None],
        position_ids=position_ids(positions_RL),
        pixel_values=patches,
        images=Images(pack.grids, pack.images, held),
        layout=pack_layout(lengths[0], lengths[1:], pack.apart),
        label_positions=torch.from_numpy(learned - 1),
        label_ids=torch.from_numpy(labels_L[learned].astype(np.int64)),
        label_owners=torch.from_numpy(owners[learned]),
        weights=torch.tensor([branch.weight for branch in pack.branches], dtype=torch.float32),
        origins=tuple(branch.origin for branch in pack.branches),
    )


def position_ids(positions_RL: np.ndarray) -> torch.Tensor:
    """Return positions as models take them: ``[3, 1, L]``, or ``[1, L]`` where a token has one number."""
    positions = torch.from_numpy(positions_RL)
    return positions[:, None] if len(positions) > 1 else positions


def pack_pixels(pack: Pack, rule: ImageRule, threads: int = 1) -> np.ndarray:
    """Return the uint8 patches ``[P, rule.patch_length]`` of all images of a pack; a grid without a path is blank.

    ``threads`` images are decoded at a time. Raises DataError as ``image_pixels`` does.
    """
    own = [branch.origin for branch in pack.branches for _ in range(branch.images)]
    origins = [pack.branches[0].origin] * (len(pack.images) - len(own)) + own
    return image_pixels(pack.images, pack.grids, rule, origins, threads)


def decoders() -> int:
    """Return how many images a process should decode at a time: 1 to 4, its share of the machine's cores."""
    info = get_worker_info()
    workers = max(1, info.num_workers if info is not None else 1)
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) * workers
    return min(MOST_DECODERS, max(1, cores // processes))
