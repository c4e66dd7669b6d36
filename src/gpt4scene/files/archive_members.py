"""What a .zip, .tar or .tar.gz lists and holds, read without trust in what it says about itself.

Lists are read within bounds: neither a list of millions of entries nor a compressed stream that never ends gets far.
"""

from __future__ import annotations

import gzip
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gpt4scene.errors import DataError

AGAIN = "remove it and fetch it again"
_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_ROW = 512
"""Bytes that a zip's list may take for each entry that is allowed; a usual one takes 100 to 200."""
_AT_ONCE = 4 * 2**20
"""The most that ``tarfile`` may ask for in one go; only a made-up header asks for more."""


@dataclass(frozen=True)
class Member:
    """One entry of an archive: ``name`` as it is written there, ``size`` in bytes when unpacked.

    ``crc`` is the checksum of its content, where the archive has one. ``folder`` is true for a folder. ``odd`` says
    why the entry can't be taken, in the form "is a link".
    """

    name: str
    size: int
    crc: int | None
    folder: bool
    odd: str | None
    entry: Any


@dataclass(frozen=True)
class OpenArchive:
    """An archive that is open: ``members`` in its order, and ``content(member)``, a file of what a member holds."""

    members: list[Member]
    content: Callable[[Member], IO[bytes]]


@contextmanager
def open_archive(archive: Path, most_files: int, most_bytes: int, check: Callable[[], None]) -> Iterator[OpenArchive]:
    """Give the archive, open; which kind it is, its first bytes tell.

    ``most_files`` and ``most_bytes`` bound what is listed; ``check`` is called now and then and may raise. Raises
    ``DataError`` for a file that is no archive, is broken, or lists more.
    """
    try:
        with archive.open("rb") as file:
            start = file.read(512)
            file.seek(0)
            if start[:4] == b"PK\x03\x04" or start[:4] == _END:
                with _zip(file, archive, most_files) as found:
                    yield found
            elif start[:2] == b"\x1f\x8b":
                with gzip.open(file) as unzipped:
                    yield _tar(_Bounded(unzipped, archive, most_bytes, check), archive, most_files)
            elif start[257:262] == b"ustar":
                yield _tar(_Bounded(file, archive, most_bytes, check), archive, most_files)
            else:
                raise DataError(f"{archive}: {_what(start)}")
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{archive}: there is no such file") from None
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, struct.error) as error:
        raise DataError(f"{archive}: is no complete archive ({error}); {AGAIN}") from None
    except (ValueError, NotImplementedError, RuntimeError, OverflowError) as error:
        raise DataError(f"{archive}: is an archive that can't be read ({error}); pack it again") from None


def _what(start: bytes) -> str:
    """Say what a file is that is no archive we read."""
    if not start.strip():
        return f"is empty; {AGAIN}"
    if start.lstrip()[:1] == b"<":
        return "is a web page and no archive: a proxy or a log-in page has answered; open the address in a browser"
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of git-lfs and no archive; fetch it with 'git lfs pull' or from the model hub"
    packed = {b"7z\xbc\xaf": "7z", b"Rar!": "rar", b"\xfd7zX": "xz", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd"}
    for mark, name in packed.items():
        if start.startswith(mark):
            return f"is packed by {name}, which is not read here; unpack it yourself, or pack it as .zip or .tar.gz"
    return f"is no .zip, .tar or .tar.gz archive; {AGAIN}"


@contextmanager
def _zip(file: IO[bytes], archive: Path, most_files: int) -> Iterator[OpenArchive]:
    listed = _length_of_list(file)
    if listed > most_files * _ROW + 2**16:
        raise DataError(f"{archive}: lists more than the {most_files} files that are allowed; nothing was unpacked")
    with zipfile.ZipFile(file) as opened:
        if any(info.header_offset < 0 for info in opened.infolist()):
            raise zipfile.BadZipFile("an entry that begins before the file")
        members = [
            Member(info.filename, info.file_size, info.CRC, info.filename.endswith("/"), _odd_in_zip(info), info)
            for info in opened.infolist()
        ]
        yield OpenArchive(members, lambda member: opened.open(member.entry))


def _length_of_list(file: IO[bytes]) -> int:
    """Return the bytes of a zip's list of entries, which ``zipfile`` reads whole; where the end is missing, 0."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 22))
    end, at = file.read(22), size - 22
    if not (end[:4] == _END and end[-2:] == b"\0\0"):
        first = max(0, size - 22 - 2**16)
        file.seek(first)
        tail = file.read()
        found = tail.rfind(_END)
        end, at = tail[found : found + 22], first + found
        if found < 0 or len(end) < 22:
            return 0
    if at >= 76:
        file.seek(at - 76)
        record = file.read(76)
        if record[56:60] == _LOCATOR64 and record[:4] == _END64:
            return struct.unpack("<Q", record[40:48])[0]
    return struct.unpack("<L", end[12:16])[0]


def _odd_in_zip(info: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.flag_bits & 1:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed by a method other than deflate"
    return None if kind in (0, stat.S_IFREG, stat.S_IFDIR) else "is a link or a device"


class _Bounded:
    """A file, read forwards and by ``seek``, that ends the work where more than ``most`` bytes have come out of it."""

    def __init__(self, file: Any, archive: Path, most: int, check: Callable[[], None]) -> None:
        self._file, self._archive, self._most, self._check = file, archive, most, check

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _AT_ONCE:
            raise DataError(f"{self._archive}: has a header of {size} bytes, which no usual archive has; {AGAIN}")
        content = self._file.read(size)
        self._pass(self._file.tell())
        return content

    def seek(self, place: int, whence: int = 0) -> int:
        assert whence == 0
        while (here := self._file.tell()) < place:
            self._pass(min(here + _AT_ONCE, place))
            if self._file.seek(min(here + _AT_ONCE, place)) == here:
                return here  # the end of the file
        return self._file.seek(place) if self._file.tell() > place else self._file.tell()

    def tell(self) -> int:
        return self._file.tell()

    def _pass(self, place: int) -> None:
        self._check()
        if place > self._most + 2**20:  # headers and the zeros at the end
            raise DataError(f"{self._archive}: unpacks to more than is allowed; nothing more was unpacked")


def _tar(file: Any, archive: Path, most_files: int) -> OpenArchive:
    opened = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 (its file is closed by the caller)
    members = []
    for info in opened:
        if info.size < 0:
            raise tarfile.ReadError("a size below zero")
        members.append(Member(info.name, info.size, None, info.isdir(), _odd_in_tar(info), info))
        if len(members) > most_files:
            raise DataError(f"{archive}: lists more than the {most_files} files that are allowed; nothing was unpacked")
    while file.read(_AT_ONCE):
        pass  # what was compressed has its checksum at the end

    def content(member: Member) -> IO[bytes]:
        found = opened.extractfile(member.entry)
        if found is None:
            raise tarfile.ReadError(f"'{member.name}' has no content")
        return found

    return OpenArchive(members, content)


def _odd_in_tar(info: tarfile.TarInfo) -> str | None:
    return None if (info.isreg() and not info.issparse()) or info.isdir() else "is a link or a device"
