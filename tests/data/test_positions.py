from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from gpt4scene.data.packs import make_pack
from gpt4scene.data.positions import grid_positions, pack_positions
from gpt4scene.data.vision import VisionRule
from gpt4scene.types import Branch, Pack

PAD = 7


@pytest.fixture(scope="module")
def rope_index():
    """Hugging Face's own positions of one row of tokens."""
    text = {"vocab_size": 16, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "num_key_value_heads": 2}
    vision = {"depth": 1, "embed_dim": 16, "num_heads": 2, "hidden_size": 32}
    with torch.device("meta"):
        model = Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=text, vision_config=vision))

    def positions(ids, grids, pad=PAD):
        ids = torch.as_tensor(ids)[None]
        grid_thw = torch.tensor(grids).reshape(-1, 3) if len(grids) else None
        return model.model.get_rope_index(ids, (ids == pad).int(), grid_thw)[0][:, 0].numpy()

    return positions


def row(pieces):
    """Tokens and grids of a row given as text lengths (int) and images (rows, columns in merged patches)."""
    ids, grids = [], []
    for piece in pieces:
        if isinstance(piece, int):
            ids += [1] * piece
        else:
            grids.append((1, piece[0] * 2, piece[1] * 2))
            ids += [2] + [PAD] * (piece[0] * piece[1]) + [3]
    return np.array(ids, dtype=np.int64), tuple(grids)


pieces = st.lists(st.integers(1, 5) | st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=8)


@given(pieces)
@settings(max_examples=60)
def test_positions_equal_get_rope_index(rope_index, parts):
    ids, grids = row(parts)
    assert np.array_equal(grid_positions(ids, grids, PAD, 2), rope_index(ids, grids))


def test_every_branch_has_the_positions_of_its_own_sample(rope_index, encoder, make_row, images):
    rows = [make_row(images, f"Question {'x' * i}?", "Answer." * (i + 1), i) for i in range(3)]
    samples = [encoder.encode(row) for row in rows]
    pack = make_pack(samples)
    positions, at = pack_positions(pack, encoder.special.image_pad, encoder.vision), len(pack.prefix_P)
    for sample, branch in zip(samples, pack.branches, strict=True):
        alone = rope_index(sample.ids_L, sample.grids, encoder.special.image_pad)
        assert np.array_equal(positions[:, : sample.cut], alone[:, : sample.cut])
        assert np.array_equal(positions[:, at : at + len(branch.ids_L)], alone[:, sample.cut :])
        at += len(branch.ids_L)
    assert positions.shape == (3, pack.length) and positions.dtype == np.int64


def test_images_in_a_branch_are_counted_in_the_order_of_the_row(rope_index):
    ids, grids = row([3, (2, 3), 2])
    later, later_grids = row([1, (4, 1), 2])
    ignored = np.full(len(later), -100)
    pack = Pack(ids, ("a", "b"), (*grids, *later_grids), (Branch(later, ignored),))
    whole = rope_index(np.concatenate([ids, later]), (*grids, *later_grids))
    assert np.array_equal(pack_positions(pack, PAD, VisionRule()), whole)
    with pytest.raises(ValueError, match="1 of 3 image grids have no tokens"):
        pack_positions(replace(pack, grids=(*pack.grids, (1, 2, 2))), PAD, VisionRule())


def test_disagreement_is_refused():
    ids, grids = row([2, (2, 2), 2])
    with pytest.raises(ValueError, match="4 image tokens, but the grids of 0 images make 0"):
        grid_positions(ids, (), PAD, 2)
    ids[5], ids[7] = 1, PAD
    with pytest.raises(ValueError, match="not in one piece"):
        grid_positions(ids, grids, PAD, 2)
