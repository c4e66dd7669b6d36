"""The part of METEOR's synonyms that given words can use, and the words themselves.

METEOR looks up every word of every pair in all of WordNet. Two words are synonyms where they share a set, so a set that
only one of the words has never matters. Without those, METEOR answers the same and takes a quarter less time.
"""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path

from gpt4scene.errors import WorkError

_FOLDER = "synonym"
_SETS, _BASES, _RELATIONS = "english.synsets", "english.exceptions", "english.relations"
_ENDINGS = (
    *(("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man")),
    *(("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    *(("er", ""), ("er", "e"), ("est", ""), ("est", "e")),
)
"""Endings of inflected words, and those of their bases (WordNet's "Morphy"): METEOR takes one of these bases."""
_PART = r"(?:[a-z0-9]+(?:\.[0-9]+)?|[a-z0-9]+-[a-z0-9]+|'[a-z]+|[a-z]+'[a-z]+|-[a-z]+-)"
_SYMBOL = re.compile(r"([!\"#$%()*+/:<=>?@\[\\\]^_{}~])")
_PLAIN = re.compile(_PART)


def normal(text: str, known: dict[str, str | None]) -> str | None:
    """Return ``text`` (tokens joined by spaces) as METEOR's ``-norm`` makes it; ``None`` where it has odd tokens.

    ``known`` remembers tokens from call to call. Plain are lower-case words and numbers, with one hyphen or apostrophe
    at most, and symbols between them. Found by comparing outputs.
    """
    made = []
    for token in filter(None, text.split(" ")):
        if token not in known:
            known[token] = _normal_token(token)
        made.append(known[token])
    return None if None in made else " ".join(made)


def _normal_token(token: str) -> str | None:
    parts = list(filter(None, _SYMBOL.sub(r" \1 ", token).split(" ")))
    if not all(_PLAIN.fullmatch(part) or _SYMBOL.fullmatch(part) for part in parts):
        return None
    return " ".join(map(_cut, parts))


def _cut(part: str) -> str:
    if part.startswith("'"):
        return part.replace("'", "' ")
    return part if part.startswith("-") else part.replace("-", " ").replace("'", " '")


def relevant_synonyms(jar: Path, words: Collection[str]) -> dict[str, bytes]:
    """Return the files of METEOR's folder of synonyms for texts of ``words`` alone: name -> content.

    ``jar`` is METEOR's program, which holds the whole ones. Raises ``WorkError`` where it does not.
    """
    try:
        with zipfile.ZipFile(jar) as archive:
            all_sets, all_forms = (archive.read(f"{_FOLDER}/{name}") for name in (_SETS, _BASES))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise WorkError(f"{jar}: holds no synonyms ({error}); install pycocoevalcap again") from error
    sets = dict(_pairs_of_lines(all_sets))
    irregular = [
        (base, found)
        for base, forms in _pairs_of_lines(all_forms)
        if (found := [form for form in forms.split() if form in words])
    ]
    bases = {word: {word, *_regular_bases(word)} & sets.keys() for word in words}
    for base, forms in irregular:
        for form in forms:
            bases[form] |= {base} & sets.keys()
    owners = Counter(
        chain.from_iterable({one for base in found for one in sets[base].split()} for found in bases.values())
    )
    shared = [
        (base, " ".join(one for one in sets[base].split() if owners[one] > 1))
        for base in sorted(set().union(*bases.values()))
    ]
    joined = [(base, " ".join(forms)) for base, forms in irregular]
    return {_SETS: _lines(shared), _BASES: _lines(joined), _RELATIONS: b""}


def _regular_bases(word: str) -> list[str]:
    return [word.removesuffix(ending) + base for ending, base in _ENDINGS if word.endswith(ending)]


def _pairs_of_lines(content: bytes) -> Iterator[tuple[str, str]]:
    lines = iter(content.decode().splitlines())
    return zip(lines, lines, strict=True)


def _lines(pairs: Iterable[tuple[str, str]]) -> bytes:
    return "".join(f"{first}\n{second}\n" for first, second in pairs).encode()
