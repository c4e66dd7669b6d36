"""Packs become batches of tensors. One batch is one row is one pack."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from gpt4scene.data.encoding import Encoder, SpecialTokens
from gpt4scene.data.planning import make_pack, with_dummy_image
from gpt4scene.data.positions import pack_positions
from gpt4scene.data.vision import VisionSpec, patches
from gpt4scene.errors import DataError
from gpt4scene.files.tokenized import TokenizedRows
from gpt4scene.types import IGNORED, Conversation, EncodedSample, Pack


def collate(
    pack: Pack,
    spec: VisionSpec,
    image_resolution: int | None,
    special: SpecialTokens,
    *,
    dummy_image: bool = False,
    pixels: bool = True,
) -> dict:
    """Return the batch of one pack; its images are decoded here, once for all branches.

    Keys: ``input_ids[1, L]``, ``position_ids[3, 1, L]``, ``pixel_values`` uint8 ``[P, 3*T*p*p]``,
    ``image_grid_thw[N, 3]``, ``owners[L]`` (-1 prefix, k branch), ``prefix_length`` (int), ``label_positions[M]`` (the
    position whose logits predict the label), ``label_ids[M]``, ``label_rows[M]`` (branch), ``row_weights[K]`` fp32. All
    integers int64. Without images, ``pixel_values`` and ``image_grid_thw`` have no rows.

    Args:
        pack: what to collate.
        spec: of the checkpoint.
        image_resolution: as the pack was encoded with.
        special: token ids, ``encoder.special``.
        dummy_image: give a pack without images a blank one in a branch of weight 0 (see ``with_dummy_image``).
        pixels: False leaves ``pixel_values`` out, where the prefix's images are already known.

    Raises DataError for an image that can't be decoded or is no longer the one that was encoded.
    """
    if dummy_image and not pack.grids:
        pack = with_dummy_image(pack, spec, special)
    parts = [pack.prefix_P, *(branch.ids_L for branch in pack.branches)]
    owners = np.repeat(np.arange(-1, len(pack.branches)), [len(part) for part in parts])
    labels = [np.full(len(pack.prefix_P), IGNORED), *(branch.labels_L for branch in pack.branches)]
    labels_L = np.concatenate(labels)
    learned = np.flatnonzero(labels_L != IGNORED)
    batch = {
        "input_ids": torch.from_numpy(np.concatenate(parts).astype(np.int64))[None],
        "position_ids": torch.from_numpy(pack_positions(pack, special.image_pad, spec.merge_size))[:, None],
        "image_grid_thw": torch.tensor(pack.grids, dtype=torch.int64).reshape(-1, 3),
        "owners": torch.from_numpy(owners),
        "prefix_length": len(pack.prefix_P),
        "label_positions": torch.from_numpy(learned - 1),
        "label_ids": torch.from_numpy(labels_L[learned].astype(np.int64)),
        "label_rows": torch.from_numpy(owners[learned]),
        "row_weights": torch.tensor([branch.weight for branch in pack.branches], dtype=torch.float32),
    }
    if pixels:
        batch["pixel_values"] = torch.from_numpy(pack_pixels(pack, spec, image_resolution))
    return batch


def pack_pixels(pack: Pack, spec: VisionSpec, image_resolution: int | None) -> np.ndarray:
    """Return the uint8 patches ``[P, 3*T*p*p]`` of all images of a pack; a grid without a path is blank."""
    origin = pack.branches[0].origin
    parts = [np.empty((0, spec.patch_length), dtype=np.uint8)]
    for index, grid in enumerate(pack.grids):
        wanted = int(np.prod(grid))
        if index >= len(pack.images):
            parts.append(np.zeros((wanted, spec.patch_length), dtype=np.uint8))
            continue
        part = patches(pack.images[index], spec, image_resolution, origin)
        if len(part) != wanted:
            raise DataError(
                f"image {pack.images[index]} (needed by {origin}) has {len(part)} patches, but {wanted} when its row "
                "was encoded: the file changed; start again so that rows and images agree"
            )
        parts.append(part)
    return np.concatenate(parts)


class PackDataset(Dataset):
    """Batches by key: a tuple of row indices (see ``PackSampler``) gives the batch of their pack.

    Rows are conversations, encoded when asked for, or rows of a ``tokenized_path`` folder. An empty tuple gives the
    filling pack. Stateless, so worker processes need no word about epochs. Use it with
    ``DataLoader(dataset, sampler=PackSampler(...), batch_size=1, collate_fn=only)``.
    """

    def __init__(
        self, rows: Sequence[Conversation] | TokenizedRows, encoder: Encoder, *, dummy_image: bool = False
    ) -> None:
        self.rows, self.encoder, self.dummy_image = rows, encoder, dummy_image

    def __len__(self) -> int:
        return len(self.rows)

    def pack(self, indices: Sequence[int]) -> Pack:
        """Return the pack of these rows; the filling pack where there are none."""
        if not indices:
            return with_dummy_image(None, self.encoder.spec, self.encoder.special)
        return make_pack([self._sample(self.rows[index]) for index in indices])

    def _sample(self, row: Conversation | EncodedSample) -> EncodedSample:
        return row if isinstance(row, EncodedSample) else self.encoder.encode(row)

    def __getitem__(self, indices: tuple[int, ...]) -> dict:
        encoder = self.encoder
        pack = self.pack(indices)
        return collate(pack, encoder.spec, encoder.image_resolution, encoder.special, dummy_image=self.dummy_image)


def only(batches: Sequence[dict]) -> dict:
    """Return the single batch of a list: the ``collate_fn`` for a batch size of one pack."""
    (batch,) = batches
    return batch
