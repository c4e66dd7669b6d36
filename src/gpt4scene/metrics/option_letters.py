"""The letter or number that VLMEvalKit takes out of a free answer, for the spatial benchmarks that it scores.

Source: the rules of ``can_match_option`` and ``can_match_na`` at open-compass/VLMEvalKit @e8e78f0, stated anew so that
every step passes over the text once: a long answer never costs more than its length.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator

_ZERO_WIDTH = re.compile("[\u200b\u200c\u200d\ufeff]")
_LAST_LINES, _LAST_CHARACTERS = 6, 800

_OPENS = re.compile(r"<\s*answer\b", re.IGNORECASE)
_CLOSES = re.compile(r"<\s*/\s*answer\s*>", re.IGNORECASE)
_THINKS = (re.compile(r"</\s*think\s*>", re.IGNORECASE), re.compile(r"<\s*think\s*>", re.IGNORECASE))

_FIRST_LETTER = re.compile(r"\s*([A-J])", re.IGNORECASE)
_BEFORE_TAGS = tuple(
    re.compile(rf"(?<![A-Za-z])([A-F])\s*(?:[)\]}}）】]\s*)?</\s*{tag}\s*>", re.IGNORECASE)
    for tag in ("answer", "think")
)
_OPTION_LINE = re.compile(r"[*_>\-\s]*(?:option|选项)\s+[A-J]\s*[:：]", re.IGNORECASE)
_ONLY_LETTER = re.compile(r"[*_`>()（）\[\]【】]*\s*([A-Fa-f])(?:\s*[*_`()（）\[\]【】]+)?")
_LABELLED = re.compile(r"([A-F])\s*[.．:：)\]】、-]\s+", re.IGNORECASE)
_STANDING = re.compile(r"(?<![A-Za-z])([A-F])(?=[*_`}]*(?:$|[\s.,:;!?)\]】》」』，。；、：）]))")
_PHRASE = re.compile(
    r"(?:answer(?:\s*is)?|答案|结论|所以|因此|选择?)\s*(?:[:：>＝=]\s*)?(?:[(\[{（【]\s*)?([A-F])\b", re.IGNORECASE
)
_CAPITAL = re.compile(r"(?<![A-Za-z])[A-F](?![A-Za-z])")

_NUMBER = re.compile(r"[-+]?(?:\d*\.\d+|\d+)(?:[eE][-+]?\d+)?")
_TAGGED_NUMBER = re.compile(rf"\s*({_NUMBER.pattern})(?:[^\d<][^<]*)?<\s*/\s*answer\s*>", re.IGNORECASE)
_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_DIGITS = {word: str(number) for number, word in enumerate(_WORDS)}
_NUMBER_WORD = re.compile(rf"\b({'|'.join(_WORDS)})\b", re.IGNORECASE)


def option_letter(answer: str) -> str | None:
    """Return the letter that VLMEvalKit reads in ``answer``, A to F (a tagged one A to J); ``None`` for none.

    The first step that finds a letter decides: an answer tag that begins with one; a letter before a closing tag; the
    last lines after the thinking; the last lines of all; a phrase such as "answer is B"; the only capital of the text.
    """
    text = _ZERO_WIDTH.sub("", answer.strip())
    tail = text[-_LAST_CHARACTERS:]
    return (
        _tagged_letter(text)
        or next((found[1].upper() for pattern in _BEFORE_TAGS if (found := pattern.search(tail))), None)
        or _letter_of_lines(_after_thinking(text))
        or _letter_of_lines(tail)
        or ((found := _PHRASE.search(text)) and found[1].upper())
        or _only_capital(text)
    )


def same_option(answer: str, truth: str) -> bool:
    """Return whether VLMEvalKit reads the same letter in both; nothing in both is the same as well."""
    return option_letter(answer) == option_letter(truth)


def answer_number(answer: str) -> float | None:
    """Return the number that VLMEvalKit reads in ``answer``: a tagged one, else the last; ``None`` for none.

    Zero to twenty may be words. A text that is a Python list gives its first item; one that only looks like a list
    gives nothing. The result may be infinite.
    """
    if answer.strip().startswith("[") and answer.strip().endswith("]"):
        first = _first_item(answer)
        if first is None:
            return None
        answer = first
    text = _NUMBER_WORD.sub(lambda word: _DIGITS.get(word[0].lower(), word[0]), _ZERO_WIDTH.sub("", answer.strip()))
    for start in _tag_contents(text):
        found = _TAGGED_NUMBER.match(text, start)
        if found:
            return float(found[1])
    numbers = _NUMBER.findall(_after_thinking(text)) or _NUMBER.findall(text)
    return float(numbers[-1]) if numbers else None


def _tag_contents(text: str) -> Iterator[int]:
    """Yield where the contents of opening answer tags start, in their order and each once."""
    end = -1
    for opening in _OPENS.finditer(text):
        if opening.end() <= end:
            continue  # this one stands inside the last tag
        end = text.find(">", opening.end())
        if end < 0:
            return
        yield end + 1


def _tagged_letter(text: str) -> str | None:
    last_close = max((close.start() for close in _CLOSES.finditer(text)), default=-1)
    for start in _tag_contents(text):
        found = _FIRST_LETTER.match(text, start)
        if found and found.end() <= last_close:
            return found[1].upper()
    return None


def _after_thinking(text: str) -> str:
    """Return what stands after the last end, else after the last start, of thinking; else the whole text."""
    for pattern in _THINKS:
        ends = [found.end() for found in pattern.finditer(text)]
        if ends:
            return text[ends[-1] :].strip()
    return text


def _letter_of_lines(text: str) -> str | None:
    """Return the letter of the last of the final lines that has one; the list of the options is no answer."""
    for line in reversed(text.splitlines()[-_LAST_LINES:]):
        line = line.strip()
        if not line or _OPTION_LINE.match(line):
            continue
        found = _ONLY_LETTER.fullmatch(line) or _LABELLED.match(line)
        if found:
            return found[1].upper()
        standing = set(_STANDING.findall(line))
        if len(standing) == 1:
            return standing.pop()
    return None


def _only_capital(text: str) -> str | None:
    lines = (line for line in text.splitlines() if not _OPTION_LINE.match(line))
    capitals = {letter for line in lines for letter in _CAPITAL.findall(line)}
    return capitals.pop() if len(capitals) == 1 else None


def _first_item(text: str) -> str | None:
    """Return the first item of the Python list that ``text`` writes, all of it where it is empty, ``None`` for none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python remarks on odd escapes in the text
        try:
            items = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return None
    return str(items[0]) if isinstance(items, list) and items else text
