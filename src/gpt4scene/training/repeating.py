"""What a run that repeats another must have in common with it: rows, weights, processes; versions are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpt4scene.data.fingerprint import AREAS
from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json
from gpt4scene.settings.config import TrainConfig
from gpt4scene.training.run_data import HELD_OUT_PRINT

_MAY_MOVE = ("media_dir",)
SHOWN = 12
"""Differences that a message lists."""


def earlier_run(config: TrainConfig) -> dict[str, Any]:
    """Return the record of the run that this one repeats, empty without one; to be read before this run has one."""
    return read_json(config.repeats, "record of a run") if config.repeats else {}


def check_repeat(config: TrainConfig, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return sentences about how this run's surroundings differ from those of the run that it repeats.

    ``then`` and ``now`` are the contents of the ``run.json`` of both. Raises DataError where rows, weights or the
    number of processes are others, unless ``accept_changes`` says that they may be: then these are among the sentences.
    """
    grave = [*_rows(then, now), *_weights(then, now), *_processes(then, now), *_launch(then, now)]
    light = [*_code(then, now), *_machine(then, now)]
    if grave and not config.watching.accept_changes:
        raise DataError(
            f"{config.repeats}: can't be repeated: {_listed(grave)}. Put them back as they were, or write "
            "--accept_changes true for a run of its own with these settings"
        )
    return [f"{config.repeats} is repeated, but {one}" for one in [*grave, *light]]


def _rows(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs in the rows, of what both versions note; files of images are not looked into."""
    before, today = then.get("data") or {}, now["data"]
    if not before.get("fingerprint"):
        return ["it does not say which rows it was trained on"]
    held_out = [of.get(HELD_OUT_PRINT) or {} for of in (before, today)]
    return [
        *_rows_of(before["fingerprint"], today["fingerprint"]),
        *(f"held out: {one}" for one in _rows_of(*held_out)),
    ]


def _rows_of(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what differs between two fingerprints."""
    noted = [key for key in old if key in new and key not in _MAY_MOVE]
    changed = [key for key in [*noted, *AREAS] if old.get(key) != new.get(key)]
    return [_row_difference(key, old.get(key), new.get(key)) for key in dict.fromkeys(changed)]


def _row_difference(key: str, old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        parts = [str(name) for name in {**old, **new} if old.get(name) != new.get(name)]
        return f"{key} of the rows differ: {', '.join(parts)}"
    short = all(len(str(value)) <= 60 for value in (old, new))
    return f"{key} was {old} and is {new}" if short else f"{key} of the rows is another"


def _weights(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    if "checkpoint" not in then:
        return []  # said by _code: files of before have nothing to compare with
    return [] if then["checkpoint"] == now["checkpoint"] else ["the checkpoint that it starts from holds other content"]


def _processes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = ((of.get("hardware") or {}).get("processes") for of in (then, now))
    batch = [(of.get("batch") or {}).get("questions_per_step") for of in (then, now)]
    if batch[0] is None:
        return ["it does not say how many questions a step had, as it ended before that was known"]
    if old == new and batch[0] == batch[1]:
        return []
    return [f"it ran on {old} processes with {batch[0]} questions a step, and this is {new} with {batch[1]}"]


def _launch(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs in how work is shared out; files of before do not say it."""
    old, new = then.get("launch"), now.get("launch") or {}
    if not isinstance(old, Mapping):
        return []
    words = {"deepspeed": "the content of the DeepSpeed file", "fsdp": "the use of FSDP"}
    return [f"{word} is another" for name, word in words.items() if old.get(name) != new.get(name)]


def _code(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    found = [] if "checkpoint" in then else ["it does not say which weights it started from"]
    old, new = then.get("git") or {}, now.get("git") or {}
    if old.get("commit") != new.get("commit"):
        found.append(f"git commit was {_short(old)} and is {_short(new)}")
    elif old.get("changed") or new.get("changed"):
        found.append("the checkout has, or had, edits that are in no commit")
    before, today = then.get("versions") or {}, now.get("versions") or {}
    found += [
        f"{name} was {before.get(name, 'absent')} and is {today.get(name, 'absent')}"
        for name in sorted({*before, *today})
        if before.get(name) != today.get(name)
    ]
    return found


def _machine(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = then.get("hardware") or {}, now.get("hardware") or {}
    names = {"accelerators": "accelerators", "processor": "processor"}
    return [
        f"{word} was {_plain(old.get(name))} and is {_plain(new.get(name))}"
        for name, word in names.items()
        if old.get(name) != new.get(name)
    ]


def _plain(value: Any) -> str:
    return "none" if not value else ", ".join(value) if isinstance(value, list) else str(value)


def _short(git: Mapping[str, Any]) -> str:
    return str(git.get("commit") or "not known")[:12]


def _listed(items: list[str]) -> str:
    more = len(items) - SHOWN
    return "; ".join(items[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
