"""The part of METEOR's paraphrase table that given texts can use.

METEOR takes longer to load its 5 million paraphrases than to score a whole benchmark. A paraphrase can only matter
where both of its phrases occur in the texts, so a table of those gives the same scores and loads at once. Spaces and
punctuation are taken out of texts and phrases alike before they are compared, so that it does not matter where METEOR
cuts a word such as "l-shaped"; a phrase too many does no harm.
"""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np

LONGEST = 7
"""Words of the longest phrase in the table."""
MOST_LETTERS = 65
"""Letters and digits of the longest phrase in the table."""
_KNOWN = bytes.fromhex("debe15af62753910")
"""Checksum and length (the end of the file) of the table that comes with METEOR 1.5."""
_BLOCK = 1 << 20
_EIGHT = 8
"""Bytes that are compared at once."""
_PIECE = re.compile(r"[^\W_]+")
_UNUSUAL = re.compile(rb"[^a-z0-9 ]")


class ParaphraseTable:
    """METEOR's own table, unpacked in the background while the caller does other work (280 MB of memory)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: list[_Part] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._unpack, daemon=True)
        self._thread.start()

    def _unpack(self) -> None:
        rest = b""
        try:
            for block in _blocks(self._path):
                text = rest + block
                part = _part(text)
                rest = text[part.end :]
                self._parts.append(part)
        except (OSError, ValueError, zlib.error) as error:
            self._error = error

    def relevant(self, texts: Iterable[str]) -> bytes | None:
        """Return the records whose phrases may both occur in ``texts``, as the gzip file that METEOR reads.

        ``None`` where the file is another one than METEOR 1.5's (or unreadable), for which this was not tried. The
        unpacked table is let go of: call once.
        """
        occurring = phrases(texts)
        self._thread.join()
        if self._error is not None:
            return None
        packer = zlib.compressobj(1, wbits=31)
        packed = [packer.compress(record) for record in self._records(occurring)]
        return b"".join([*packed, packer.flush()])

    def _records(self, occurring: set[bytes]) -> Iterator[bytes]:
        """Yield the records (probability, phrase, phrase; a line each) that ``occurring`` leaves; sorted by phrase."""
        self._parts.reverse()
        while self._parts:
            part = self._parts.pop()
            text, starts = part.text, part.starts
            for place, (first, last) in enumerate(zip(part.firsts, part.lasts, strict=True)):
                if not _occurs(text[first:last], occurring):
                    continue
                lines = text[starts[place] : starts[place + 1]].split(b"\n")
                for probability, phrase, other in zip(lines[0:-1:3], lines[1::3], lines[2::3], strict=True):
                    if _occurs(other, occurring):
                        yield b"%b\n%b\n%b\n" % (probability, phrase, other)


class _Part(NamedTuple):
    """Whole records, in groups that have the first phrase in common: where each begins, and its phrase.

    ``starts`` has one number more than there are groups, the end of the last.
    """

    text: bytes
    starts: list[int]
    firsts: list[int]
    lasts: list[int]

    @property
    def end(self) -> int:
        """Bytes of whole records."""
        return self.starts[-1]


def _part(text: bytes) -> _Part:
    """Return the whole records of ``text``, which begins with one; what follows them is left out of the groups.

    Neighbours are compared eight bytes at a time, all of them together and without holding Python's lock.
    """
    line_L = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n"))
    line_L = line_L[: len(line_L) // 3 * 3]
    first_N, last_N = line_L[0::3] + 1, line_L[1::3]
    start_N = np.concatenate([[0], line_L[2::3] + 1])
    eight_T = np.ndarray((len(text) + 1,), "<u8", text + bytes(_EIGHT), 0, (1,))
    length_N = last_N - first_N
    same_N = np.zeros(len(first_N), dtype=bool)
    same_N[1:] = length_N[1:] == length_N[:-1]
    for done in range(0, int(length_N.max(initial=0)), _EIGHT):
        later = np.flatnonzero(same_N & (length_N > done))
        unused = np.maximum(_EIGHT - (length_N[later] - done), 0).astype(np.uint64) * np.uint64(8)  # bits past the end
        differing = (eight_T[first_N[later] + done] ^ eight_T[first_N[later - 1] + done]) << unused
        same_N[later[differing != 0]] = False
    new = np.flatnonzero(~same_N)
    starts = [*start_N[new].tolist(), int(start_N[-1])]
    return _Part(text, starts, first_N[new].tolist(), last_N[new].tolist())


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield the unpacked table piece by piece; raise ``ValueError`` for another table than the known one."""
    with open(path, "rb") as file:
        file.seek(-len(_KNOWN), 2)
        if file.read() != _KNOWN:
            raise ValueError(f"{path}: is not the table of METEOR 1.5")
        file.seek(0)
        inflater = zlib.decompressobj(31)
        while block := file.read(_BLOCK):
            yield inflater.decompress(block)
        yield inflater.flush()


def _occurs(phrase: bytes, occurring: set[bytes]) -> bool:
    """Return whether ``phrase`` may occur; phrases with other characters than letters and digits always may."""
    return phrase.replace(b" ", b"") in occurring or _UNUSUAL.search(phrase) is not None


def phrases(texts: Iterable[str]) -> set[bytes]:
    """Return every run of up to ``LONGEST`` words in ``texts`` without spaces and punctuation.

    A run may start and end inside a word, at its punctuation. Runs of more letters than any phrase has are left out, so
    that the work grows with the length of a text and not with its square.
    """
    windows: set[tuple[str, ...]] = set()
    for text in set(texts):
        words = text.lower().split()
        windows.update(tuple(words[start : start + LONGEST]) for start in range(len(words)))
    found: set[str] = set()
    cut: dict[str, list[str]] = {}
    for window in windows:
        for word in window:
            if word not in cut:  # a letter too many makes a run too long, however many more there are
                cut[word] = [piece[: MOST_LETTERS + 1] for piece in _PIECE.findall(word)]
        pieces = [piece for word in window for piece in cut[word]]
        for start in range(len(cut[window[0]])):
            found.update(accumulate(pieces[start : start + MOST_LETTERS]))
    return {run.encode(errors="replace") for run in found if len(run) <= MOST_LETTERS}
