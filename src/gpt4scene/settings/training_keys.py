"""Names and types of the keys of transformers' ``TrainingArguments``, without the seconds that its import takes.

``training_keys.json`` holds them for the version that is tested; any other version is asked itself. A program that
writes the file again: ``python -m gpt4scene.settings.training_keys``.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from gpt4scene.errors import ConfigError
from gpt4scene.files.whole import read_json, write_json
from gpt4scene.settings.arguments import hints_of

FILE = Path(__file__).with_name("training_keys.json")
PLAIN = MappingProxyType({"bool": bool, "int": int, "float": float, "str": str, "dict": dict, "none": NoneType})
OTHER = "other"
"""A member of a type that no word of a file or a flag can be."""


@lru_cache(maxsize=1)
def training_hints() -> dict[str, Any]:
    """Field name -> type of the installed ``TrainingArguments``; ``ConfigError`` where training is not installed."""
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise _not_installed(f"No module named '{package}'")
    version, types = _listed()
    if importlib.metadata.version("transformers") == version:
        return {name: _type_of(members) for name, members in types.items()}
    return installed_hints()


def installed_hints() -> dict[str, Any]:
    """Field name -> type, read from the installed transformers: its import takes seconds."""
    try:
        from transformers import TrainingArguments

        hints = hints_of(TrainingArguments)
        names = [f.name for f in dataclasses.fields(TrainingArguments) if f.init]
    except ImportError as error:
        raise _not_installed(str(error)) from None
    return {name: hints[name] for name in names} | dict.fromkeys(("resume_from_checkpoint", "fsdp"), bool | str | None)


def training_names() -> list[str]:
    """Return the names of the keys, as the tested version of transformers has them."""
    return list(_listed()[1])


def members_of(hint: Any) -> list[Any]:
    """Return the members of a type as JSON holds them: a name, ``{"choices": words}`` or ``{"list": members}``."""
    if get_origin(hint) in (Union, UnionType):
        return [one for member in get_args(hint) for one in members_of(member)]
    base, inner = get_origin(hint) or hint, get_args(hint)
    if base is list:
        return [{"list": members_of(inner[0]) if inner else ["str"]}]
    if isinstance(base, type) and issubclass(base, Enum):
        return [{"choices": [item.value for item in base]}]
    if base is Literal and all(isinstance(word, str) for word in inner):
        return [{"choices": list(inner)}]
    return [next((name for name, kind in PLAIN.items() if base is kind), OTHER)]


def write(file: Path = FILE) -> None:
    """Write the keys of the installed transformers to ``file``."""
    types = {name: members_of(hint) for name, hint in installed_hints().items()}
    write_json(file, {"transformers": importlib.metadata.version("transformers"), "keys": types})


def _listed() -> tuple[str, dict[str, list[Any]]]:
    content = read_json(FILE)
    return content["transformers"], content["keys"]


def _type_of(members: Sequence[Any]) -> Any:
    kinds = [_member(one) for one in members]
    return kinds[0] if len(kinds) == 1 else Union[tuple(kinds)]  # noqa: UP007 (made of a list)


def _member(member: Any) -> Any:
    if isinstance(member, str):
        return PLAIN.get(member, object)
    if "choices" in member:
        return Literal[tuple(member["choices"])]
    return list[_type_of(member["list"])]


def _not_installed(reason: str) -> ConfigError:
    return ConfigError(f'training needs torch and transformers: pip install -e ".[torch]" ({reason})')


if __name__ == "__main__":
    write()
