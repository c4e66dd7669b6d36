"""The part of METEOR's paraphrase table that given texts can use.

METEOR takes longer to load its 5 million paraphrases than to score a whole benchmark. A paraphrase can only matter
where both of its phrases occur in the texts, so a table of those gives the same scores and loads at once. Which words
METEOR makes of odd texts is not known here: words are taken so that all of those are among them, since a phrase too
many does no harm.
"""

from __future__ import annotations

import re
import threading
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

LONGEST = 7
"""Words of the longest phrase in the table."""
_KNOWN = bytes.fromhex("debe15af62753910")
"""Checksum and length (the end of the file) of the table that comes with METEOR 1.5."""
_RECORD = 3
"""Lines of a record."""
_WORD = re.compile(r"[a-z0-9ß-öø-ž]+|[^\x00-\x7f\s]")
_SINGLE_DOT = re.compile(r"(?<!\.)\.(?!\.)")


class ParaphraseTable:
    """METEOR's own table, unpacked in the background while the caller does other work (350 MB of memory)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: SortedRecords | None = None
        self._thread = threading.Thread(target=self._unpack, daemon=True)
        self._thread.start()

    def _unpack(self) -> None:
        with suppress(OSError, zlib.error):
            packed = self._path.read_bytes()
            if packed[-len(_KNOWN) :] == _KNOWN:
                self._records = SortedRecords(zlib.decompress(packed, 31, int.from_bytes(_KNOWN[4:], "little")))

    def relevant(self, texts: Iterable[str]) -> bytes | None:
        """Return the records whose phrases may both occur in ``texts``, as the gzip file that METEOR reads.

        ``None`` where the file is another one than METEOR 1.5's (or unreadable), for which this was not tried. The
        unpacked table is let go of: call once.
        """
        different = {tuple(words_of(text)) for text in texts}
        self._thread.join()
        records, self._records = self._records, None
        if records is None:
            return None
        packer = zlib.compressobj(1, wbits=31)
        return b"".join([*map(packer.compress, records.among(different)), packer.flush()])


class SortedRecords:
    """Records (probability, phrase, phrase; a line each) in the order of their first phrases, and a way to find some.

    A place about every ``size`` bytes is remembered, so that little has to be looked through for a phrase.
    """

    def __init__(self, text: bytes, size: int = 1 << 12) -> None:
        self._text = text
        self._starts = [0, *_record_starts(text, size), len(text)]
        self._firsts = [_second_line(text, start) for start in self._starts[:-1]]

    def among(self, texts: Collection[Sequence[str]]) -> Iterator[bytes]:
        """Yield the records whose phrases may both occur in ``texts`` (words of each): the first one does."""
        steps = {step for words in texts for step in [*words, *map(" ".join, pairwise(words))]}
        for phrase in sorted(self._begun(texts)):
            yield from self._of(phrase, steps)

    def _begun(self, texts: Iterable[Sequence[str]]) -> list[str]:
        """Return the runs of words in ``texts`` with which a phrase may begin, each once."""
        known: dict[str, bool] = {}
        for words in texts:
            for start in range(len(words)):
                run = ""
                for word in words[start : start + LONGEST]:
                    run = f"{run} {word}" if run else word
                    if run not in known:
                        known[run] = self._begins(run)
                    if not known[run]:
                        break
        return [run for run, begun in known.items() if begun]

    def _begins(self, run: str) -> bool:
        key = run.encode()
        after = bisect_left(self._firsts, key)
        if after < len(self._firsts) and self._firsts[after].startswith(key):
            return True
        place = self._starts[max(after - 1, 0)], self._starts[after]
        return any(self._text.find(b"\n%b%b" % (key, end), *place) >= 0 for end in (b" ", b"\n"))

    def _of(self, phrase: str, steps: set[str]) -> Iterator[bytes]:
        """Yield the records whose first phrase is ``phrase``, and whose other one is made of ``steps``.

        ``steps`` are the words, and the pairs of neighbours, that occur.
        """
        key = phrase.encode()
        first = max(bisect_left(self._firsts, key) - 1, 0)
        place = self._starts[first], self._starts[bisect_right(self._firsts, key)]
        if self._text.find(b"\n%b\n" % key, *place) < 0:
            return
        lines = self._text[slice(*place)].split(b"\n")
        ones, others = lines[1::_RECORD], lines[2::_RECORD]
        for record in range(bisect_left(ones, key), bisect_right(ones, key)):
            words = others[record].decode().split(" ")
            if steps.issuperset(words) and steps.issuperset(map(" ".join, pairwise(words))):
                yield b"%b\n%b\n%b\n" % (lines[_RECORD * record], key, others[record])


def _record_starts(text: bytes, size: int) -> Iterator[int]:
    """Yield where records begin within ``text``, one about every ``size`` bytes."""
    lines = last = 0
    for place in range(size, len(text), size):
        lines += text.count(b"\n", place - size, place)
        start = place
        for _ in range(_RECORD - lines % _RECORD):
            start = text.find(b"\n", start) + 1
        if last < start < len(text):
            yield start
            last = start


def _second_line(text: bytes, start: int) -> bytes:
    place = text.find(b"\n", start) + 1
    return text[place : text.find(b"\n", place)]


def words_of(text: str) -> list[str]:
    """Return the words of ``text`` that a phrase of the table may match, in order.

    METEOR leaves dots out of ``u.s.`` but not of ``3.5``, cuts ``l-shaped`` in two, and so on. No phrase of the table
    has an ASCII character that is neither letter nor digit, so it is enough to cut there and to leave out single dots.
    """
    return _WORD.findall(_SINGLE_DOT.sub("", text.lower()))
