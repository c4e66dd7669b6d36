"""Archives of strangers: nothing leaves its folder, nothing passes its bounds, and what is broken is said."""

import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from contextlib import suppress
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4scene.errors import DataError
from gpt4scene.files import archives
from gpt4scene.files.archives import Bounds, size_text, unpack

pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name")
WAYS = ("zip", "tar", "tar.gz")


def pack(path, members, way="zip"):
    """Write an archive of (name, content) pairs, names as they are; content ``None`` makes a folder."""
    if way == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                info = zipfile.ZipInfo("x")
                info.filename = name if content is not None else f"{name}/"
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, content or b"")
    else:
        with tarfile.open(path, "w:gz" if way == "tar.gz" else "w") as archive:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.type = tarfile.REGTYPE if content is not None else tarfile.DIRTYPE
                info.size = len(content or b"")
                archive.addfile(info, io.BytesIO(content or b""))
    return path


def entry(archive, name, kind):
    """Add to an open tar a member of another kind."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    archive.addfile(info)


def files_below(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("way", WAYS)
def test_unpack(tmp_path, way):
    members = [
        ("a", None),
        ("./a/b.txt", b"b" * 3000),
        ("c\\d.jpg", b""),
        ("__MACOSX/x", b"no"),
        ("a/.DS_Store", b"no"),
    ]
    archive = pack(tmp_path / "packed", members, way)
    done = []
    found = unpack(archive, tmp_path / "out", told=lambda *figures: done.append(figures))
    assert found == [tmp_path / "out/a/b.txt", tmp_path / "out/c/d.jpg"]
    assert files_below(tmp_path / "out") == {"a/b.txt": b"b" * 3000, "c/d.jpg": b""}
    assert done == [(3000, 3000), (3000, 3000)]
    assert not stat.S_IMODE(found[0].stat().st_mode) & 0o111


def test_places_are_the_callers_and_are_checked_for_doubles(tmp_path):
    archive = pack(tmp_path / "packed.zip", [("top/a", b"1"), ("other/a", b"2")])
    kept = unpack(
        archive, tmp_path / "out", place=lambda path: path.relative_to("top") if "top" in path.parts else None
    )
    assert kept == [tmp_path / "out/a"]
    with pytest.raises(DataError, match="'other/a' stands twice; nothing was unpacked"):
        unpack(archive, tmp_path / "none", place=lambda path: PurePosixPath(path.name))
    assert not (tmp_path / "none").exists()


def test_what_is_there_is_kept_by_its_checksum_only(tmp_path):
    archive = pack(tmp_path / "packed.zip", [("same", b"11"), ("other", b"22"), ("cut", b"333")])
    out = tmp_path / "out"
    out.mkdir()
    for name, content in (("same", b"11"), ("other", b"xx"), ("cut", b"3")):
        (out / name).write_bytes(content)
    before = (out / "same").stat().st_ino
    unpack(archive, out)
    assert files_below(out) == {"same": b"11", "other": b"22", "cut": b"333"}
    assert (out / "same").stat().st_ino == before


OUTSIDE = ["../x", "/etc/x", "a/../../x", "a\\..\\..\\x", "C:/x", "\\\\host\\x", "a/.."]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_lands_outside(tmp_path, way):
    for name in OUTSIDE:
        archive = pack(tmp_path / "packed", [("first", b"x"), (name, b"bad")], way)
        with pytest.raises(DataError, match="would land outside its folder; nothing was unpacked"):
            unpack(archive, tmp_path / "deep/er/out")
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]


def test_odd_names_and_doubles(tmp_path):
    for name, words in (("a\nb", "is no name"), ("n" * 256, "is no name"), ("first", "twice"), ("first/in", "twice")):
        archive = pack(tmp_path / "packed", [("first", b"x"), (name, b"bad")])
        with pytest.raises(DataError, match=words) as caught:
            unpack(archive, tmp_path / "out")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE],
)
def test_links_devices_and_holes_in_tars(tmp_path, kind):
    with tarfile.open(tmp_path / "packed.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        entry(archive, "link", kind)
    with pytest.raises(DataError, match="'link' is a link or a device|is no complete archive"):
        unpack(tmp_path / "packed.tar", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_and_locks_in_zips(tmp_path):
    info = zipfile.ZipInfo("link.jpg")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="'link.jpg' is a link or a device"):
        unpack(tmp_path / "packed.zip", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a", "b")
    with pytest.raises(DataError, match="is compressed by a method other than deflate"):
        unpack(tmp_path / "packed.zip", tmp_path / "out")
    locked = bytearray(pack(tmp_path / "packed.zip", [("a", b"b")]).read_bytes())
    locked[locked.rfind(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "packed.zip").write_bytes(locked)
    with pytest.raises(DataError, match="'a' is encrypted"):
        unpack(tmp_path / "packed.zip", tmp_path / "out")


@pytest.mark.parametrize("way", WAYS)
def test_bounds(tmp_path, monkeypatch, way):
    archive = pack(tmp_path / "packed", [("a", bytes(3 * 2**20)), ("b", bytes(2**20))], way)
    for bounds, words in (
        (Bounds(total=2**20), "than is allowed|1.0 MiB are allowed"),
        (Bounds(files=1), "more than the 1 files"),
        (Bounds(seconds=-1), "takes more than -1 seconds"),
        (Bounds(spare=2**60), "0 bytes are free; make room|than is allowed"),
    ):
        with pytest.raises(DataError, match=words):
            unpack(archive, tmp_path / "out", bounds)
    monkeypatch.setattr(archives, "_SMALL", 2**20)
    with pytest.raises(DataError, match="times its size"):
        unpack(archive, tmp_path / "out", Bounds(ratio=0.5 if way == "tar" else 20))
    assert not (tmp_path / "out").exists()


def test_lists_of_millions_are_not_read(tmp_path, monkeypatch):
    """The bytes of the list are known before ``zipfile`` reads it, in the old form and that of many files."""
    archive = pack(tmp_path / "packed.zip", [(f"{number:0200}", b"") for number in range(1200)])
    with pytest.raises(DataError, match="more than the 10 files"):
        unpack(archive, tmp_path / "out", Bounds(files=10))
    content = archive.read_bytes()
    end = content.rfind(b"PK\x05\x06")
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 9, 9, 2**40, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    archive.write_bytes(content[:end] + record + locator + content[end:] + b"")
    with pytest.raises(DataError, match="more than the 2000 files"):
        unpack(archive, tmp_path / "out", Bounds(files=2000))
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(DataError, match="more than the 10 files"):
        unpack(archive, tmp_path / "out", Bounds(files=10))


def test_made_up_headers_of_tars(tmp_path):
    """A long name of a gigabyte, a size below zero, and a stream that never ends."""
    for kind, size, words in (
        (tarfile.GNUTYPE_LONGNAME, 2**30, "has a header of"),
        (tarfile.XHDTYPE, -512, "has a header of|no complete archive"),
        (tarfile.REGTYPE, -512, "a size below zero"),
        (tarfile.REGTYPE, 2**50, "than is allowed|no complete archive"),
    ):
        info = tarfile.TarInfo("name")
        info.type, info.size = kind, size
        content = info.tobuf(tarfile.GNU_FORMAT) + bytes(2048)
        for way in ("tar", "tar.gz"):
            (tmp_path / "packed").write_bytes(gzip.compress(content) if way == "tar.gz" else content)
            with pytest.raises(DataError, match=words):
                unpack(tmp_path / "packed", tmp_path / "out", Bounds(total=2**20))


def test_what_is_no_archive_is_named(tmp_path):
    whole = pack(tmp_path / "whole", [("a", bytes(range(256)) * 40)]).read_bytes()
    zipped = pack(tmp_path / "whole", [("a", bytes(range(256)) * 40)], "tar.gz").read_bytes()
    for content, words in (
        (b"", "is empty; remove it and fetch it again"),
        (b"<!DOCTYPE html><p>log in", "is a web page and no archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of git-lfs"),
        (b"7z\xbc\xaf'\x1c", "is packed by 7z, which is not read here"),
        (b"\xff\xd8 a picture", "is no .zip, .tar or .tar.gz archive"),
        (whole[: len(whole) // 2], "is no complete archive"),
        (whole[:60] + b"\xff\xff\xff" + whole[63:], "is no complete archive|can't be read"),
        (zipped[: len(zipped) // 2], "is no complete archive"),
        (zipped[:-8] + bytes(8), "is no complete archive"),
    ):
        (tmp_path / "packed").write_bytes(content)
        with pytest.raises(DataError, match=words):
            unpack(tmp_path / "packed", tmp_path / "out")
    with pytest.raises(DataError, match="there is no such file"):
        unpack(tmp_path / "missing.zip", tmp_path / "out")


def test_a_file_that_says_a_wrong_length(tmp_path):
    """The list says 2 bytes and the checksum of 2 bytes; 5,000 come out: no more than 2 are ever written."""
    content = bytearray(pack(tmp_path / "packed.zip", [("a", b"z" * 5000)]).read_bytes())
    row = content.rfind(b"PK\x01\x02")
    content[row + 16 : row + 20] = struct.pack("<L", zlib.crc32(b"zz"))
    content[row + 24 : row + 28] = struct.pack("<L", 2)
    (tmp_path / "packed.zip").write_bytes(content)
    with suppress(DataError):
        unpack(tmp_path / "packed.zip", tmp_path / "out")
    assert sum(map(len, files_below(tmp_path / "out").values())) <= 2


PARTS = st.sampled_from(
    ["..", ".", "", "a", "b", "C:", "~", "...", ".. ", "\\", "é", "\x00", "\u202e", "x" * 256, "__MACOSX"]
)
NAMES = st.lists(PARTS, min_size=1, max_size=5).map("/".join).filter(lambda name: "\0" not in name)


@given(st.lists(st.tuples(NAMES, st.binary(max_size=20)), max_size=4), st.sampled_from(WAYS))
@settings(max_examples=60, deadline=None)
def test_whatever_the_names_files_stay_inside(tmp_path_factory, members, way):
    """Either all files land inside the folder, or a ``DataError`` says why and none does."""
    top = tmp_path_factory.mktemp("unpacked")
    archive = pack(top / "packed", members, way)
    try:
        found = unpack(archive, top / "deep/out")
    except DataError:
        found = []
    landed = {path for path in top.rglob("*") if path.is_file()} - {archive}
    assert landed == set(found)
    assert all(path.resolve().is_relative_to(top / "deep/out") for path in landed)


@given(st.data(), st.sampled_from(WAYS))
@settings(max_examples=80, deadline=None)
def test_whatever_the_bytes_a_sentence_comes(tmp_path_factory, data, way):
    """Archives with bytes changed at random are unpacked or refused; nothing else is ever raised."""
    top = tmp_path_factory.mktemp("changed")
    content = bytearray(pack(top / "packed", [("a/b", bytes(range(99))), ("c", b"")], way).read_bytes())
    content = bytearray(gzip.decompress(content)) if way == "tar.gz" else content
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content), 1600) - 1))] = data.draw(st.integers(0, 255))
    (top / "packed").write_bytes(gzip.compress(content) if way == "tar.gz" else content)
    with suppress(DataError):
        unpack(top / "packed", top / "out", Bounds(total=2**20, files=10))
    assert {path.name for path in top.iterdir()} <= {"packed", "out"}


def test_sizes_for_people():
    assert [size_text(size) for size in (3, 2048, 1.5 * 2**20, 15.24 * 2**30)] == [
        "3 bytes",
        "2.0 KiB",
        "1.5 MiB",
        "15.2 GiB",
    ]
