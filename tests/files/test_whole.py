import errno
import os
import resource
import subprocess
import sys
from contextlib import contextmanager

import pytest

from gpt4scene.errors import DataError
from gpt4scene.files.partial import temporary_name
from gpt4scene.files.whole import (
    copy_file,
    read_json,
    read_text,
    whole_file,
    whole_folder,
    write_bytes,
    write_json,
    write_text,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_are_written_with_their_folders(tmp_path):
    path = write_json(tmp_path / "a" / "b.json", {"name": "Stühle"})
    assert path.read_text(encoding="utf-8") == '{\n "name": "Stühle"\n}\n' and read_json(path) == {"name": "Stühle"}
    write_json(path, [1], indent=None)
    assert path.read_bytes() == b"[1]\n"
    assert write_bytes(tmp_path / "c", b"\x00").read_bytes() == b"\x00"
    assert read_text(write_text(tmp_path / "d", "é")) == "é"
    assert names(tmp_path) == ["a", "c", "d"]


def test_values_that_json_lacks(tmp_path):
    assert read_json(write_json(tmp_path / "a", {"p": tmp_path}, default=str)) == {"p": str(tmp_path)}
    with pytest.raises(TypeError):
        write_json(tmp_path / "b", {"p": tmp_path})
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError(errno.EIO, "broken")])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = write_text(tmp_path / "a", "old")
    with pytest.raises(type(error)), whole_file(path) as partial:
        partial.write_text("half")
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["a"]


def test_a_full_disk_is_said_of_the_file_itself(tmp_path):
    path = tmp_path / "a"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError) as caught:
            write_bytes(path, b"x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(path) and names(tmp_path) == []


def test_errors_about_other_files_keep_their_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, whole_file(tmp_path / "a"):
        (tmp_path / "gone").read_text()
    assert caught.value.filename == str(tmp_path / "gone")


FILE = "with whole_file(path) as partial:\n    partial.write_text('half')\n"
FOLDER = "with whole_folder(path, replace=True) as partial:\n    (partial / 'x').write_text('half')\n"
DIE = "    os.kill(os.getpid(), 9)\n"
ASIDE = "    pathlib.Path.rename = lambda a, b, rename=os.rename: rename(a, b) or os.kill(os.getpid(), 9)\n"
WAIT = "    print('there', flush=True); sys.stdin.read()\n"


@contextmanager
def writer(path, *lines):
    """Another process that writes to a path, its first line of output read; killed at the end if it still runs."""
    imports = "import os, sys, pathlib\nfrom gpt4scene.files.whole import whole_file, whole_folder\n"
    code = imports + "path = pathlib.Path(sys.argv[1])\n" + "".join(lines)
    call = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def killed(path, *lines):
    with writer(path, *lines) as process:
        process.communicate(timeout=60)
    assert process.returncode == -9


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = write_text(tmp_path / "a", "old")
    killed(path, FILE, DIE)
    assert path.read_text() == "old"


@pytest.mark.slow
@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("begun", [FILE, FOLDER])
@pytest.mark.parametrize("following", ["same", "other file", "other folder"])
def test_what_a_killed_writer_began_is_removed_by_the_next_in_the_same_folder(tmp_path, begun, following, long):
    path = tmp_path / ("a" * 250 if long else "a.b-1.json")
    killed(path, begun, DIE)
    assert len(names(tmp_path)) == 1
    if following == "other folder":
        path = tmp_path / "other"
    elif following == "other file":
        path = tmp_path / "c"
    if following == "other folder" or (following == "same" and begun == FOLDER):
        with whole_folder(path):
            pass
    else:
        write_text(path, "whole")
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("begun", [FILE, FOLDER])
def test_work_of_a_process_that_lives_is_left_alone(tmp_path, begun):
    path = tmp_path / "a"
    with writer(path, begun, WAIT) as process:
        (left,) = names(tmp_path)
        write_text(tmp_path / "other", "x")
        with whole_folder(tmp_path / "folder"):
            pass
        assert left in names(tmp_path)
        process.communicate("")
    assert process.returncode == 0 and names(tmp_path) == ["a", "folder", "other"]


def test_a_killed_process_that_nobody_has_fetched_is_gone(tmp_path):
    with writer(tmp_path / "a", FILE, WAIT) as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie from here on
        write_text(tmp_path / "b", "x")
        assert names(tmp_path) == ["b"]


def test_the_number_of_a_killed_process_may_be_given_again(tmp_path):
    mine = temporary_name(tmp_path / "a")
    mine.touch()
    host, pid, start = mine.name.split(".")[2].split("-")
    earlier = tmp_path / f".a.{host}-{pid}-{int(start) - 1}.part"
    earlier.touch()
    write_text(tmp_path / "b", "x")
    assert names(tmp_path) == [mine.name, "b"]


def test_names_of_other_hosts_and_of_users_are_left_alone(tmp_path):
    kept = [".a.00000000-1-1.part", ".a.part", "b.part", ".a.123.part", ".c.old"]
    for name in kept:
        (tmp_path / name).touch()
    write_text(tmp_path / "b", "x")
    assert set(kept) < set(names(tmp_path))


@pytest.mark.parametrize("other_first", [False, True])
def test_a_folder_that_was_moved_aside_when_its_writer_was_killed_comes_back(tmp_path, other_first):
    path = tmp_path / "a"
    write_text(path / "x", "old")
    killed(path, FOLDER, ASIDE)
    assert not path.exists() and len(names(tmp_path)) == 2
    if other_first:
        write_text(tmp_path / "b", "x")
    with pytest.raises(DataError, match="already holds something"), whole_folder(path):
        pass
    assert names(tmp_path) == ["a", "b"][: 1 + other_first] and (path / "x").read_text() == "old"


def test_a_folder_that_was_moved_aside_goes_when_its_successor_is_there(tmp_path):
    path = tmp_path / "a"
    write_text(path / "x", "old")
    killed(path, FOLDER, "    import shutil; shutil.rmtree = lambda old: os.kill(os.getpid(), 9)\n")
    assert len(names(tmp_path)) == 2 and (path / "x").read_text() == "half"
    write_text(tmp_path / "b", "x")
    assert names(tmp_path) == ["a", "b"] and (path / "x").read_text() == "half"


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(os, "fsync", lambda number: order.append("sync"))
    monkeypatch.setattr(os, "replace", lambda old, new: order.append("rename"))
    write_text(tmp_path / "a", "x")
    assert order == ["sync", "rename"]


def test_a_folder_in_the_place_of_a_file(tmp_path):
    with pytest.raises(DataError, match="is a folder; name a file in it"):
        write_text(tmp_path, "x")


def test_folders_appear_whole(tmp_path):
    with whole_folder(tmp_path / "a" / "b") as partial:
        (partial / "x").write_text("1")
        assert not (tmp_path / "a" / "b").exists()
    assert names(tmp_path / "a") == ["b"] and names(tmp_path / "a" / "b") == ["x"]
    with pytest.raises(DataError, match="already holds something"), whole_folder(tmp_path / "a" / "b"):
        pass
    with whole_folder(tmp_path / "a" / "b", replace=True) as partial:
        (partial / "y").write_text("2")
    assert names(tmp_path / "a") == ["b"] and names(tmp_path / "a" / "b") == ["y"]


def test_an_error_leaves_the_old_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("old")
    with pytest.raises(ValueError), whole_folder(tmp_path / "a", replace=True) as partial:
        (partial / "y").write_text("new")
        raise ValueError
    assert names(tmp_path) == ["a"] and names(tmp_path / "a") == ["x"]


def test_an_empty_folder_is_filled_and_what_a_killed_writer_left_is_cleared(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / ".a.part").mkdir()
    (tmp_path / ".a.part" / "half").touch()
    with whole_folder(tmp_path / "a") as partial:
        (partial / "x").touch()
    assert names(tmp_path) == ["a"] and names(tmp_path / "a") == ["x"]
    with pytest.raises(DataError, match="is a file"), whole_folder(tmp_path / "a" / "x", replace=True):
        pass


def test_copies(tmp_path):
    source = write_text(tmp_path / "a", "x")
    assert copy_file(source, tmp_path / "b" / "c").read_text() == "x"
    assert copy_file(source, source).read_text() == "x"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "a.json: the list is empty"),
        (b" \n", "a.json: the list is empty"),
        (b"\xff", "a.json: the list is not UTF-8 text (byte 0)"),
        (b'{"a": 1', "a.json: the list is not JSON (line 1, column 8"),
        (b'[{"a": 1},\n {"b": 2},\n {"c":', "a.json, row 2: the list is not JSON (line 3, column 7"),
        (b"[1 2]", "a.json, row 1: the list is not JSON (line 1, column 4"),
        (b"[1, 2] 3", "a.json, row 2: the list is not JSON"),
        (b"[" * 100_000, "a.json: the list is JSON nested too deep"),
    ],
)
def test_broken_json_is_named_with_its_row(tmp_path, content, words):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_json(tmp_path / "a.json", "list")
    assert words in str(caught.value)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(DataError, match="a.json: the list does not exist"):
        read_json(tmp_path / "a.json", "list")
    with pytest.raises(DataError, match="the file can't be read .Is a directory"):
        read_json(tmp_path)


def test_a_byte_order_mark_is_left_out(tmp_path):
    (tmp_path / "a.json").write_text("[1]", encoding="utf-8-sig")
    assert read_json(tmp_path / "a.json") == [1]
