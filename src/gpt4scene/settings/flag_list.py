"""The flags of dataclasses of arguments as plain values, which help and completion are made of."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from gpt4scene.errors import ConfigError
from gpt4scene.registry import nearest
from gpt4scene.settings.arguments import hints_of

WORDS: Mapping[type, str] = types.MappingProxyType({bool: "BOOL", int: "INT", float: "FLOAT", str: "STR"})


@dataclass(frozen=True)
class Flag:
    """A flag: its name without hyphens, what it takes (``INT``, ``STR...``), its sentence and its heading.

    ``default`` is None where a flag that is left out has no value, or must be given (``needed``). ``also`` are older
    names.
    """

    name: str
    takes: str
    help: str
    group: str = ""
    choices: tuple[str, ...] = ()
    default: str | None = None
    needed: bool = False
    also: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """Return the fields that are not at their defaults, as JSON holds them."""
        said = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        kept = {one.name for one in dataclasses.fields(self) if said[one.name] != one.default}
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in said.items() if name in kept
        }

    @classmethod
    def of_plain(cls, content: Mapping[str, Any]) -> Flag:
        """Return the flag that ``plain`` made ``content`` of."""
        lists: dict[str, Any] = {name: tuple(content.get(name, ())) for name in ("choices", "also")}
        return cls(**{**content, **lists})


def flags_of(kinds: Sequence[type]) -> list[Flag]:
    """Return the flags of ``kinds`` in their order; of several, each one's first sentence is the heading of its own."""
    return [_flag(one, kind, len(kinds) > 1) for kind in kinds for one in dataclasses.fields(kind)]


def heading_of(kind: type) -> str:
    """Return the heading of a dataclass's flags: its first sentence."""
    return (kind.__doc__ or "").partition("\n")[0].rstrip(".")


def _flag(one: dataclasses.Field[Any], kind: type, grouped: bool) -> Flag:
    hint = hints_of(kind)[one.name]
    needed = one.default is one.default_factory is dataclasses.MISSING
    default = one.default_factory() if one.default_factory is not dataclasses.MISSING else one.default
    heading = heading_of(kind) if grouped else one.metadata["group"]
    shown = None if needed else _shown(default)
    also = tuple(one.metadata["also"])
    return Flag(one.name, _takes(hint), one.metadata["help"], heading, _choices(hint), shown, needed, also)


def refuse_wrong_flags(flags: Sequence[Flag], words: Sequence[str], example: str = "") -> None:
    """Raise ``ConfigError`` that names every flag in ``words`` that is none, and every one that is missing.

    ``example`` is a whole call. A mistake among values is not found here.
    """
    given = {name_of(word) for word in words if word.startswith("--")}
    names = {older: flag.name for flag in flags for older in (flag.name, *flag.also)}
    known = [f"--{flag.name}" for flag in flags]
    wrong = [f"--{name} is not a flag{nearest(f'--{name}', known)}" for name in sorted(given) if name not in names]
    meant = {names.get(name) for name in given}
    missing = [f"--{flag.name}" for flag in flags if flag.needed and flag.name not in meant]
    if missing:
        shown = f", as in: {example}" if example else ""
        wrong.append(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing{shown}")
    if wrong:
        raise ConfigError(*wrong[:-1], f"{wrong[-1]}; --help lists the flags")


def name_of(word: str) -> str:
    """Return the name of a flag as it is typed, ``--some-flag=value``, in the form that fields have."""
    return word.partition("=")[0].removeprefix("--").replace("-", "_")


def _members(hint: Any) -> list[Any]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [one for member in typing.get_args(hint) for one in _members(member)]
    return [] if hint is types.NoneType else [hint]


def _takes(hint: Any) -> str:
    found: list[str] = []
    for member in _members(hint):
        base = typing.get_origin(member) or member
        if base in (list, tuple):
            found.append(f"{_takes(typing.get_args(member)[0])}...")
        elif base is Literal or isinstance(base, type) and issubclass(base, Enum):
            found.append("WORD")
        else:
            found.append(WORDS.get(base, "STR"))
    return "|".join(dict.fromkeys(found))


def _choices(hint: Any) -> tuple[str, ...]:
    found: list[str] = []
    for member in _members(hint):
        base, inner = typing.get_origin(member) or member, typing.get_args(member)
        if base is Literal:
            found += map(str, inner)
        elif base in (list, tuple):
            found += _choices(inner[0])
        elif base is bool:
            found += ["true", "false"]
    return tuple(dict.fromkeys(found))


def _shown(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or None
    return str(value).lower() if isinstance(value, bool) else str(value)
