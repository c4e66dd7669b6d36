"""Penn Treebank tokens without Java: our own rules for what Stanford's tokenizer 3.4.1 does to annotation texts.

Found by comparing outputs, not translated: every rule below states what that program was seen to do. Only what survives
the removal of punctuation has to agree, so the direction of quotes, for example, is of no interest.
"""

from __future__ import annotations

import re

_LETTER = r"[^\W\d_]"
_ALNUM = r"[A-Za-z0-9]"
_NAME = rf"{_LETTER}(?:{_LETTER}|\d)*"
_HYPHENED = rf"{_ALNUM}[A-Za-z0-9.,]*(?:-(?:{_LETTER}(?:\.{_LETTER})+\.|{_ALNUM}+))+"
_AUXILIARY = r"(?i:[smd]|ll|re|ve)(?![A-Za-z])"
_PREFIXED = rf"(?:[dDoOlL]'{_ALNUM})?{_ALNUM}+"

_ANYWHERE = (
    "al ala apr ariz assn aug bhd bldg blvd bros calif co colo conn corp cos dec esq est etc ext feb fla fri ga inc "
    "ind intl jan jr jul jun kans ltd mar md minn mon mont neb nev nov oct okla penn plc pte pty rd sep sept seq sq sr "
    "tel tenn thu thurs tue tues univ wed wis"
)
_BEFORE_NO_LETTER = (
    "adm atty ave brig capt cf cmdr col cpl dept det dr elec ft gen gov hon invt lieut lt maj messrs mfg mme mr mrs ms "
    "mt natl ph pres prof pvt rep rev sen sgt spc st supt vs"
)
_FILE_ENDS = "c class cpp doc exe gif gz h htm html jar java jpeg jpg mov mp3 pdf php png ppt py tar txt xml zip"
_BEFORE_NUMBER = "art ca fig no nos op pp prop"


def _words(text: str) -> str:
    return "|".join(text.split())


_PATTERNS = {
    "address": r"https?://[^\s\"<>|()]+[^\s\"<>|.!?(){},-]",
    "tag": r"</?[A-Za-z][\w:.-]*(?: +[A-Za-z][\w:.-]*(?: *= *(?:\"[^\"]*\"|'[^']*'|[^ <>\"']+))?)* */?>",
    "mark-up": r"<[!?][A-Za-z-][^>]*>",
    "fraction": r"(?:\d{1,4}[- ])?\d{1,4}/\d{1,4}",
    "phone": r"(?:\(\d{2,3}\) ?|\+{0,2}(?:\d{2,4}[- ])?\d{2,4}[- ])\d{3,4}[- ]?\d{3,5}",
    "date": r"\d{1,2}[-/]\d{1,2}[-/]\d{2,4}",
    "number": r"[+-]?(?:\d*(?:[.:,]\d+)+|\d+)",
    "name": rf"{_NAME}(?:[.!?]{_NAME})*",
    "slashed": rf"{_ALNUM}+(?:-[A-Za-z]+){{0,2}}(?:/{_ALNUM}+(?:-[A-Za-z]+){{0,2}}){{1,2}}",
    "file": rf"{_ALNUM}+\.(?i:{_words(_FILE_ENDS)})(?=\s|$|[.?!,])",
    "hyphened": _HYPHENED,
    "joined": rf"{_PREFIXED}(?:[-_]{_PREFIXED})*",
    "capitals": r"[A-Z]+(?:[&+][A-Z]+)+",
    "hash tag": r"#[A-Za-z]+",
    "notes": r"[CFcf]#|[Cc]\+\+",
    "currency": r"[A-Z]+\$",
    "stopped word": rf"(?:{_NAME}(?:[.!?]{_NAME})*|{_PREFIXED}(?:[-_]{_PREFIXED})*|{_HYPHENED})\.(?=[,;:])",
    "initials": rf"{_LETTER}(?:\.{_LETTER})*\.",
    "title": rf"(?i:{_words(_BEFORE_NO_LETTER)})\.",
    "numbered": rf"(?i:{_words(_BEFORE_NUMBER)})\.(?= ?\d)",
    "foreign": rf"(?:[A-HJ-XZn]'(?!{_AUXILIARY}){_LETTER}|(?i:qu|jusqu)'(?!{_AUXILIARY})){_LETTER}+|(?i:c'est|c'mon)",
    "vowels": r"[A-Za-z]+[aeiouyAEIOUY]'[aeiouA-Z][A-Za-z]*",
    "clipped": rf"(?i:[djlny]|ol)'(?!{_AUXILIARY})",
    "ma'am": r"(?i:ma'am|n'er|ne'er)",
    "auxiliary": rf"'{_AUXILIARY}",
    "leading clip": r"(?i:'em|'tis|'twas|'cause|'till?|'n(?![A-Za-z0-9/])'?)|'[2-9]0s|'\d\d(?=\s|$)",
    "cries": r"[!?]+",
    "dots": r"\.{3,}|\.(?: \.){2,}",
    "dashes": r"-{2,}|[\u2013\u2014]",
    "bars": r"_+|#{2,}",
    "quotes": r"``|''|[`'\"\u2018\u2019\u201c\u201d]",
    "smiley": r"[<>]?[:;=]['-]?[()DPdp](?![A-Za-z0-9])",
    "other": r"\S",
}
_SCANNERS = tuple((kind, re.compile(pattern)) for kind, pattern in _PATTERNS.items())
_ABBREVIATION = re.compile(rf"(?i:{_words(_ANYWHERE)})\.")
_AUXILIARY_START = re.compile(r"'(?i:[smd]|ll|re|ve)")
_PLAIN = re.compile(r"[A-Za-z]+(?= |$)")
_NOT = re.compile(r"([A-Za-z]*[A-MO-Za-mo-z])[nN]'[tT](?![A-Za-z])")
_SPLIT = {
    "cannot": ["can", "not"],
    "gonna": ["gon", "na"],
    "gotta": ["got", "ta"],
    "wanna": ["wan", "na"],
    "lemme": ["lem", "me"],
    "gimme": ["gim", "me"],
}
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_RENAMED = {
    '"': "''",
    "\u2018": "`",
    "\u2019": "'",
    "\u201c": "``",
    "\u201d": "''",
    "\u2013": "--",
    "\u2014": "--",
    "\u2026": "...",
    "\u00a3": "#",
    "\u20ac": "$",
    "\u00a2": "cents",
    "\u00bc": "1/4",
    "\u00bd": "1/2",
    "\u00be": "3/4",
}


def tokenize(text: str) -> str:
    """Return the lower-case tokens of one line, joined by spaces, punctuation included."""
    text = re.sub(r"(?<=[A-Za-z])\u2019(?=[A-Za-z])", "'", text)
    tokens: list[str] = []
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        plain = _PLAIN.match(text, place)
        if plain:
            word = plain[0].lower()
            tokens += _SPLIT.get(word, [word])
            place = plain.end()
            continue
        found, place = _next(text, place)
        tokens += found
    return " ".join(tokens)


def _next(text: str, place: int) -> tuple[list[str], int]:
    """Return the tokens that start at ``place`` and where they end: the longest match of all patterns.

    An abbreviation wins over what reaches at most two characters further.
    """
    kind, end = "", place
    for name, scanner in _SCANNERS:
        match = scanner.match(text, place)
        if match and match.end() > end:
            kind, end = name, match.end()
    negation = _NOT.match(text, place)
    if negation and negation.end() > end:
        return [negation[1].lower(), "n't"], negation.end()
    abbreviation = _ABBREVIATION.match(text, place)
    if abbreviation and end <= abbreviation.end() + 2:
        return [abbreviation[0].lower()], abbreviation.end()
    token = text[place:end].lower()
    if kind == "leading clip" and token in ("'tis", "'twas"):
        return ["'t"], place + 2
    if token in _SPLIT and _AUXILIARY_START.match(text, end):
        return [token], end
    return _spelled(kind, token), end


def _spelled(kind: str, token: str) -> list[str]:
    if token in _SPLIT:
        return _SPLIT[token]
    if kind == "dots":
        return ["..."]
    if kind == "dashes":
        return ["--" if len(token) < 5 else token]
    if kind in ("fraction", "phone"):
        return [token.replace(" ", "\u00a0")]
    if kind == "smiley" or token in _BRACKETS:
        return ["".join(_BRACKETS.get(character, character) for character in token)]
    return [_RENAMED.get(token, token)]
