"""Dataclasses of arguments become the flags of commands, by cyclopts; ``flag_list`` lists them for help.

Every command's flags are made here, from the fields that ``settings.arguments.key`` makes: names as they are (hyphens
are taken for underscores), several words after a flag are a list, ``--flag`` and ``--flag true`` mean the same.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar

from cyclopts import App, CycloptsError, MissingArgumentError, Parameter, UnusedCliTokensError

from gpt4scene.errors import ConfigError
from gpt4scene.settings import help_text as written
from gpt4scene.settings.arguments import Arguments, hints_of
from gpt4scene.settings.flag_list import flags_of, name_of, refuse_wrong_flags

Kind = TypeVar("Kind", bound=Arguments)
_RULES = Parameter(name_transform=lambda name: name, negative=(), consume_multiple=True)


def read(kind: type[Kind], words: Sequence[str], program: str, defaults: Mapping[str, str] | None = None) -> Kind:
    """Return the arguments that ``words`` say, checked. ``defaults`` stand in for flags that are left out.

    Raises ``ConfigError`` with a sentence a mistake, and the nearest flag for one that is none.
    """
    words = _spelled_out(kind, words)
    given = {name_of(word) for word in words}
    words += [f"--{name}={value}" for name, value in (defaults or {}).items() if name not in given]
    refuse_wrong_flags(flags_of([kind]), words)
    if fractions := _fractions(kind, words):
        raise ConfigError(*fractions)
    try:
        arguments = app([kind], program)(words, exit_on_error=False, print_error=False)
    except MissingArgumentError as error:
        name = error.argument.name if error.argument is not None else "a flag"
        raise ConfigError(f"{name} is missing, or has no value; --help lists the flags") from None
    except UnusedCliTokensError as error:
        raise ConfigError(f"'{(error.unused_tokens or ['?'])[0]}' stands alone; write --flag value") from None
    except CycloptsError as error:
        raise ConfigError(" ".join(str(error).split()).rstrip(".") + "; --help lists the flags") from None
    arguments.check()
    return arguments


def help_text(kinds: Sequence[type], program: str, about: str) -> str:
    """Return the help of a command: what it does, and every flag with its sentence and default."""
    return written.help_text(flags_of(kinds), program, about)


def app(kinds: Sequence[type], program: str, about: str = "") -> App:
    """Return the cyclopts app whose call gives the arguments, a list of them where there are several ``kinds``."""
    parameters = [
        inspect.Parameter(
            f"part_{number}",
            inspect.Parameter.KEYWORD_ONLY,
            annotation=Annotated[kind, Parameter(name="*")],
            default=inspect.Parameter.empty if _needed(kind) else kind(),
        )
        for number, kind in enumerate(kinds)
    ]

    def arguments(**given: object) -> object:
        found = [given.get(one.name, one.default) for one in parameters]
        return found[0] if len(found) == 1 else found

    arguments.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    arguments.__annotations__ = {one.name: one.annotation for one in parameters}
    made = App(
        name=program,
        help=about,
        help_format="plaintext",
        help_flags=[],
        version_flags=[],
        default_parameter=_RULES,
        result_action="return_value",
    )
    if kinds:
        made.default(arguments)
    return made


def _needed(kind: type) -> list[str]:
    """Return the names of the fields that have no default."""
    return [one.name for one in dataclasses.fields(kind) if one.default is one.default_factory is dataclasses.MISSING]


def _spelled_out(kind: type, words: Sequence[str]) -> list[str]:
    """Return ``words`` with older names replaced, and ``--flag true`` as ``--flag=true`` where a flag is yes or no."""
    hints = hints_of(kind)
    older = {name: one.name for one in dataclasses.fields(kind) for name in one.metadata["also"]}
    found: list[str] = []
    for word in words:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            name = f"--{older[name_of(name)]}" if name_of(name) in older else name
            found.append(name + equals + value)
        elif found and hints.get(name_of(found[-1])) is bool and "=" not in found[-1] and _is_truth(word):
            found[-1] += f"={word}"
        elif word.startswith("-") and found and found[-1].startswith("--") and "=" not in found[-1]:
            found[-1] += f"={word}"  # a value such as -1 or -, which is no flag
        else:
            found.append(word)
    return _last_of_each(found)


def _last_of_each(words: Sequence[str]) -> list[str]:
    """Return ``words`` where a flag that is given twice stands once, as it was given last: scripts append overrides."""
    groups: dict[str, list[str]] = {"": []}
    name = ""
    for word in words:
        if word.startswith("--"):
            name = name_of(word)
            groups[name] = []
        groups[name].append(word)
    return [word for group in groups.values() for word in group]


def _fractions(kind: type, words: Sequence[str]) -> list[str]:
    """Return a sentence for every whole number that is given with a fraction, which cyclopts would round."""
    hints = hints_of(kind)
    wrong, name = [], ""
    for word in words:
        flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        name = name_of(flag) if flag else name
        if int in (hints.get(name), *typing.get_args(hints.get(name))) and (value or equals) and _is_fraction(value):
            wrong.append(f"--{name} must be a whole number, not {value}")
    return wrong


def _is_fraction(text: str) -> bool:
    try:
        return float(text) % 1 > 0
    except ValueError:
        return False


def _is_truth(word: str) -> bool:
    return word.lower() in ("true", "false", "yes", "no", "1", "0", "on", "off")
