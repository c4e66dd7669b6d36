"""Files of features are whole or noticed, and a folder of them stays within its limit and touches nothing else."""

import errno
import hashlib
import os
import shutil
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from gpt4scene.files import features as module
from gpt4scene.files.features import Block, DamagedFeatures, FeatureFolder, from_bytes, to_bytes


def key_of(number):
    return hashlib.md5(str(number).encode()).hexdigest()


def blocks_of(number, count=64):
    values = np.random.default_rng(number).integers(0, 255, count, dtype=np.uint8)
    return {"merged": Block("F32", (count // 8, 2), values), "deepstack_0": Block("BF16", (2, 2), values[:8].copy())}


def same(one, other):
    return one.keys() == other.keys() and all(
        (one[name].dtype, one[name].shape) == (other[name].dtype, other[name].shape)
        and np.array_equal(one[name].data_u8, other[name].data_u8)
        for name in one
    )


@pytest.fixture
def folder(tmp_path):
    return FeatureFolder(tmp_path / "features", 10**6)


def test_what_was_written_is_read(folder):
    assert folder.read(key_of(1)) is None and not folder.has(key_of(1))
    assert folder.write(key_of(1), blocks_of(1))
    assert folder.has(key_of(1)) and same(folder.read(key_of(1)), blocks_of(1))


def test_other_programs_read_the_format():
    values = {"merged": Block("F32", (8, 2), blocks_of(1)["merged"].data_u8)}
    assert np.array_equal(load(to_bytes(key_of(1), values))["merged"].view(np.uint8).ravel(), values["merged"].data_u8)


WHOLE = to_bytes(key_of(1), blocks_of(1))


@settings(max_examples=60)
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_every_changed_byte_is_noticed(place, change):
    damaged = np.frombuffer(WHOLE, dtype=np.uint8).copy()
    damaged[place] ^= change
    try:
        read = from_bytes(key_of(1), damaged)
    except DamagedFeatures:
        return
    assert same(read, blocks_of(1)) and place < 8 + int.from_bytes(
        WHOLE[:8], "little"
    )  # a blank of the header became another


@settings(max_examples=60)
@given(st.integers(0, len(WHOLE) - 1))
def test_every_cut_is_noticed(length):
    with pytest.raises(DamagedFeatures):
        from_bytes(key_of(1), np.frombuffer(WHOLE, dtype=np.uint8)[:length])


@pytest.mark.parametrize("content", [b"", b"x" * 7, b"\0" * 100, b"not safetensors at all, but text of some length"])
def test_a_foreign_file_is_noticed_and_removed(folder, content):
    path = folder.path(key_of(1))
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(DamagedFeatures):
        folder.read(key_of(1))
    assert not path.exists()


def test_features_under_the_name_of_others_are_noticed(folder):
    folder.write(key_of(1), blocks_of(1))
    folder.path(key_of(2)).parent.mkdir(exist_ok=True)
    shutil.copy(folder.path(key_of(1)), folder.path(key_of(2)))
    with pytest.raises(DamagedFeatures, match="something else"):
        folder.read(key_of(2))


def test_the_folder_keeps_its_limit_and_those_used_last(tmp_path):
    size = len(to_bytes(key_of(0), blocks_of(0, 8000)))
    folder = FeatureFolder(tmp_path / "features", 10 * size)
    foreign = [tmp_path / "features" / "notes.txt", tmp_path / "features" / "ab" / "model.safetensors"]
    foreign[1].parent.mkdir(parents=True)
    for path in foreign:
        path.write_bytes(b"mine")
    for number in range(30):
        folder.write(key_of(number), blocks_of(number, 8000))
        os.utime(folder.path(key_of(number)), (number, number))
        if number >= 3:
            folder.read(key_of(3))  # used again and again
        kept = [path for path in folder.folder.rglob("*.safetensors") if path not in foreign]
        assert sum(path.stat().st_size for path in kept) <= 10 * size
    assert folder.has(key_of(3)) and folder.has(key_of(29)) and not folder.has(key_of(4))
    assert all(path.read_bytes() == b"mine" for path in foreign)


def test_what_others_wrote_counts_for_the_limit(tmp_path):
    size = len(to_bytes(key_of(0), blocks_of(0, 8000)))
    one, other = (FeatureFolder(tmp_path / "features", 10 * size) for _ in range(2))
    for number in range(40):
        (one, other)[number % 2].write(key_of(number), blocks_of(number, 8000))
    kept = sum(path.stat().st_size for path in one.folder.rglob("*.safetensors"))
    assert kept <= 10 * size + 2 * size  # each process may be a twentieth, at least a file, above


def test_a_disk_that_is_almost_full_is_left_alone(folder, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage(10**13, 0, 9 * 10**9))
    assert folder.write(key_of(1), blocks_of(1)) is False and not folder.has(key_of(1))


def test_a_limit_below_one_image_is_said(tmp_path):
    with pytest.raises(OSError, match="an image takes .* bytes, the limit is 100"):
        FeatureFolder(tmp_path / "features", 100).write(key_of(1), blocks_of(1))
    assert not (tmp_path / "features").exists()


def test_a_writer_that_fails_leaves_nothing(folder, monkeypatch):
    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        folder.write(key_of(1), blocks_of(1))
    assert not [path for path in folder.folder.rglob("*") if path.is_file()]
