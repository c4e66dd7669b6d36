"""Keys of LLaMA-Factory and transformers: which are used under our names, which mean nothing here, which are refused.

The knowledge is in ``llamafactory.yaml`` and ``transformers.yaml``, beside this file; a key stands in one of them once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class ForeignKey:
    """A key that we do not use. ``harmless`` are the values that ask for nothing.

    Any other value is ``refused``, or has no effect, and ``sentence`` says why. ``false_is_off`` makes false harmless.
    """

    name: str
    sentence: str
    refused: bool
    harmless: tuple[Any, ...]
    false_is_off: bool

    def asks(self, value: Any) -> bool:
        """Return whether ``value``, as read from YAML or typed on a command line, asks for anything."""
        value = _plain(value)
        if value is None or value in ("", [], {}) or (self.false_is_off and value is False):
            return False
        return not any(_same(value, one) for one in self.harmless)


@dataclass(frozen=True)
class ForeignValue:
    """A value of LLaMA-Factory's for a key that we have: what it ``becomes`` here, or the sentence that refuses it."""

    becomes: str | None
    refused: str | None


@dataclass(frozen=True)
class Foreign:
    """All that is known about other projects' keys.

    ``renamed`` gives our name for theirs; ``negated`` are those of them whose yes is our no. ``used`` and ``passed``
    are the fields of ``TrainingArguments`` that we read and that transformers' Trainer obeys. ``deepspeed_keys`` are
    the names at the top of a DeepSpeed file, ``fsdp_keys`` those in ``fsdp_config``: others are passed over there.
    """

    keys: Mapping[str, ForeignKey]
    renamed: Mapping[str, str]
    negated: frozenset[str]
    values: Mapping[str, Mapping[str, ForeignValue]]
    templates: frozenset[str]
    used: frozenset[str]
    passed: frozenset[str]
    deepspeed_keys: list[str]
    fsdp_keys: list[str]


@lru_cache(maxsize=1)
def foreign() -> Foreign:
    """Return what the two files say."""
    ours, theirs = _read("transformers.yaml"), _read("llamafactory.yaml")
    keys = [*_keys(theirs["groups"], True), *_keys(ours["groups"], False), *_keys(ours["older"], True)]
    return Foreign(
        keys={key.name: key for key in keys},
        renamed=theirs["renamed"] | ours["renamed"],
        negated=frozenset(ours["negated"]),
        values={
            name: {value: ForeignValue(found.get("becomes"), found.get("refused")) for value, found in values.items()}
            for name, values in theirs["values"].items()
        },
        templates=frozenset(theirs["templates"]),
        used=frozenset(ours["used"]),
        passed=frozenset(ours["passed"]),
        deepspeed_keys=ours["deepspeed_file"],
        fsdp_keys=ours["fsdp_config"],
    )


def _read(name: str) -> dict[str, Any]:
    return yaml.safe_load(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def _keys(groups: list[dict[str, Any]], false_is_off: bool) -> Iterator[ForeignKey]:
    for group in groups:
        for name, harmless in group["keys"].items():
            yield ForeignKey(name, group["say"], group["as"] == "refused", tuple(harmless), false_is_off)


def _plain(value: Any) -> Any:
    """Return what YAML reads in a text, so that ``--key 0.50`` and ``key: 0.5`` are the same."""
    if not isinstance(value, str):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def _same(value: Any, harmless: Any) -> bool:
    if isinstance(value, Mapping) and isinstance(harmless, Mapping):
        return all(name in harmless and value[name] == harmless[name] for name in value)
    if isinstance(value, bool) != isinstance(harmless, bool):
        return False
    return _number(value) == _number(harmless)


def _number(value: Any) -> Any:
    """Return ``value`` as a number where it is one: YAML reads ``1e-6`` as a text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
