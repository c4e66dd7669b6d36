"""Exact match of short answers, and the cleaning of texts before it.

The cleaning follows the rules that the public scorer took from LEO (embodied-generalist, ``data/data_utils.py``);
docs/scores.md lists them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBERS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_SPELLING = {
    "letf": "left",
    "let": "left",
    "tehre": "there",
    "rigth": "right",
    "rght": "right",
    "behine": "behind",
    "tv": "TV",
    "chai": "chair",
    "wasing": "washing",
    "waslked": "walked",
    "oclock": "o'clock",
    "none": "zero",
    "23": "twenty-three",
} | {str(number): word for number, word in enumerate(_NUMBERS)}
_WORD = re.compile(r"\w+", re.ASCII)
_SPACES = re.compile(r" {2,}")
_UNWANTED = re.compile(r"[^a-zA-Z0-9,'\s\-:]+")
_O_CLOCK = re.compile(r"\bo' +clock\b")
_GLUED_DIGIT = re.compile(r"\b([a-zA-Z]+)[0-9]\b")
_ARTICLES = tuple(re.compile(rf"\b{article} ([a-zA-Z]+)") for article in ("a", "an", "the"))
_BACKWARDS = re.compile(r"\bbackwards\b")


def trim(answer: str) -> str:
    """Return ``answer`` without one trailing full stop and with a small first letter; one character stays as it is."""
    if len(answer) <= 1:
        return answer
    answer = answer.removesuffix(".")
    return answer[0].lower() + answer[1:]


def clean(answer: str) -> str:
    """Return ``answer`` cleaned as the published figures do: spelling, number words, articles, stray characters.

    Only the space character is trimmed (also before a line break that ends the text) and squeezed; other white space
    stays. Applying it twice changes nothing on ordinary answers; ``tv1`` (first ``tv``, then ``TV``) and ``a a chair``
    are exceptions of the published rules.
    """
    answer = answer.lower()
    # Written out, since the pattern " +$" takes the square of the time where many spaces do not end the text.
    text = answer[:-1].rstrip(" ") + "\n" if answer.endswith("\n") else answer.rstrip(" ")
    text = _SPACES.sub(" ", text.lstrip(" "))
    text = _UNWANTED.sub("", text)
    text = _WORD.sub(lambda match: _SPELLING.get(match[0], match[0]), text)
    text = _O_CLOCK.sub("o'clock", text)
    text = _GLUED_DIGIT.sub(r"\1", text)
    for article in _ARTICLES:
        text = article.sub(r"\1", text)
    return _BACKWARDS.sub("backward", text)


def exact(answer: str, references: Sequence[str]) -> bool:
    """Return whether ``answer`` is one of ``references``; an empty answer never is."""
    return bool(answer) and answer in references


def says_something(cleaned: str) -> bool:
    """Return whether anything but white space is left of an answer once it is cleaned: of ``? !`` nothing is."""
    return bool(cleaned.strip())


def strictly_refined(answer: str, references: Sequence[str]) -> bool:
    """Return whether the words of ``answer`` stand in a reference, whole and in their order, or the other way around.

    ``refined`` compares letters: to it, ``a`` is part of ``table``, and an answer of white space part of everything.
    Here no words are part of nothing. Answer and references are cleaned alike.
    """
    said = f" {' '.join(answer.split())} "
    wanted = [f" {' '.join(text.split())} " for text in references]
    return bool(said.strip()) and any(text.strip() and (said in text or text in said) for text in wanted)


def refined(answer: str, references: Sequence[str]) -> bool:
    """Return whether ``answer`` and a reference contain one another once white space is removed; empty never does."""
    return bool(answer) and contained(answer, references)


def contained(answer: str, references: Sequence[str]) -> bool:
    """Return the same, but for an empty answer, which is part of every reference: some public scorers count so."""
    if answer in references:
        return True
    bare = "".join(answer.split())
    return any(bare in other or other in bare for other in ("".join(text.split()) for text in references))


def strictly_exact(answer: str, references: Sequence[str]) -> bool:
    """Return whether ``answer`` is one of ``references`` and says something."""
    return says_something(answer) and exact(answer, references)


def strict_matches(cleaned: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, list[bool]]:
    """Return which of the ``cleaned`` answers are right, for each strict figure: references are cleaned as well.

    An answer that says nothing is right in none of them.
    """
    wanted = [[clean(trim(text)) for text in texts] for texts in references]
    pairs = list(zip(cleaned, wanted, strict=True))
    return {
        "strict EM1": [strictly_exact(answer, texts) for answer, texts in pairs],
        "strict EM1_refined": [strictly_refined(answer, texts) for answer, texts in pairs],
    }
