"""The flags that every command has: ``-v``/``--verbose``, ``--quiet`` and ``--json``, taken off its words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gpt4scene.errors import ConfigError
from gpt4scene.settings.coercion import NO, YES
from gpt4scene.talk import QUIET, VERBOSE

NAMES = ("verbose", "quiet", "json")


@dataclass(frozen=True)
class WideFlags:
    """How much is said (``level``, None is the usual), and whether the result is one JSON object."""

    level: str | None = None
    json: bool = False


def taken_off(words: Sequence[str], own: Collection[str] = ()) -> tuple[list[str], WideFlags]:
    """Return ``words`` without the flags of every command, and what those say.

    ``own`` are flags of the command itself: one of the same name that has a value stays among the words. Raises
    ``ConfigError`` where two of them exclude each other, or one has a value that is neither yes nor no.
    """
    kept: list[str] = []
    said: dict[str, bool] = {}
    place = 0
    while place < len(words):
        word, following = words[place], words[place + 1 : place + 2]
        name, equals, value = ("--verbose", "", "") if word == "-v" else word.partition("=")
        place += 1
        ours = name.startswith("--") and name[2:] in NAMES
        if not ours or (name[2:] in own and (equals or (following and _is_value(following[0])))):
            kept.append(word)
        elif equals:
            said[name[2:]] = _truth(name, value)
        elif following and following[0].lower() in ("true", "false"):
            said[name[2:]] = _truth(name, following[0])
            place += 1
        else:
            said[name[2:]] = True
    if said.get("quiet") and said.get("verbose"):
        raise ConfigError("--quiet and --verbose exclude each other; keep one")
    json = said.get("json", False)
    level = VERBOSE if said.get("verbose") else QUIET if said.get("quiet") or json else None
    return kept, WideFlags(level, json)


def _is_value(word: str) -> bool:
    return word == "-" or not word.startswith("-")


def _truth(name: str, value: str) -> bool:
    if value.lower() not in YES | NO:
        raise ConfigError(f"{name} must be true or false, not {value!r}")
    return value.lower() in YES
