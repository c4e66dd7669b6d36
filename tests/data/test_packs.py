from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from gpt4scene.data.packs import PackDataset, collate, make_pack, only, with_dummy_image
from gpt4scene.data.planning import PackSampler, plan_packs, scene_keys
from gpt4scene.data.vision import patches
from gpt4scene.errors import DataError
from gpt4scene.types import IGNORED


def batch_of(encoder, rows):
    pack = make_pack([encoder.encode(row) for row in rows])
    return pack, collate(pack, encoder)


@pytest.fixture
def rows(make_row, images):
    return [make_row(images, f"Question {i}?", "Yes, it is. " * (i + 1), i) for i in range(3)]


def test_shapes_and_kinds(encoder, rows):
    pack, batch = batch_of(encoder, rows)
    length, count = pack.length, sum(np.prod(grid) for grid in pack.grids)
    tensors = {key: value for key, value in vars(batch).items() if key not in ("images", "layout", "origins")}
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    learned = sum((branch.labels_L != IGNORED).sum() for branch in pack.branches)
    assert shapes == {
        "input_ids": (1, length),
        "position_ids": (3, 1, length),
        "pixel_values": (count, 1176),
        "image_grid_thw": (3, 3),
        "label_positions": (learned,),
        "label_ids": (learned,),
        "label_owners": (learned,),
        "weights": (3,),
    }
    assert batch.pixel_values.dtype == torch.uint8 and batch.weights.dtype == torch.float32
    assert batch.layout.prefix_length == len(pack.prefix_P)
    assert batch.layout.lengths == tuple(len(branch.ids_L) for branch in pack.branches)
    assert batch.origins == tuple(branch.origin for branch in pack.branches)
    whole = tensors.keys() - {"pixel_values", "weights"}
    assert {tensors[key].dtype for key in whole} == {torch.int64}


def test_a_batch_moves_whole(encoder, rows):
    _, batch = batch_of(encoder, rows)
    moved = batch.to("meta")
    assert moved.layout.lengths == batch.layout.lengths and len(batch.layout.places)
    tensors = {key: value for key, value in vars(moved).items() if key not in ("images", "layout", "origins")}
    assert {value.device.type for value in (*tensors.values(), moved.layout.places)} == {"meta"}
    assert batch.input_ids.device.type == "cpu"


def test_every_label_is_the_token_after_its_position_in_its_own_branch(encoder, rows):
    _, batch = batch_of(encoder, rows)
    ids, prefix = batch.input_ids[0], batch.layout.prefix_length
    owners = torch.repeat_interleave(torch.arange(-1, 3), torch.tensor([prefix, *batch.layout.lengths]))
    after = batch.label_positions + 1
    assert torch.equal(ids[after], batch.label_ids)
    assert torch.equal(owners[after], batch.label_owners)
    assert torch.equal(owners[after], owners[batch.label_positions])
    assert batch.label_positions.min() >= prefix


def test_pixels_are_those_of_the_images_in_order(encoder, rows, images):
    _, batch = batch_of(encoder, rows)
    expected = np.concatenate([patches(path, encoder.vision) for path in images])
    assert np.array_equal(batch.pixel_values.numpy(), expected)


def test_a_pack_without_images_may_get_a_blank_one(encoder, make_row):
    row = make_row((), "Hello?", "Hi.")
    _, plain = batch_of(encoder, [row])
    assert plain.pixel_values.shape == (0, 1176) and plain.image_grid_thw.shape == (0, 3)
    batch = PackDataset([row], encoder, dummy_image=True)[(0,)]
    assert batch.pixel_values.shape == (4, 1176) and batch.pixel_values.sum() == 0
    assert batch.weights.tolist() == [1.0, 0.0]
    length = plain.input_ids.shape[1]
    assert torch.equal(batch.input_ids[:, :length], plain.input_ids)
    assert torch.equal(batch.position_ids[:, :, :length], plain.position_ids)
    assert set(batch.label_owners.tolist()) == {0, 1}


def test_a_pack_with_images_gets_no_blank_one(encoder, rows):
    batch = PackDataset(rows, encoder, dummy_image=True)[(0, 1, 2)]
    assert batch.weights.tolist() == [1.0] * 3


def test_a_changed_image_is_named(encoder, rows, images):
    pack = make_pack([encoder.encode(row) for row in rows])
    Path(images[0]).write_bytes(Path(images[2]).read_bytes())
    with pytest.raises(DataError, match=r"p0\.png .needed by demo\.json, row 0.*the file changed"):
        collate(pack, encoder)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_the_packs_of_each_epoch(encoder, make_row, images, workers):
    rows = [make_row(images[: 1 + i % 2], f"Question {i}?", "Yes.", i) for i in range(9)]
    keys = scene_keys(rows, encoder)
    dataset = PackDataset(rows, encoder)
    sampler = PackSampler(keys, 2, seed=1, ranks=2)
    loader = DataLoader(dataset, 1, sampler=sampler, collate_fn=only, num_workers=workers)
    for epoch in range(2):
        sampler.set_epoch(epoch)
        packs = [dataset.pack(indices) for indices in plan_packs(keys, 2, 1, epoch, 2)[0]]
        batches = list(loader)
        assert len(batches) == len(loader) == len(packs)
        for pack, batch in zip(packs, batches, strict=True):
            expected = np.concatenate([pack.prefix_P, *(branch.ids_L for branch in pack.branches)])
            assert batch.input_ids[0].tolist() == expected.tolist()


def test_no_rows_is_the_filling_pack(encoder, rows):
    batch = PackDataset(rows, encoder)[()]
    assert batch.weights.tolist() == [0.0] and batch.pixel_values.shape == (4, 1176)
    assert batch.label_owners.tolist() == [0]


def test_a_truncated_image_in_a_worker_is_named(encoder, make_row, images):
    rows = [make_row(images, "A?", "Yes.", 8)]
    dataset = PackDataset(rows, encoder)
    content = Path(images[1]).read_bytes()
    Path(images[1]).write_bytes(content[: len(content) // 2])
    loader = DataLoader(dataset, 1, sampler=[(0,)], collate_fn=only, num_workers=1)
    with pytest.raises(DataError, match=r"p1\.png .needed by demo\.json, row 8.*can't be decoded"):
        list(loader)


def test_a_pack_holds_the_prefix_once(encoder, make_row, images):
    samples = [encoder.encode(make_row(images, f"Question {i}?", "Yes.", i)) for i in range(3)]
    pack = make_pack(samples)
    assert len(pack.branches) == 3 and pack.images == images and pack.grids == samples[0].grids
    assert pack.length == samples[0].cut + sum(len(sample.ids_L) - sample.cut for sample in samples)
    for sample, branch in zip(samples, pack.branches, strict=True):
        assert np.concatenate([pack.prefix_P, branch.ids_L]).tolist() == sample.ids_L.tolist()
        assert branch.labels_L.tolist() == sample.labels_L[sample.cut :].tolist() and branch.weight == 1.0


def test_the_first_label_of_a_branch_is_ignored(encoder, make_row, images):
    sample = encoder.encode(make_row(images, "A?", "Yes."))
    labels = sample.labels_L.copy()
    labels[sample.cut] = 5
    changed = type(sample)(sample.ids_L, labels, sample.cut, sample.images, sample.grids, sample.origin)
    assert make_pack([changed]).branches[0].labels_L[0] == IGNORED
    assert labels[sample.cut] == 5


def test_rows_of_different_scenes_are_refused(encoder, make_row, images):
    one, two = make_row(images, "A?", "Yes."), make_row(images[::-1], "A?", "Yes.", 1)
    with pytest.raises(ValueError, match="row 0.*row 1"):
        make_pack([encoder.encode(one), encoder.encode(two)])
    alone = encoder.encode(make_row((), "A?", "Yes."))
    assert len(make_pack([alone]).prefix_P) == 0
    with pytest.raises(ValueError, match="can't share a pack"):
        make_pack([alone, alone])


def test_a_filling_pack_weighs_nothing(encoder):
    pack = with_dummy_image(None, encoder)
    assert [branch.weight for branch in pack.branches] == [0.0] and pack.images == () and pack.grids == ((1, 2, 2),)
    assert (pack.branches[0].labels_L != IGNORED).sum() == 1


def test_a_row_without_anything_to_learn_is_named(encoder, rows):
    from dataclasses import replace

    sample = encoder.encode(rows[1])
    bare = replace(sample, labels_L=np.full_like(sample.labels_L, IGNORED))
    with pytest.raises(DataError, match=r"demo\.json, row 1 .*has no token to learn"):
        PackDataset([sample, bare], encoder).pack([0, 1])
