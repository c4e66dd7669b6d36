"""Words from YAML files and command lines -> values of the type that a key has."""

from __future__ import annotations

import datetime
import json
import math
import re
import types
from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

from gpt4scene.registry import nearest

YES = frozenset({"true", "yes", "on", "1"})
NO = frozenset({"false", "no", "off", "0"})
_SCIENTIFIC = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
NOTHING = frozenset({"null", "None", "~", ""})


class BadValueError(ValueError):
    """A value that a key cannot take; the message follows the key's name."""


def coerce(value: Any, hint: Any) -> Any:
    """Return ``value`` as the type ``hint`` (a type annotation), read the way people write it.

    ``true``/``False``/``1`` are truth values, ``"5e-6"`` is a number (YAML 1.1 hands it over as text), ``a,b`` is a
    list, a text in braces is a mapping. An integer stays one where a float is asked for.

    Raises:
        BadValueError: the value is none of the types in ``hint``, or not among its choices.
    """
    members = _members(hint)
    if type(None) in members and (value is None or (isinstance(value, str) and value in NOTHING)):
        return None
    choices = _choices(members)
    kinds = [member for member in members if member is not type(None)]
    if choices and int in kinds:
        return _number_or_word(value, choices)
    if choices:
        return _choose(value, choices)
    problem: BadValueError | None = None
    for kind in sorted(kinds, key=_order):
        try:
            return _as(value, kind)
        except BadValueError as error:
            problem = error
    raise problem or BadValueError("cannot be set from a file or a flag")


def check_range(value: Any, least: float | None, most: float | None) -> None:
    """Raise ``BadValueError`` when a number lies outside ``least`` to ``most`` (both included; ``None`` is open)."""
    if not isinstance(value, int | float):
        return
    if (least is not None and value < least) or (most is not None and value > most):
        above = f"{least:g} or more" if most is None else f"between {least or 0:g} and {most:g}"
        raise BadValueError(f"must be {above}, not {value}")


def _members(hint: Any) -> list[Any]:
    if get_origin(hint) in (Union, types.UnionType):
        return [inner for member in get_args(hint) for inner in _members(member)]
    return [type(None) if hint is None else hint]


def _choices(members: list[Any]) -> list[str]:
    """The words a ``Literal`` or an ``Enum`` allows; empty when the key is free."""
    words: list[str] = []
    for member in members:
        if get_origin(member) is Literal and all(isinstance(word, str) for word in get_args(member)):
            words += get_args(member)
        elif isinstance(member, type) and issubclass(member, Enum):
            words += [item.value for item in member]
    return words


def _choose(value: Any, choices: list[str]) -> str:
    if value is False and "no" in choices:  # YAML 1.1 reads the word no as a truth value
        return "no"
    word = value.value if isinstance(value, Enum) else value
    if isinstance(word, str) and word in choices:
        return word
    raise BadValueError(f"must be one of {', '.join(choices)}, not {value!r}{nearest(str(value), choices)}")


def _number_or_word(value: Any, choices: list[str]) -> int | str:
    if value in choices:
        return value
    try:
        return _int(value)
    except BadValueError:
        raise BadValueError(f"must be a whole number or {' or '.join(choices)}, not {value!r}") from None


def _order(kind: Any) -> int:
    """Narrow types are tried before text, which takes anything."""
    order = [bool, int, float, dict, list, str]
    base = get_origin(kind) or kind
    return order.index(base) if base in order else len(order)


def _as(value: Any, kind: Any) -> Any:
    base = get_origin(kind) or kind
    if base is bool:
        return _bool(value)
    if base is int:
        return _int(value)
    if base is float:
        return _float(value)
    if base is dict:
        return _dict(value)
    if base is list:
        return _list(value, (get_args(kind) or (str,))[0])
    if base is str:
        return _str(value)
    raise BadValueError("cannot be set from a file or a flag")


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in YES:
        return True
    if word in NO:
        return False
    raise BadValueError(f"must be true or false, not {value!r}")


def _int(value: Any) -> int:
    number = _number(value, "a whole number")
    if isinstance(number, float):
        if not number.is_integer():
            raise BadValueError(f"must be a whole number, not {value!r}")
        return int(number)
    return number


def _float(value: Any) -> float:
    return _number(value, "a number")


def _number(value: Any, wanted: str) -> int | float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number: int | float = value
    elif isinstance(value, str):
        try:
            number = int(value)
        except ValueError:
            try:
                number = float(value)
            except ValueError:
                raise BadValueError(f"must be {wanted}, not {value!r}") from None
    else:
        raise BadValueError(f"must be {wanted}, not {value!r}")
    if isinstance(number, float) and not math.isfinite(number):
        raise BadValueError(f"must be {wanted}, not {value!r}")
    return number


def _dict(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {name: _numbers(entry) for name, entry in value.items()}
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return _numbers(json.loads(value))
        except json.JSONDecodeError as error:
            raise BadValueError(f"is no JSON: {error}") from None
    raise BadValueError(f"must be a mapping, not {value!r}")


def _numbers(value: Any) -> Any:
    """Return ``value`` with numbers for texts such as ``1e-6``, which YAML 1.1 does not take for one."""
    if isinstance(value, Mapping):
        return {name: _numbers(entry) for name, entry in value.items()}
    if isinstance(value, str) and _SCIENTIFIC.fullmatch(value):
        return float(value)
    return value


def _list(value: Any, item: Any) -> list[Any]:
    if isinstance(value, str):
        value = [word.strip() for word in value.split(",") if word.strip()]
    if not isinstance(value, (list, tuple)):
        value = [value]
    if not value:
        raise BadValueError("is empty")
    return [coerce(entry, item) for entry in value]


def _str(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, datetime.date):  # YAML reads 2025-03-10 as a day
        return value.isoformat()
    raise BadValueError(f"must be a text, not {value!r}")
