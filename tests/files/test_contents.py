import os
import time

import pytest

from gpt4scene.errors import DataError
from gpt4scene.files import contents as module
from gpt4scene.files.contents import Contents


@pytest.fixture
def reads(monkeypatch):
    """The number of whole readings."""
    count = []
    digest = module.hashlib.blake2b
    monkeypatch.setattr(module.hashlib, "blake2b", lambda *args, **more: count.append(1) or digest(*args, **more))
    return count


@pytest.fixture
def later(monkeypatch):
    """A clock that is a minute ahead, so that files just written are old."""
    real = time.time_ns
    monkeypatch.setattr(module.time, "time_ns", lambda: real() + 60 * 10**9)


def test_equal_bytes_are_equal_wherever_they_lie(tmp_path):
    one, other = tmp_path / "a.png", tmp_path / "copy" / "b.png"
    other.parent.mkdir()
    one.write_bytes(b"pixels")
    other.write_bytes(b"pixels")
    assert Contents()(str(one)) == Contents()(str(other))
    assert Contents().together([str(one), str(other)]) != Contents()(str(one))


def test_an_old_file_is_read_once(tmp_path, reads, later):
    path = tmp_path / "a.png"
    path.write_bytes(b"pixels")
    contents = Contents()
    assert len({contents(str(path)) for _ in range(5)}) == 1 and len(reads) == 1


def longer(path):
    path.write_bytes(b"pixels!")


def other_bytes(path):
    path.write_bytes(b"PIXELS")


def other_bytes_with_the_old_time(path):
    before = path.stat()
    path.write_bytes(b"PIXELS")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def another_file_in_its_place(path):
    other = path.with_name("other")
    other.write_bytes(b"PIXELS")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize(
    "change", [longer, other_bytes, other_bytes_with_the_old_time, another_file_in_its_place], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("old", [True, False])
def test_a_replaced_file_is_another(tmp_path, change, old, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"pixels")
    contents = Contents()
    if old:
        real = time.time_ns
        monkeypatch.setattr(module.time, "time_ns", lambda: real() + 60 * 10**9)
        time.sleep(0.02)  # past a tick of the file system's clock
    before = contents(str(path))
    change(path)
    assert contents(str(path)) != before


def test_a_change_within_one_tick_of_the_clock_is_seen(tmp_path, monkeypatch):
    """Size and all times stay as they are: only reading tells."""
    path = tmp_path / "a.png"
    path.write_bytes(b"pixels")
    state = module._look(str(path))[0]
    monkeypatch.setattr(module, "_look", lambda path: (state, True))
    contents = Contents()
    before = contents(str(path))
    path.write_bytes(b"PIXELS")
    assert contents(str(path)) != before


def test_read_ahead_leaves_errors_to_the_call(tmp_path, reads, later):
    path, absent = tmp_path / "a.png", tmp_path / "absent.png"
    path.write_bytes(b"pixels")
    contents = Contents()
    contents.read_ahead([str(path), str(absent)])
    assert len(reads) == 1
    contents(str(path))
    assert len(reads) == 1
    with pytest.raises(DataError, match=r"absent.png: the file does not exist"):
        contents(str(absent))
