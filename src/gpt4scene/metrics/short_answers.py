"""Short answers as the scorers of VSI-Bench and its kin take them: a first token, a whole text, a number in words.

Sources: vision-x-nyu/thinking-in-space @51e089c, EvolvingLMMs-Lab/lmms-eval @75571cf, diankun-wu/Spatial-MLLM
@9fc4738, OuyangKun10/SpaceR @b623af5; their rules are stated anew.
"""

from __future__ import annotations

import math
import re

_CHOICE = re.compile(r"[A-D]\.?")
_OPENS, _CLOSES = "<answer>", "</answer>"
_SIGNED = re.compile(r"-?\d+(?:\.\d+)?")
_UNSIGNED = re.compile(r"\d+(?:\.\d+)?")
_WORD = re.compile(r"[a-z]+")

_TO_TWENTY = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"),
    *("fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_TENS = {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_COUNTS = {word: number for number, word in enumerate(_TO_TWENTY, 1)} | _TENS | {"zero": 0}
_VALUES = _COUNTS | {"hundred": 100, "thousand": 1000}
_ONES = _COUNTS | {"a": 1, "an": 1}
"""Words that count, in the order in which SpaceR looks for them."""
_ONES_PLACES = {word: place for place, word in enumerate(_ONES)}
_ONES_WORD = re.compile(rf"\b(?:{'|'.join(_ONES)})\b")


def first_token(text: str) -> str:
    """Return what stands before the first space, without full stops at its end and white space around it.

    No other white space ends the token, and a text that begins with a space has the empty one.
    """
    return text.partition(" ")[0].rstrip(".").strip()


def stripped_token(text: str) -> str:
    """Return the first token of the stripped text, as ReVSI's scorers and torchmetrics_ext take it."""
    return first_token(text.strip())


def plain_number(text: str) -> float | None:
    """Return ``text`` as Python reads numbers (``1e1``, ``1_0``, digits of any script, ``nan``), else ``None``."""
    try:
        return float(text)
    except ValueError:
        return None


def whole_answer(text: str) -> str:
    """Return all of an answer in small letters, white space squeezed, without full stops at its end.

    Where there are ``<answer>`` tags it is what the last pair holds. This is Spatial-MLLM's way.
    """
    tagged, end = text, -1
    while (start := text.find(_OPENS, end + 1)) >= 0 and (end := text.find(_CLOSES, start)) >= 0:
        tagged = text[start + len(_OPENS) : end]
    return " ".join(tagged.split()).rstrip(".").lower()


def choice_or_all(text: str) -> str:
    """Return the capital A to D that the first token is, at most one full stop behind it, else all of ``text``.

    ``Answer:`` is taken out first. This is SpaceR's way.
    """
    text = text.replace("Answer:", "")
    first = text.partition(" ")[0].strip()
    return first.rstrip(".") if _CHOICE.fullmatch(first) else text.strip()


def first_number(text: str) -> float | None:
    """Return the first number anywhere in ``text``, in digits or English words, ``None`` where there is none.

    A run of words goes on over "and" and ends at any other word: "one hundred and five" is 105, "one two" is 3. This
    is lmms-eval's way since July 2026.
    """
    text = text.lower()
    digits, start, run = _SIGNED.search(text), -1, []
    for word in _WORD.finditer(text):
        if word[0] in _VALUES:
            start = word.start() if not run else start
            run.append(_VALUES[word[0]])
        elif run and word[0] != "and":
            break
    if digits and (not run or digits.start() < start):
        return float(digits[0])
    return _sum_of_words(run) if run else None


def counting_word_or_number(text: str) -> str | None:
    """Return as digits the counting word of ``text`` that comes first in the list of words, else its first number.

    The list goes from one to twenty, then thirty to ninety, zero, a and an, so that "a lamp, two beds" is 2. Signs are
    not read. ``None`` where there is neither. This is SpaceR's way.
    """
    text = text.strip().lower()
    words = _ONES_WORD.findall(text)
    if words:
        return str(_ONES[min(words, key=_ONES_PLACES.__getitem__)])
    found = _UNSIGNED.search(text)
    return found[0] if found else None


def _sum_of_words(values: list[int]) -> float:
    """Return what number words say together; infinite where it is beyond all numbers of 64 bits."""
    total = current = 0
    for value in values:
        if value == 100:
            current = max(current, 1) * 100
        elif value == 1000:
            total, current = total + max(current, 1) * 1000, 0
        else:
            current += value
    try:
        return float(total + current)
    except OverflowError:
        return math.inf
