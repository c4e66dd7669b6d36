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
from pathlib import Path

LONGEST = 7
"""Words of the longest phrase in the table."""
MOST_LETTERS = 65
"""Letters and digits of the longest phrase in the table."""
_KNOWN = bytes.fromhex("debe15af62753910")
"""Checksum and length (the end of the file) of the table that comes with METEOR 1.5."""
_BLOCK = 1 << 20
_PIECE = re.compile(r"[^\W_]+")
_UNUSUAL = re.compile(rb"[^a-z0-9 ]")


class ParaphraseTable:
    """METEOR's own table, unpacked in the background while the caller does other work (270 MB of memory)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._blocks: list[bytes] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._unpack, daemon=True)
        self._thread.start()

    def _unpack(self) -> None:
        try:
            self._blocks = list(_blocks(self._path))
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
        rest, last, wanted = b"", b"", False
        self._blocks.reverse()
        while self._blocks:
            lines = (rest + self._blocks.pop()).split(b"\n")
            whole = (len(lines) - 1) // 3 * 3
            rest = b"\n".join(lines[whole:])
            for probability, phrase, other in zip(lines[0:whole:3], lines[1:whole:3], lines[2:whole:3], strict=True):
                if phrase != last:
                    last, wanted = phrase, _occurs(phrase, occurring)
                if wanted and _occurs(other, occurring):
                    yield b"%b\n%b\n%b\n" % (probability, phrase, other)


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
    found: set[str] = set()
    for text in set(texts):
        words = [_PIECE.findall(word) for word in text.lower().split()]
        pieces = [(place, piece) for place, word in enumerate(words) for piece in word]
        for start, (first, _) in enumerate(pieces):
            run = ""
            for index in range(start, min(start + MOST_LETTERS, len(pieces))):
                place, piece = pieces[index]
                if place - first >= LONGEST or len(run) + len(piece) > MOST_LETTERS:
                    break
                run += piece
                found.add(run)
    return {run.encode(errors="replace") for run in found}
