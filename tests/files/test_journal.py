import json
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.errors import DataError
from gpt4scene.files import journal as module
from gpt4scene.files.journal import Journal, done, journal_path, journal_rows, merge, read_journal
from gpt4scene.files.predictions import write_public
from gpt4scene.types import Answer, Question

SETTINGS = {"model": "abc", "image_resolution": 512}
PUBLIC = ["scene_id", "qid", "gt_id", "pred_id", "prompt", "pred", "ref_captions", "type_info"]


def answer(index, text="A chair.", task="scanqa", **extra):
    return Answer(Question(task, index, f"scene{index}", f"Question {index}?", **extra), text)


def indices(content):
    return [row["index"] for _, row in content.rows]


def fill(folder, indices, shard=0, num_shards=1, settings=SETTINGS, task="scanqa"):
    path = journal_path(folder, task, shard, num_shards)
    with Journal(path, settings) as journal:
        for index in indices:
            journal.append(answer(index, f"Answer {index}.", task))
        journal.sync()
    return path


def test_lines_hold_settings_then_public_rows(tmp_path):
    path = fill(tmp_path, [])
    with Journal(path, SETTINGS) as journal:
        journal.append(
            answer(4, "Zwei Stühle\n\u2028.", qid=7, obj_id=2, pred_id=3, ref_captions=("x", 1), type_info="mt")
        )
    first, second = path.read_text().split("\n")[:-1]
    assert json.loads(first) == {"settings": SETTINGS, "fingerprint": module.fingerprint(SETTINGS)}
    row = json.loads(second)
    assert list(row) == [*PUBLIC, "task", "index"]
    assert row["gt_id"] == 2 and row["pred_id"] == 3 and row["qid"] == 7 and row["ref_captions"] == ["x", 1]
    assert row["pred"] == "Zwei Stühle\n\u2028." and row["type_info"] == "mt"


@given(cut=st.integers(min_value=0))
def test_torn_file_goes_on_with_whole_lines(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("torn")
    path = fill(folder, range(3))
    content = path.read_bytes()
    path.write_bytes(content[: cut % (len(content) + 1)])
    kept = indices(read_journal(path))
    assert kept == list(range(len(kept)))
    with Journal(path, SETTINGS) as journal:
        assert journal.answers == len(kept)
        for index in range(len(kept), 3):
            journal.append(answer(index, f"Answer {index}."))
    assert path.read_bytes() == content


def test_all_shards_of_the_folder_count_as_done(tmp_path):
    fill(tmp_path, [0, 3])
    fill(tmp_path, [1], 0, 2)
    torn = fill(tmp_path, [2, 4], 11, 12)
    torn.write_bytes(torn.read_bytes()[:-3])
    fill(tmp_path, [0], task="sqa3d")
    assert done(tmp_path, ["scanqa", "sqa3d"]) == {("scanqa", i) for i in (0, 1, 2, 3)} | {("sqa3d", 0)}
    assert sorted(row["index"] for _, row in journal_rows(tmp_path, "scanqa")[0]) == [0, 1, 2, 3]
    assert torn.read_bytes()[-1:] != b"\n", "another process may be writing that file: it is not ours to cut"


def test_other_settings_are_refused_by_name(tmp_path):
    path = fill(tmp_path, [0], 1, 2)
    other = {**SETTINGS, "image_resolution": 256}
    for call in (lambda: Journal(path, other), lambda: module.check_settings(tmp_path, "scanqa", other)):
        with pytest.raises(DataError, match="image_resolution: 512, now 256.*--overwrite"):
            call()
    module.check_settings(tmp_path, "scanqa", dict(reversed(SETTINGS.items())))
    module.check_settings(tmp_path, "sqa3d", other)


def test_starting_over_leaves_running_siblings_alone(tmp_path):
    other = {**SETTINGS, "image_resolution": 256}
    fill(tmp_path, [0], settings=other)
    fill(tmp_path, [1], 2, 4, other)
    running = fill(tmp_path, [1], 1, 2)
    fill(tmp_path, [2], 3, 4)
    fill(tmp_path, [3], 0, 2)
    module.clear_for_shard(tmp_path, "scanqa", SETTINGS, 0, 2)
    assert module.journal_files(tmp_path, "scanqa") == [running]


def test_damaged_line_in_the_middle_is_named(tmp_path):
    path = fill(tmp_path, range(3))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"garbage\n", *lines[2:]]))
    with pytest.raises(DataError, match="scanqa.jsonl, line 3: .*--overwrite"):
        done(tmp_path, ["scanqa"])


def test_two_writers_of_one_file_are_refused(tmp_path):
    path = journal_path(tmp_path, "scanqa")
    with Journal(path, SETTINGS), pytest.raises(DataError, match="another process is writing"):
        Journal(path, SETTINGS)


def test_full_disk_in_the_middle_of_a_line_leaves_whole_lines(tmp_path):
    path = fill(tmp_path, range(2))
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(path, SETTINGS) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 40, hard))
        try:
            with pytest.raises(DataError, match="could not be written .*; 2 answers are kept"):
                journal.append(answer(2, "A long answer." * 20))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.read_bytes() == before
        journal.append(answer(2))
    assert indices(read_journal(path)) == [0, 1, 2]


def test_merge_joins_shards_by_index(tmp_path):
    fill(tmp_path, [5, 1], 0, 2)
    fill(tmp_path, [4, 0], 1, 2)
    whole = merge(tmp_path, "scanqa", SETTINGS)
    assert module.journal_files(tmp_path, "scanqa") == [whole]
    content = read_journal(whole)
    assert content.settings == SETTINGS and indices(content) == [0, 1, 4, 5]
    with Journal(whole, SETTINGS) as journal:
        assert journal.answers == 4
    before = whole.read_bytes()
    merge(tmp_path, "scanqa", SETTINGS)
    assert whole.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["scanqa.jsonl"]


def test_the_name_of_a_model_is_told_and_never_asked_for(tmp_path):
    fill(tmp_path, [0])  # as earlier versions wrote it
    with Journal(tmp_path / "scanqa.jsonl", SETTINGS, model="models/a") as journal:
        journal.append(answer(1))
    assert read_journal(tmp_path / "scanqa.jsonl").model == "", "a file keeps what it began with"
    for shard in range(2):
        with Journal(journal_path(tmp_path, "sqa3d", shard, 2), SETTINGS, model=f"models/{shard}") as journal:
            journal.append(answer(shard, task="sqa3d"))
    content = read_journal(merge(tmp_path, "sqa3d", SETTINGS))
    assert (content.model, content.settings, len(content.rows)) == ("models/0", SETTINGS, 2)
    with Journal(content.path, SETTINGS, model="moved/b"):
        pass
    assert read_journal(content.path).model == "models/0"


def test_public_files_by_chunk(tmp_path):
    fill(tmp_path, [1, 0, 2])
    stale = write_public(tmp_path, "scanqa", "qwenvl", 3, 4)
    assert stale == tmp_path / "qwenvl_scanqa" / "predictions_chunk_3.json"
    path = write_public(tmp_path, "scanqa", "qwenvl", 0, 2, {"scene0", "scene2"})
    assert [path.name for path in stale.parent.iterdir()] == ["predictions_chunk_0.json"]
    rows = json.loads(path.read_text())
    assert [list(row) for row in rows] == [[*PUBLIC, "index"]] * 2
    assert [row["pred"] for row in rows] == ["Answer 0.", "Answer 2."]


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(DataError, match="the journal can't be opened"):
        Journal(tmp_path / "out" / "scanqa.jsonl", SETTINGS)
