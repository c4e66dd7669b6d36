"""Archives of strangers are unpacked here and nowhere else: inside their folder, within bounds, or not at all."""

from __future__ import annotations

import shutil
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO
from unicodedata import category

from gpt4scene.errors import DataError
from gpt4scene.files.archive_members import AGAIN, Member, OpenArchive, open_archive
from gpt4scene.files.whole import whole_file

_BLOCK = 2**20
_SMALL = 16 * 2**20
"""Below so many bytes unpacked no ratio is asked: a text of one line over and over is no attack."""


@dataclass(frozen=True)
class Bounds:
    """How much an archive may become.

    ``total``: bytes of all files together, ``None`` where the free disk is bound enough. ``files``: entries, folders
    counted. ``ratio``: unpacked bytes for each byte of the archive. ``seconds``: of the whole unpacking. ``spare``:
    bytes that stay free on the disk.
    """

    total: int | None = None
    files: int = 2_000_000
    ratio: float = 200.0
    seconds: float | None = None
    spare: int = 256 * 2**20


def unpack(
    archive: Path,
    folder: Path,
    bounds: Bounds | None = None,
    *,
    place: Callable[[PurePosixPath], PurePosixPath | None] | None = None,
    told: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Unpack a .zip, .tar or .tar.gz (its content tells which) into ``folder`` and return its files, in its order.

    Everything is checked before the first file is written. Each file appears whole or not at all, with plain
    permissions; one that is there already with the archive's length and checksum is kept. What desktops add
    (``__MACOSX``, ``.DS_Store``) is left out. ``place`` turns a name of the archive into one of ``folder``, ``None``
    leaves the file out. ``told`` is called with the bytes done and the bytes in all.

    Raises:
        DataError: the file is no archive or a broken one, an entry leads out of ``folder`` or is a link, a device or
            encrypted, two entries have one place, or a bound is passed.
    """
    bounds = bounds or Bounds()
    check = _clock(archive, bounds.seconds)
    free = free_bytes(folder) - bounds.spare
    most = free if bounds.total is None else min(free, bounds.total)
    with open_archive(archive, bounds.files, max(most, 0), check) as opened:
        planned = _plan(archive, opened.members, place)
        _check_size(archive, folder, opened, bounds, free)
        check()
        total, done = sum(member.size for member, _ in planned), 0
        for member, inside in planned:
            target = folder / inside
            if not _same(target, member, check):
                with opened.content(member) as source, whole_file(target) as partial:
                    _copy(archive, member, source, partial, check)
            done += member.size
            if told:
                told(done, total)
        return [folder / inside for _, inside in planned]


def _plan(
    archive: Path, members: Sequence[Member], place: Callable[[PurePosixPath], PurePosixPath | None] | None
) -> list[tuple[Member, PurePosixPath]]:
    """Return the files to unpack with their places; raise ``DataError`` for an entry that must not be."""
    planned: list[tuple[Member, PurePosixPath]] = []
    taken: dict[str, bool] = {}
    for member in members:
        if member.odd:
            raise DataError(f"{archive}: '{_shown(member.name)}' {member.odd}; nothing was unpacked")
        inside = _inside(archive, member)
        if inside is None or member.folder:
            continue
        inside = place(inside) if place else inside
        if inside is None:
            continue
        taken_by_file = [above for above in inside.parents[:-1] if taken.setdefault(str(above), False)]
        if taken_by_file or str(inside) in taken:
            raise DataError(f"{archive}: '{_shown(member.name)}' stands twice; nothing was unpacked")
        taken[str(inside)] = True
        planned.append((member, inside))
    return planned


def inner_path(name: str, origin: object) -> PurePosixPath:
    """Return a stranger's path of a file as one that stays in its folder; ``DataError`` naming ``origin`` if it can't.

    Backslashes count as slashes, so that a path means the same on every system.
    """
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if plain.startswith("/") or ".." in parts or ":" in (parts or [""])[0]:
        raise DataError(f"{origin}: '{_shown(name)}' would land outside its folder; nothing was unpacked")
    unreadable = any(category(letter) in ("Cc", "Cs") for letter in plain)
    if not parts or unreadable or len(plain.encode()) > 1024 or any(len(part.encode()) > 255 for part in parts):
        raise DataError(f"{origin}: '{_shown(name)}' is no name of a file; nothing was unpacked")
    return PurePosixPath(*parts)


def _inside(archive: Path, member: Member) -> PurePosixPath | None:
    """Return the entry's path below the folder, ``None`` for one that is left out."""
    if member.folder and member.name in (".", "./"):
        return None
    path = inner_path(member.name, archive)
    return None if path.parts[0] == "__MACOSX" or path.name == ".DS_Store" else path


def _check_size(archive: Path, folder: Path, opened: OpenArchive, bounds: Bounds, free: int) -> None:
    total, packed = sum(member.size for member in opened.members), max(archive.stat().st_size, 1)
    if len(opened.members) > bounds.files:
        raise DataError(f"{archive}: lists more than the {bounds.files} files that are allowed; nothing was unpacked")
    if bounds.total is not None and total > bounds.total:
        raise DataError(
            f"{archive}: unpacks to {size_text(total)}, and {size_text(bounds.total)} are allowed; nothing was unpacked"
        )
    if total > _SMALL and total > bounds.ratio * packed:
        raise DataError(
            f"{archive}: unpacks to {total / packed:.0f} times its size, as a made-up archive does; "
            f"{bounds.ratio:.0f} times are allowed, nothing was unpacked"
        )
    if total > free:
        raise DataError(
            f"{archive}: needs {size_text(total)} in {folder}, "
            f"where {size_text(max(free, 0))} are free; make room there"
        )


def _same(path: Path, member: Member, check: Callable[[], None]) -> bool:
    """Return whether ``path`` holds the entry already, as a checksum tells."""
    if member.crc is None or not path.is_file() or path.stat().st_size != member.size:
        return False
    crc = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            check()
            crc = zlib.crc32(block, crc)
    return crc == member.crc


def _copy(archive: Path, member: Member, source: IO[bytes], target: Path, check: Callable[[], None]) -> None:
    written = 0
    with target.open("wb") as sink:
        while block := source.read(_BLOCK):
            check()
            written += len(block)
            if written > member.size:
                break
            sink.write(block)
    if written != member.size:
        raise DataError(f"{archive}: '{_shown(member.name)}' is longer or shorter than the archive says; {AGAIN}")


def _clock(archive: Path, seconds: float | None) -> Callable[[], None]:
    end = None if seconds is None else time.monotonic() + seconds

    def check() -> None:
        if end is not None and time.monotonic() > end:
            raise DataError(f"{archive}: takes more than {seconds:.0f} seconds to unpack, which is the limit here")

    return check


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk that ``folder`` is, or will be, on."""
    return shutil.disk_usage(next(place for place in (folder, *folder.absolute().parents) if place.exists())).free


def _shown(name: str) -> str:
    """Return a stranger's name as a message can hold it."""
    text = name if name.isprintable() else name.encode("unicode_escape").decode()
    return text if len(text) <= 100 else f"{text[:100]}…"


def size_text(size: float) -> str:
    """Return a number of bytes for people: '512 bytes', '3.4 MiB', '15.2 GiB'."""
    for unit, step in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size:.0f} bytes"
