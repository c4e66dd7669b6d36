import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.fingerprint import fingerprint
from gpt4scene.data.groups import TEXT, group_rows
from gpt4scene.data.packs import PackDataset
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.data.vision import VisionRule
from gpt4scene.errors import DataError
from gpt4scene.files.tokenized import has_tokenized, read_tokenized, write_tokenized
from gpt4scene.types import Conversation, Origin, PackLayout, Turn


@pytest.fixture
def rows(make_row, images):
    turns = (Turn("user", "<image>A?"), Turn("assistant", "Yes."), Turn("user", "<image>B?"), Turn("assistant", "No."))
    talk = Conversation(turns, images[:2], Origin("talks", "talks.jsonl", 5))
    several = [make_row(images, f"Question {i}?", "It is. " * i, i) for i in range(4)]
    return [*several, make_row(images[1:], "What?", "That.", 4), talk, make_row((), "Hello?", "Hi.", 6)]


@pytest.fixture
def folder(tmp_path, encoder, rows):
    write_tokenized(tmp_path / "tokens", map(encoder.encode, rows), {"seed": 3}, ["row 9 was bad"])
    return tmp_path / "tokens"


def test_rows_come_back_as_they_were(folder, encoder, rows):
    read = read_tokenized(folder, {"seed": 3})
    assert len(read) == len(rows) and read.skipped == ("row 9 was bad",)
    for row, back in zip(rows, read, strict=True):
        sample = encoder.encode(row)
        assert np.array_equal(back.ids_L, sample.ids_L) and np.array_equal(back.labels_L, sample.labels_L)
        assert back.ids_L.dtype == sample.ids_L.dtype and back.labels_L.dtype == sample.labels_L.dtype
        assert (back.cut, back.images, back.grids, back.origin) == (
            sample.cut,
            sample.images,
            sample.grids,
            sample.origin,
        )


def test_tokenized_rows_take_the_place_of_conversations(folder, encoder, rows):
    read = read_tokenized(folder, {"seed": 3})
    assert read.images() == [row.images for row in rows]
    keys, expected = group_rows(read, encoder).keys, group_rows(rows, encoder).keys
    assert [keys.index(key) for key in keys] == [expected.index(key) for key in expected]
    for special in (None, TEXT):
        assert [key == special for key in keys] == [key == special for key in expected]
    ours, theirs = PackDataset(read, encoder)[(2, 0)], PackDataset(rows, encoder)[(2, 0)]
    for key, value in vars(theirs).items():
        mine = vars(ours)[key]
        if isinstance(value, PackLayout):
            assert {**vars(mine), "places": mine.places.tolist()} == {**vars(value), "places": value.places.tolist()}
        else:
            assert np.array_equal(value, mine) if isinstance(value, torch.Tensor) else value == mine, key


def test_unpacked_prefixes_are_bounded(folder, encoder, rows, monkeypatch):
    monkeypatch.setattr("gpt4scene.files.tokenized.CACHED_PREFIXES", 1)
    found = read_tokenized(folder, {"seed": 3})
    for index in range(len(found)):
        assert np.array_equal(found[index].ids_L, encoder.encode(rows[index]).ids_L)
        assert len(found._prefixes) == 1


def test_some_rows_can_be_chosen(folder, rows):
    read = read_tokenized(folder, {"seed": 3})
    chosen = read.select([4, 0])
    assert [row.origin for row in chosen] == [rows[4].origin, rows[0].origin]
    assert chosen.images() == [rows[4].images, rows[0].images]
    assert [row.origin for row in read[5:]] == [row.origin for row in rows[5:]]


def test_a_prefix_is_stored_once_per_scene(tmp_path, encoder, make_row, images):
    rows = [make_row(images, f"Question {i}?", "Yes.", i) for i in range(40)]
    write_tokenized(tmp_path / "many", map(encoder.encode, rows), {})
    write_tokenized(tmp_path / "one", map(encoder.encode, rows[:1]), {})
    for name in ("prefix_values", "prefix_counts"):
        many, one = (np.load(tmp_path / kind / f"{name}.npy") for kind in ("many", "one"))
        assert np.array_equal(many, one) and len(many) < 50


def test_other_settings_are_refused_by_name(folder):
    with pytest.raises(
        DataError, match=r"tokens: .*other settings: cutoff_len \(None there, 5 now\); seed \(3 there, 4"
    ):
        read_tokenized(folder, {"seed": 4, "cutoff_len": 5})


def test_a_folder_that_is_none_of_ours_is_refused_and_kept(tmp_path, encoder, rows):
    other = tmp_path / "other"
    other.mkdir()
    assert not has_tokenized(other) and not has_tokenized(tmp_path / "missing")
    (other / "notes.json").write_text("{}")
    assert has_tokenized(other)
    with pytest.raises(DataError, match="no folder of tokenized rows"):
        read_tokenized(other, {})
    with pytest.raises(DataError, match="already holds something"):
        write_tokenized(other, map(encoder.encode, rows), {})
    assert [path.name for path in other.iterdir()] == ["notes.json"]


def test_nothing_half_written_is_left_to_be_read(tmp_path, encoder, rows):
    def samples():
        yield encoder.encode(rows[0])
        raise DataError("row 1 is bad")

    with pytest.raises(DataError, match="row 1 is bad"):
        write_tokenized(tmp_path / "tokens", samples(), {})
    assert not has_tokenized(tmp_path / "tokens")


@pytest.fixture
def settings_of(tmp_path, tokenizer):
    """A function that returns the fingerprint of a small run, with changes."""
    model, data = tmp_path / "model", tmp_path / "data"
    model.mkdir()
    data.mkdir()
    (model / "tokenizer.json").write_text("{}")
    (data / "rooms.json").write_text("[]")
    (data / "dataset_info.json").write_text(json.dumps({"rooms": {"file_name": "rooms.json"}}))

    def make(resolution=112, cutoff_len=100, data=data, areas=None, **reading):
        rule = VisionRule(image_resolution=resolution, **(areas or {}))
        encoder = Encoder(tokenizer, TEMPLATES["qwen2_vl"], rule, cutoff_len)
        return fingerprint(encoder, model, ["rooms"], data, **reading)

    return make


def test_the_fingerprint_sees_settings_and_file_contents(tmp_path, settings_of):
    first = settings_of(seed=1)
    assert first == settings_of(seed=1)
    assert first == json.loads(json.dumps(first))
    assert (
        len({json.dumps(other) for other in (first, settings_of(224), settings_of(112, 99), settings_of(seed=2))}) == 4
    )
    write_tokenized(tmp_path / "tokens", [], first)
    (tmp_path / "data" / "rooms.json").write_text("[1]")
    (tmp_path / "model" / "tokenizer.json").write_text("[]")
    with pytest.raises(DataError, match=r"dataset files \(rooms\); tokenizer files \(tokenizer.json\)"):
        read_tokenized(tmp_path / "tokens", settings_of(seed=1))


def test_the_fingerprint_sees_areas_and_is_that_of_before_without_them(tmp_path, settings_of):
    areas = [None, {"image_max_pixels": 9000}, {"image_max_pixels": 8000}, {"image_min_pixels": 9000}]
    assert len({json.dumps(settings_of(areas=one)) for one in areas}) == len(areas)
    assert (
        not {"image_max_pixels", "image_min_pixels"} & set(settings_of()) and "usable" not in settings_of()["template"]
    )
    write_tokenized(tmp_path / "tokens", [], settings_of())
    with pytest.raises(DataError, match="image_max_pixels"):
        read_tokenized(tmp_path / "tokens", settings_of(areas=areas[1]))


def test_the_dataset_folder_may_move(tmp_path, settings_of):
    first = settings_of(seed=1)
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    assert settings_of(data=tmp_path / "elsewhere", seed=1) == first


def test_a_model_folder_without_tokenizer_is_named(tmp_path, settings_of):
    (tmp_path / "model" / "tokenizer.json").unlink()
    with pytest.raises(DataError, match="model: no tokenizer files"):
        settings_of()


@pytest.mark.parametrize(
    "files", [("dataset_dict.json", "train/state.json"), ("state.json",), ("train/data-00000.arrow",)]
)
def test_llamafactorys_tokens_are_named_and_left_alone(tmp_path, files):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert has_tokenized(tmp_path)
    with pytest.raises(DataError, match="LLaMA-Factory's form, which are not read and not needed"):
        read_tokenized(tmp_path, {})
    assert all((tmp_path / name).read_text() == "{}" for name in files)


def test_tasks_of_rows_are_kept(tmp_path, encoder, make_row, images):
    rows = [make_row(images, f"Question {i}?", "Yes.", i) for i in range(3)]
    rows = [
        replace(row, origin=replace(row.origin, task=task)) for row, task in zip(rows, ("a", None, "b"), strict=True)
    ]
    write_tokenized(tmp_path / "tasks", map(encoder.encode, rows), {})
    read = read_tokenized(tmp_path / "tasks", {})
    assert [row.origin for row in read] == [row.origin for row in rows]
    dataset = rows[0].origin.dataset
    assert read.groups() == {"a", "b", dataset} and read.datasets() == {dataset}
    assert read.select([0]).groups() == {"a"}
