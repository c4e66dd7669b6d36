from pathlib import Path

import numpy as np
import pytest
import torch
from scene_rows import write_image
from torch.utils.data import DataLoader

from gpt4scene.data.groups import group_rows
from gpt4scene.data.image_files import patches
from gpt4scene.data.packs import PackDataset, collate, decoders, make_pack, only, pack_pixels, with_dummy_image
from gpt4scene.data.planning import plan_packs
from gpt4scene.data.positions import grid_positions, pack_positions
from gpt4scene.data.sampling import PackSampler
from gpt4scene.errors import DataError
from gpt4scene.types import IGNORED, Conversation, Origin, Turn


def batch_of(encoder, rows):
    pack = make_pack([encoder.encode(row) for row in rows])
    return pack, collate(pack, encoder)


@pytest.fixture
def rows(make_row, images):
    return [make_row(images, f"Question {i}?", "Yes, it is. " * (i + 1), i) for i in range(3)]


@pytest.fixture
def own(tmp_path):
    """Images that only one row has."""
    return [write_image(tmp_path / f"own{i}.png", (60, 60), 10 + i) for i in range(2)]


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


def test_several_threads_decode_the_same_pixels(encoder, rows, images):
    pack = make_pack([encoder.encode(row) for row in rows])
    assert np.array_equal(pack_pixels(pack, encoder.vision, 3), pack_pixels(pack, encoder.vision))
    Path(images[1]).write_bytes(Path(images[0]).read_bytes())
    with pytest.raises(DataError, match=r"p1\.png .*the file changed"):
        pack_pixels(pack, encoder.vision, 3)


@pytest.mark.parametrize(("cores", "processes", "expected"), [(1, "1", 1), (2, "1", 2), (64, "1", 4), (64, "32", 2)])
def test_images_are_decoded_by_a_process_s_share_of_the_cores(monkeypatch, cores, processes, expected):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert decoders() == expected


def test_a_pack_without_images_may_get_a_blank_one(encoder, make_row):
    row = make_row((), "Hello?", "Hi.")
    _, plain = batch_of(encoder, [row])
    assert plain.pixel_values.shape == (0, 1176) and plain.images.grids == ()
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


@pytest.mark.parametrize("turned", [False, True])
def test_a_changed_image_is_named(encoder, make_row, tmp_path, images, turned):
    """Also one that has as many patches as before, in other rows and columns."""
    path = write_image(tmp_path / "p.png", (112, 56), 3)
    pack = make_pack([encoder.encode(make_row((path,), "What?", "That."))])
    if turned:
        write_image(Path(path), (56, 112), 3)
    else:
        Path(path).write_bytes(Path(images[2]).read_bytes())
    with pytest.raises(DataError, match=r"p\.png .needed by demo\.json, row 0.*the file changed"):
        collate(pack, encoder)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_the_packs_of_each_epoch(encoder, make_row, images, workers):
    rows = [make_row(images[: 1 + i % 2], f"Question {i}?", "Yes.", i) for i in range(9)]
    groups = group_rows(rows, encoder)
    dataset = PackDataset(rows, encoder)
    sampler = PackSampler(groups, 2, seed=1, ranks=2)
    loader = DataLoader(dataset, 1, sampler=sampler, collate_fn=only, num_workers=workers)
    for epoch in range(2):
        sampler.set_epoch(epoch)
        packs = [dataset.pack(indices) for indices in plan_packs(groups, 2, 1, epoch, 2)[0]]
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
    batches = iter(DataLoader(dataset, 1, sampler=[(0,)], collate_fn=only, num_workers=1))
    with pytest.raises(DataError, match=r"p1\.png .needed by demo\.json, row 8.*can't be decoded"):
        next(batches)
    batches._shutdown_workers()  # the error holds them: the garbage collector would wait for five seconds


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


def test_a_row_that_can_share_nothing_is_a_pack_without_a_prefix(encoder, images, make_row):
    turns = (Turn("user", "<image>A?"), Turn("assistant", "Yes."), Turn("user", "<image>B?"), Turn("assistant", "No."))
    talk = encoder.encode(Conversation(turns, images[:2], Origin("d", "f", 3)))
    pack = make_pack([talk])
    assert len(pack.prefix_P) == 0 and pack.images == images[:2] and pack.branches[0].images == 2
    with pytest.raises(ValueError, match="can't share a pack"):
        make_pack([talk, talk])
    with pytest.raises(ValueError, match="can't share a pack"):
        make_pack([encoder.encode(make_row(images, "A?", "Yes.")), talk])


def test_rows_with_images_of_their_own_share_what_is_common(encoder, make_row, images, own):
    shown = (images, (*images, own[0]), (*images, own[1]), (*images, own[0], own[1]))
    samples = [encoder.encode(make_row(paths, f"Question {i}?", "Yes.", i)) for i, paths in enumerate(shown)]
    for chosen, shared in (((1, 0, 2, 3), 3), ((1, 2), 3), ((3, 1), 4), ((1, 1), 4), ((0, 3), 3)):
        members = [samples[index] for index in chosen]
        pack = make_pack(members)
        assert pack.images == images[:3] + tuple(path for i in chosen for path in shown[i][3:]) or shared == 4
        assert [branch.images for branch in pack.branches] == [len(shown[index]) - shared for index in chosen]
        for sample, branch in zip(members, pack.branches, strict=True):
            assert np.array_equal(np.concatenate([pack.prefix_P, branch.ids_L]), sample.ids_L)
            assert np.array_equal(branch.labels_L, sample.labels_L[len(pack.prefix_P) :])
        positions_3L = pack_positions(pack, encoder.special.image_pad, encoder.vision)
        start = len(pack.prefix_P)
        for sample, branch in zip(members, pack.branches, strict=True):
            alone_3L = grid_positions(sample.ids_L, sample.grids, encoder.special.image_pad, 2)
            assert np.array_equal(positions_3L[:, start : start + len(branch.ids_L)], alone_3L[:, len(pack.prefix_P) :])
            start += len(branch.ids_L)


def test_pixels_of_own_images_lie_in_the_order_of_the_row(encoder, make_row, images, own):
    rows = [make_row((*images, own[1]), "A?", "Yes."), make_row(images, "B?", "Yes.", 1)]
    rows += [make_row((*images, own[0]), "C?", "Yes.", 2), make_row((), "D?", "Yes.", 3)]
    pack, batch = batch_of(encoder, rows)
    expected = [patches(path, encoder.vision) for path in (*images, own[1], own[0])]
    assert np.array_equal(batch.pixel_values.numpy(), np.concatenate(expected)) and pack.apart == 1
    Path(own[0]).write_bytes(Path(images[0]).read_bytes())
    with pytest.raises(DataError, match=r"own0\.png .needed by demo\.json, row 2 "):
        collate(pack, encoder)


def test_other_words_before_an_own_image_end_the_prefix_before_it(encoder, images, own):
    """Images agree further than the words between them."""

    def row(between, index):
        turns = (Turn("user", f"<image><image><image>{between}<image>A?"), Turn("assistant", "Yes."))
        return encoder.encode(Conversation(turns, (*images, own[0]), Origin("d", "f", index)))

    pack = make_pack([row("now ", 0), row("then ", 1)])
    assert [branch.images for branch in pack.branches] == [1, 1] and pack.images == (*images, own[0], own[0])
    assert pack.prefix_P[-1] == encoder.special.image_end


def test_rows_of_text_come_last_and_see_no_prefix(encoder, make_row, images):
    text, scene = encoder.encode(make_row((), "Hello?", "Hi.", 5)), encoder.encode(make_row(images, "A?", "Yes."))
    pack = make_pack([text, scene, text])
    assert pack.apart == 2 and [branch.origin.row for branch in pack.branches] == [0, 5, 5]
    positions_3L = pack_positions(pack, encoder.special.image_pad, encoder.vision)
    assert positions_3L[:, -len(text.ids_L) :].tolist() == [list(range(len(text.ids_L)))] * 3
    both = make_pack([text, text])
    assert (len(both.prefix_P), both.images, both.apart, len(both.branches)) == (0, (), 0, 2)


def test_equal_tokens_of_other_images_are_another_scene(encoder, make_row, tmp_path):
    paths = [write_image(tmp_path / f"{i}.png", (60, 60), i) for i in range(4)]
    one, two = (encoder.encode(make_row((paths[i], paths[i + 1]), "A?", "Yes.", i)) for i in (0, 2))
    assert np.array_equal(one.ids_L, two.ids_L)
    with pytest.raises(ValueError, match="can't share a pack"):
        make_pack([one, two])


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
