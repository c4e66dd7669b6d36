import json

import pytest

from gpt4scene.data.dataset_info import read_dataset_info
from gpt4scene.data.datasets import load_conversations
from gpt4scene.errors import DataError


def row(number, images=("a.png",)):
    text = "<image>" * len(images) + f"Question {number}?"
    return {
        "conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": f"Answer {number}."}],
        "images": list(images),
    }


@pytest.fixture
def folder(tmp_path):
    """A dataset folder: two datasets of five and three rows, images beside them."""
    data = tmp_path / "data"
    data.mkdir()
    for name in ("a.png", "b.png"):
        (data / name).write_bytes(b"image")
    info = {name: {"file_name": f"{name}.json", "formatting": "sharegpt"} for name in ("rooms", "halls")}
    (data / "dataset_info.json").write_text(json.dumps(info))
    (data / "rooms.json").write_text(json.dumps([row(i) for i in range(5)]))
    (data / "halls.json").write_text(json.dumps([row(10 + i, ("a.png", "b.png")) for i in range(3)]))
    return data


def register(folder, name, /, **entry):
    path = folder / "dataset_info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: {"formatting": "sharegpt", **entry}}))


def answers(loaded):
    return [row.turns[-1].text.removeprefix("Answer ").rstrip(".") for row in loaded.rows]


def test_rows_keep_their_origin_and_share_image_tuples(folder):
    loaded = load_conversations(["rooms", "halls"], folder)
    assert answers(loaded) == ["0", "1", "2", "3", "4", "10", "11", "12"] and loaded.skipped == []
    third = loaded.rows[2]
    assert (third.origin.dataset, third.origin.row) == ("rooms", 2) and third.origin.file.endswith("rooms.json")
    assert third.images == (str(folder / "a.png"),) and third.images is loaded.rows[0].images


def test_an_unknown_dataset_names_the_nearest(folder):
    with pytest.raises(
        DataError, match=r"dataset_info\.json: dataset 'room' .*did you mean 'rooms'.*known: halls, roo"
    ):
        load_conversations(["room"], folder)
    with pytest.raises(DataError, match="dataset_dir must be the folder"):
        load_conversations(["rooms"], folder / "other")


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "lines.json"])
def test_other_file_kinds(folder, suffix):
    rows, path = [row(i) for i in range(3)], folder / f"other.{suffix}"
    if suffix == "parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        path.write_text("\n".join(json.dumps(r) for r in rows) + "\n")
    register(folder, "other", file_name=path.name)
    assert answers(load_conversations(["other"], folder)) == ["0", "1", "2"]


def test_a_folder_is_read_file_by_file_in_order(folder):
    many = folder / "many"
    many.mkdir()
    (many / "2.json").write_text(json.dumps([row(2)]))
    (many / "1.jsonl").write_text(json.dumps(row(1)))
    (many / "notes.txt").write_text("not rows")
    register(folder, "many", file_name="many")
    assert answers(load_conversations(["many"], folder)) == ["1", "2"]
    for path in many.iterdir():
        path.unlink()
    with pytest.raises(DataError, match="holds no .json, .jsonl, .parquet file"):
        load_conversations(["many"], folder)


def test_a_hub_entry_is_loaded_by_the_datasets_library(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    hub = tmp_path / "hub"
    hub.mkdir()
    (hub / "train.jsonl").write_text("\n".join(json.dumps(row(i)) for i in range(2)))
    register(folder, "far", hf_hub_url=str(hub))
    assert answers(load_conversations(["far"], folder)) == ["0", "1"]
    register(folder, "gone", script_url="no_such_folder")
    with pytest.raises(DataError, match="dataset 'gone' could not be loaded from"):
        load_conversations(["gone"], folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b'[{"a": 1}, {"a"', r"row 1 \(line 1\).*cut off or damaged"),
        (b'[{"a": 1} {"a": 2}]', "row 1.*a comma or ] is missing"),
        (b'[{"a": 1}', "row 1.*a comma or ] is missing"),
        (b"[{}] 2", "row 1.*behind the list"),
        (b'{"a": 1}\n{"a"', r"row 0.*no list of messages"),
        (b"\xff\xfe[", "not UTF-8"),
    ],
)
def test_damaged_files_are_named_with_their_row(folder, content, words):
    (folder / "bad.json").write_bytes(content)
    register(folder, "bad", file_name="bad.json")
    with pytest.raises(DataError, match=rf"bad\.json.*{words}"):
        if b"[{" in content:  # rows before the damage are no conversations; skip them to reach it
            load_conversations(["bad"], folder, skip_bad_rows=True)
        load_conversations(["bad"], folder)


def test_missing_files_and_kinds(folder):
    register(folder, "gone", file_name="gone.json")
    with pytest.raises(DataError, match=r"gone\.json: the file does not exist"):
        load_conversations(["gone"], folder)
    (folder / "table.xlsx").write_bytes(b"x")
    register(folder, "table", file_name="table.xlsx")
    with pytest.raises(DataError, match="can't read '.xlsx' files"):
        load_conversations(["table"], folder)


def test_bad_rows_stop_or_are_listed(folder):
    rows = [row(0), row(1, ("a.png",) * 2), {"conversations": 3}, row(3)]
    rows[1]["images"].pop()
    (folder / "rooms.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=r"rooms\.json, row 1 .*2 <image> marks, but 1 images"):
        load_conversations(["rooms"], folder)
    loaded = load_conversations(["rooms"], folder, skip_bad_rows=True)
    assert answers(loaded) == ["0", "3"] and len(loaded.skipped) == 2
    assert "rooms.json, row 2" in loaded.skipped[1]


def test_only_bad_rows_is_an_error(folder):
    (folder / "rooms.json").write_text(json.dumps([{"conversations": 3}]))
    with pytest.raises(DataError, match="no rows in rooms; all 1 were skipped, the first because of .*row 0"):
        load_conversations(["rooms"], folder, skip_bad_rows=True)


def test_images_are_found_in_all_promised_places(folder, tmp_path, monkeypatch):
    media, beside, cwd = tmp_path / "media", folder / "sub", tmp_path / "cwd"
    for place in (media, beside, cwd):
        place.mkdir()
    (beside / "rows.json").write_text(json.dumps([row(0, ("p.png",))]))
    register(folder, "sub", file_name="sub/rows.json")
    monkeypatch.chdir(cwd)
    with pytest.raises(DataError) as missing:
        load_conversations(["sub"], folder, media)
    for place in ("tried p.png", str(media / "p.png"), str(folder / "p.png"), str(beside / "p.png")):
        assert place in str(missing.value)
    for place in (beside, folder, media):
        (place / "p.png").write_bytes(b"x")
        assert load_conversations(["sub"], folder, media).rows[0].images == (str(place / "p.png"),)
    (cwd / "p.png").write_bytes(b"x")
    assert load_conversations(["sub"], folder, media).rows[0].images == ("p.png",)


def test_max_samples_and_num_samples(folder):
    assert answers(load_conversations(["rooms", "halls"], folder, max_samples=2)) == ["0", "1", "10", "11"]
    register(folder, "some", file_name="rooms.json", num_samples=8)
    drawn = answers(load_conversations(["some"], folder, seed=3))
    assert len(drawn) == 8 and set(drawn) == set("01234")
    assert drawn == answers(load_conversations(["some"], folder, seed=3))
    assert drawn != answers(load_conversations(["some"], folder, seed=4))


def test_interleaving(folder):
    both = ["rooms", "halls"]
    under = answers(load_conversations(both, folder, mix_strategy="interleave_under"))
    assert under == ["0", "10", "1", "11", "2", "12"]
    over = answers(load_conversations(both, folder, mix_strategy="interleave_over"))
    assert over == ["0", "10", "1", "11", "2", "12", "3", "10", "4"]
    with pytest.raises(ValueError, match="interleave_probs"):
        load_conversations(both, folder, mix_strategy="interleave_under", interleave_probs=[1.0])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"file_name": "a.json", "formatting": "chatml"}, "formatting 'chatml' is none of sharegpt, alpaca"),
        ({"formatting": "sharegpt"}, "has none of file_name"),
        ({"file_name": "a.json", "ranking": True}, "preference pairs"),
        ({"file_name": "a.json", "columns": {"message": "m"}}, "'message' is not a key; did you mean 'messages'"),
        ({"file_name": "a.json", "tags": {"role": "m"}}, "tags: 'role' is not a key"),
    ],
)
def test_wrong_entries_are_named(tmp_path, entry, words):
    (tmp_path / "dataset_info.json").write_text(json.dumps({"x": entry}))
    with pytest.raises(DataError, match=rf"dataset_info\.json: dataset 'x'.*{words}"):
        read_dataset_info(tmp_path, ["x"])


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "dataset_info.json").write_text("")
    with pytest.raises(DataError, match=r"dataset_info\.json: the file is empty"):
        read_dataset_info(tmp_path, ["x"])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"num_sample": 3}, "'num_sample' is not a key; did you mean 'num_samples'"),
        ({"num_samples": 0}, "num_samples must be a whole number of 1 or more, not 0"),
        ({"num_samples": -1}, "not -1"),
        ({"num_samples": "all"}, "not 'all'"),
        ({"num_samples": True}, "not True"),
        ({"messages": "chat"}, "'messages' is not a key"),
        ({"columns": ["messages"]}, "columns must be an object"),
        ({"columns": {"images": ["a"]}}, "'images' must be a text"),
        ({"tags": {"role": "r"}}, "'role' is not a key"),
        ({"split": 3}, "'split' must be a text"),
        ({"file_name": None, "ms_hub_url": "a/b"}, "only ms_hub_url: rows on ModelScope are not fetched"),
        ({"file_name": None, "cloud_file_name": "s3://a"}, "only cloud_file_name"),
    ],
)
def test_what_an_entry_says_is_used_or_refused(folder, entry, words):
    register(folder, "other", file_name="rooms.json")
    path = folder / "dataset_info.json"
    known = json.loads(path.read_text())
    known["other"] |= entry
    path.write_text(json.dumps(known))
    with pytest.raises(DataError) as error:
        read_dataset_info(folder, ["other"])
    assert words in str(error.value) and "dataset 'other'" in str(error.value)


def test_other_hubs_and_checksums_beside_a_file_change_nothing(folder):
    register(folder, "other", file_name="rooms.json", ms_hub_url="a/b", om_hub_url="a/b", file_sha1="0")
    assert len(load_conversations(["other"], folder).rows) == 5


@pytest.mark.parametrize("suffix", [".csv", ".json.gz", ".arrow", ".tsv", ".zip"])
def test_a_folder_with_rows_that_are_not_read_is_refused(folder, suffix):
    many = folder / "many"
    many.mkdir()
    (many / "a.json").write_text(json.dumps([row(0)]))
    (many / f"b{suffix}").write_bytes(b"rows")
    (many / "README.md").write_text("About.")
    register(folder, "many", file_name="many")
    with pytest.raises(DataError, match=r"many/b\..*can't read"):
        load_conversations(["many"], folder)
    (many / f"b{suffix}").unlink()
    assert len(load_conversations(["many"], folder).rows) == 1


@pytest.mark.parametrize("name", ["twice.json", "twice.jsonl"])
def test_a_key_that_stands_twice_in_a_row_is_refused(folder, name):
    text = json.dumps(row(0))[:-1] + ', "images": []}'
    (folder / name).write_text(text if name.endswith("l") else f"[{text}]")
    register(folder, "twice", file_name=name)
    with pytest.raises(DataError, match="a row has 'images' twice"):
        load_conversations(["twice"], folder)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"split": "test"}, "split 'test' has no effect on a file"),
        ({"split": "train[:2]"}, "split 'train[:2]' has no effect"),
        ({"subset": "rooms"}, "subset 'rooms' has no effect"),
        ({"folder": "rooms"}, "folder 'rooms' has no effect"),
        ({"hf_hub_url": "a/b"}, "has file_name and hf_hub_url, of which one would be passed over"),
        ({"script_url": "a"}, "has file_name and script_url"),
        ({"columns": {"prompt": "question"}}, "columns.prompt has no effect with formatting: sharegpt"),
        ({"columns": {"history": "earlier"}}, "columns.history has no effect"),
        ({"columns": {"videos": "images"}}, "columns.videos and columns.images are both 'images'"),
        ({"columns": {"system": "x", "images": "x"}}, "columns.system and columns.images are both 'x'"),
        ({"formatting": "alpaca", "columns": {"query": "instruction"}}, "columns.query and columns.prompt are both"),
        (
            {"formatting": "alpaca", "columns": {"messages": "chat"}},
            "columns.messages has no effect",
        ),
        ({"formatting": "alpaca", "tags": {"user_tag": "me"}}, "tags has no effect with formatting: alpaca"),
    ],
)
def test_what_would_do_nothing_beside_the_rest_is_refused(folder, entry, words):
    register(folder, "other", file_name="rooms.json", **entry)
    with pytest.raises(DataError) as error:
        read_dataset_info(folder, ["other"])
    assert words in str(error.value) and "dataset 'other'" in str(error.value)


def test_what_says_the_usual_is_accepted(folder):
    usual = {"images": "images", "messages": "conversations", "prompt": "instruction", "history": "history"}
    register(folder, "other", file_name="rooms.json", columns=usual, split="train", subset=None, folder="")
    assert len(load_conversations(["other"], folder).rows) == 5


@pytest.mark.parametrize(
    ("formatting", "column"),
    [("sharegpt", "images"), ("sharegpt", "system"), ("sharegpt", "videos"), ("alpaca", "query")],
)
def test_a_named_column_that_no_row_has_is_refused(folder, formatting, column):
    plain = {"sharegpt": row(0, ()), "alpaca": {"instruction": "What?", "output": "That."}}[formatting]
    register(folder, "other", file_name="some.json", formatting=formatting, columns={column: "mine"})
    (folder / "some.json").write_text(json.dumps([plain] * 3))
    for most in (None, 2):
        with pytest.raises(DataError, match=rf"'other': columns.{column} is 'mine', which no row has .they have"):
            load_conversations(["other"], folder, max_samples=most, skip_bad_rows=True)
    value = [] if column in ("images", "videos") else "Be kind."
    (folder / "some.json").write_text(json.dumps([plain, plain, {**plain, "mine": value}]))
    for most in (None, 2):
        assert len(load_conversations(["other"], folder, max_samples=most).rows) == (most or 3)


@pytest.mark.parametrize(
    "text",
    [
        '{"rooms": {"file_name": "a.json", "file_name": "b.json"}}',
        '{"rooms": {"file_name": "a.json"}, "rooms": {"file_name": "b.json"}}',
        '{"rooms": {"file_name": "a.json"}, "x": {"columns": {"images": "a", "images": "b"}}}',
        '{"rooms": {"file_name": "a.json"}, "x": {"tags": {"user_tag": "a", "user_tag": "b"}}}',
    ],
)
def test_a_key_that_stands_twice_in_the_registry_is_refused(folder, text):
    (folder / "dataset_info.json").write_text(text)
    with pytest.raises(DataError, match=r"dataset_info\.json: an object has '\w+' twice .*keep one"):
        read_dataset_info(folder, ["rooms"])


@pytest.mark.parametrize("other", ["rooms.json", "../data/rooms.json", "."])
def test_the_same_rows_under_two_names_are_refused(folder, other):
    place = folder / "only" if other == "." else folder
    if other == ".":
        place.mkdir()
        (place / "rooms.json").write_text((folder / "rooms.json").read_text())
        register(folder, "rooms", file_name="only/rooms.json")
        other = "only"
    register(folder, "again", file_name=other)
    with pytest.raises(DataError, match=r"'rooms' and 'again' read the same rows \(.*rooms\.json\).*num_samples"):
        read_dataset_info(folder, ["rooms", "again"])
    with pytest.raises(DataError, match="'rooms' is named twice"):
        read_dataset_info(folder, ["rooms", "halls", "rooms"])
    register(folder, "again", file_name=other, num_samples=2)
    assert len(load_conversations(["rooms", "again"], folder).rows) == 7


def test_hidden_files_and_folders_are_no_rows_and_suffixes_have_any_case(folder):
    for name in (".cache/x.json", ".ipynb_checkpoints/1-checkpoint.json", ".2.json", "deep/.git/y.csv", ".cache/y.gz"):
        (folder / "many" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "many" / name).write_text("no rows")
    (folder / "many" / "1.JSON").write_text(json.dumps([row(1)]))
    (folder / "many" / "deep" / "1.Jsonl").write_text(json.dumps(row(2)))
    (folder / "many" / "1.json.bak").write_text("old")
    register(folder, "many", file_name="many")
    assert answers(load_conversations(["many"], folder)) == ["1", "2"]


@pytest.mark.parametrize(
    "value",
    ["a/p.png", ["p.JPG", "q.webp"], "film.mp4", "sound.wav", {"bytes": "x", "path": None}, [{"bytes": "x"}]]
    + ["http://x/film.mp4?t=3", [{"type": "image", "path": "a.png"}], {"video": "film.mkv"}],
)
def test_media_in_a_column_that_nobody_named_are_refused(folder, value):
    (folder / "rooms.json").write_text(json.dumps([row(0, ()), {**row(1, ()), "pics": value}]))
    with pytest.raises(
        DataError, match=r"rooms\.json, row 1 .*'pics' holds .*shows no image and no video; set columns.images"
    ):
        load_conversations(["rooms"], folder)
    (folder / "rooms.json").write_text(json.dumps([{**row(1), "pics": value}, {**row(2, ()), "image_id": "a.png"}]))
    assert len(load_conversations(["rooms"], folder).rows) == 2


def test_a_media_dir_that_is_not_there_is_refused_also_where_images_are_found_elsewhere(folder, tmp_path):
    with pytest.raises(DataError, match="gone: media_dir is no folder"):
        load_conversations(["rooms"], folder, tmp_path / "gone")


@pytest.mark.parametrize(("task", "kept"), [("scan qa", "scan qa"), (" ", None), (["a"], None), (None, None)])
def test_a_row_may_say_its_task(folder, task, kept):
    (folder / "rows.json").write_text(json.dumps([row(0) | {"task": task}]))
    register(folder, "tasks", file_name="rows.json", formatting="sharegpt")
    (origin,) = [one.origin for one in load_conversations(["tasks"], folder).rows]
    assert origin.task == kept and origin.group == (kept or "tasks")
