"""Penn Treebank tokens without Java: our own rules for what Stanford's tokenizer 3.4.1 does to annotation texts.

Found by comparing outputs, not translated: every rule below states what that program was seen to do. Only what survives
the removal of punctuation has to agree, so the direction of quotes, for example, is of no interest.
"""

from __future__ import annotations

import re

_FAR = 250
"""How far a pattern looks for a character that may not come: one that looks to the end takes the square of the time."""

_LETTER = r"[^\W\d_\u00b9\u00b2\u00b3\u00bc-\u00be]"
_ALNUM = rf"(?:{_LETTER}|[0-9])"
_NAME = rf"{_LETTER}(?:{_LETTER}|\d)*"
_HYPHENED = rf"{_ALNUM}[A-Za-z0-9.,]{{0,{_FAR}}}(?:-(?:{_LETTER}(?:\.{_LETTER})+\.|{_ALNUM}+))+"
_AUXILIARY = r"(?i:[smd]|ll|re|ve)(?![A-Za-z])"
_APOSTROPHE = "['`\u2018]"
_PREFIXED = rf"(?:[dDoOlL]{_APOSTROPHE}{_ALNUM})?{_ALNUM}+"

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
    "mark-up": rf"<[!?][A-Za-z-][^>]{{0,{_FAR}}}>",
    "entity": r"(?i:&(?:amp|lt|gt|nbsp|quot|apos);)|&#\d{1,4};",
    "mail": (
        rf"[A-Za-z0-9][^\s\"<>|(){{}}]{{0,{_FAR}}}@(?:[^\s\"<>|(){{}}.]+\.)*[^\s\"<>|(){{}}.]+|@[A-Za-z_][A-Za-z_0-9]*"
    ),
    "degree": r"(?i:ph\.d)\.",
    "stars": r"\*{2,}|@{2,}|<<|>>|\^_\^",
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
    "foreign": rf"(?:[A-HJ-XZn]{_APOSTROPHE}(?!{_AUXILIARY}){_LETTER}|(?i:qu|jusqu)'(?!{_AUXILIARY})){_LETTER}+",
    "contracted": r"(?i:c'est|c'mon)",
    "vowels": r"[A-Za-z]+[aeiouyAEIOUY]['`\u2018][aeiouA-Z][A-Za-z]*",
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
_NOT = re.compile(r"([A-Za-z]*[A-MO-Za-mo-z])?([nN]['`\u2018][tT])([A-Za-z]*)")
_CURLED = re.compile("\u2019(?i:[smdn]|ll|re|ve)")
_SKIPPED = re.compile(
    "[\x81-\x9f\xab\xad\xbb\u200b-\u2012\u2015\u201b\u201f\u2024\u2025\u2027-\u202f\u2039\u203a\u203c\u203d"
    "\u2043\u2045-\u206f\ufe00-\ufe0f\ufeff\U00010000-\U0010ffff]+"
)
_ENTITIES = {"&amp;": ["&"], "&lt;": ["<"], "&gt;": [">"], "&nbsp;": [], "&quot;": [], "&apos;": []}
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
    text = _SKIPPED.sub(" ", text)
    seen = text.replace("\u2019", "'")
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
        found, place = _next(text, seen, place)
        tokens += found
    return " ".join(tokens)


def _next(text: str, seen: str, place: int) -> tuple[list[str], int]:
    """Return the tokens that start at ``place`` and where they end: the longest match of all patterns.

    An abbreviation wins over what reaches at most two characters further. ``seen`` is ``text`` with straight
    apostrophes; tokens keep theirs as they are, but for auxiliaries and ``n't``.
    """
    curled = _CURLED.match(text, place)
    if curled:
        token = curled[0].lower()
        return [token if token == "\u2019n" else "'" + token[1:]], curled.end()
    kind, end = "", place
    for name, scanner in _SCANNERS:
        match = scanner.match(seen, place)
        if match and match.end() > end:
            kind, end = name, match.end()
    negation = _NOT.match(seen, place)
    if negation and negation.end() > end:
        return _negated(negation, text), negation.end()
    abbreviation = _ABBREVIATION.match(text, place)
    if abbreviation and end <= abbreviation.end() + 2:
        return [abbreviation[0].lower()], abbreviation.end()
    token = text[place:end].lower()
    if kind in ("auxiliary", "quotes"):
        token = seen[place:end].lower()
    if kind == "leading clip" and token in ("'tis", "'twas"):
        return ["'t"], place + 2
    if token in _SPLIT and _AUXILIARY_START.match(text, end):
        return [token], end
    return _spelled(kind, token), end


def _negated(found: re.Match[str], text: str) -> list[str]:
    """Return ``n't`` and the word before it, if any; letters glued behind it (``isn'tt``) stay with it."""
    tail = text[found.start(2) : found.end()].lower() if found[3] else found[2].lower().replace("\u2018", "`")
    return [found[1].lower(), tail] if found[1] else [tail]


def _spelled(kind: str, token: str) -> list[str]:
    if token in _SPLIT:
        return _SPLIT[token]
    if kind == "entity":
        return _ENTITIES.get(token, [token])
    if kind == "dots":
        return ["..."]
    if kind == "dashes":
        return ["--" if len(token) < 5 else token]
    if kind in ("fraction", "phone"):
        return [token.replace(" ", "\u00a0")]
    if kind == "smiley" or token in _BRACKETS:
        return ["".join(_BRACKETS.get(character, character) for character in token)]
    return [_RENAMED.get(token, token)]
