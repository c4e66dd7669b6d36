"""Where a video file must end by its own words, so that one that was cut off is told from a short one.

Looked at are Matroska and WebM (RFC 8794 and 9559), MP4 and MOV (ISO/IEC 14496-12), and AVI. Other forms,
such as MPEG streams, do not say how long they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def declared_end(path: Path) -> int | None:
    """Return the byte behind the last one that the file's outermost lengths name; None where none says so."""
    with path.open("rb") as file:
        start = file.read(12)
        if start.startswith(_EBML):
            return _end_of_segment(file)
        if start[:4] == b"RIFF" and start[8:] == b"AVI ":
            return _end_of_riff(file)
        return _end_of_boxes(file) if start[4:8] in (b"ftyp", b"styp", b"moov", b"wide", b"mdat", b"free") else None


def _end_of_segment(file: BinaryIO) -> int | None:
    file.seek(len(_EBML))
    header = _length(file)
    if header is None:
        return None
    file.seek(header, 1)
    if file.read(len(_SEGMENT)) != _SEGMENT:
        return None
    length = _length(file)
    return None if length is None else file.tell() + length


def _length(file: BinaryIO) -> int | None:
    """Return the next length of EBML: the zeros before its first 1 count further bytes; all ones are unknown."""
    first = file.read(1)
    more = 8 - first[0].bit_length() if first else 8
    if more > 7:
        return None
    value = int.from_bytes(bytes([first[0] & (0x7F >> more)]) + file.read(more), "big")
    return None if value == (1 << 7 * (more + 1)) - 1 else value


def _end_of_riff(file: BinaryIO) -> int | None:
    """Return the end of the last of the chunks, of which a file over 1 GB has several; None for one left open."""
    end, chunk = 0, b"RIFF\0\0\0\0"
    while chunk[:4] == b"RIFF" and len(chunk) == 8:
        file.seek(end)
        chunk = file.read(8)
        length = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"RIFF":
            if length in (0, 0xFFFFFFFF):
                return None
            end += 8 + length
    return end


def _end_of_boxes(file: BinaryIO) -> int:
    """Return the end of the last box; what follows the boxes is not looked at."""
    end = 0
    while True:
        file.seek(end)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if len(head) < 8 or not head[4:8].isalnum() or length == 0:  # a length of 0 is "to the end of the file"
            return end
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        end += max(length, 8)
