"""``train --from run.json``: the settings of an earlier run, as entries that flags win over."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json
from gpt4scene.settings.entries import FLAGS, Entry

FROM = "from"
NOT_REPEATED = ("overwrite_output_dir", "resume_from_checkpoint", "accept_changes")
"""Settings that are about the folder of the earlier run, not about what was computed."""


def take_from(flags: Sequence[Entry], problems: list[str]) -> tuple[str | None, list[Entry]]:
    """Return the file that ``--from`` names, None where it is not written, and the other flags."""
    others = [entry for entry in flags if entry.key != FROM]
    named = next((entry for entry in flags if entry.key == FROM), None)
    if named is None:
        return None, others
    if named.bare or not isinstance(named.value, str):
        problems.append(f"{FLAGS}: '--from' takes one file, the run.json of an earlier run")
        return None, others
    return named.value, others


def read_run(path: str, sections: Sequence[type], problems: list[str]) -> list[Entry]:
    """Return what the run of a ``run.json`` was told, by today's keys; what is wrong is added to ``problems``.

    ``sections`` are the dataclasses of our own keys. A folder stands for the file in it. Files of before
    ``config.said`` was written give every setting that is not at its default.
    """
    file = run_file(path)
    try:
        content = read_json(file, "record of a run")
    except DataError as error:
        problems.append(str(error))
        return []
    content = content if isinstance(content, dict) else {}
    config = content.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("training"), dict):
        problems.append(f"{file}: is no run.json of a training run: it has no settings under 'config'")
        return []
    values = _values(config)
    said = config.get("said")
    if said is None:
        plain = {f.name: _default(f) for section in sections for f in dataclasses.fields(section)}
        said = [key for key, value in values.items() if key not in plain or plain[key] != value]
        said = [*said, *(key for key in ("finetuning_type",) if key not in said)]
    entries = {key: values[key] for key in said if key in values and key not in NOT_REPEATED}
    packs = (content.get("batch") or {}).get("scene_packing")
    if entries.get("scene_packing") == "auto" and packs:
        entries["scene_packing"] = packs
    if content.get("resumed_from"):
        entries["resume_from_checkpoint"] = content["resumed_from"]
    return [Entry(key, value, file) for key, value in entries.items() if value is not None]


def moved(path: str) -> str | None:
    """Return a sentence where the run of a ``run.json`` ran in another working directory, from which paths count."""
    content = read_json(run_file(path), "record of a run")
    then = (content.get("hardware") or {}).get("folder")
    if then is None or then == os.getcwd():
        return None
    return f"{path}: the earlier run ran in {then}, and this one runs in {os.getcwd()}; relative paths count from there"


def run_file(path: str) -> str:
    """Return the ``run.json`` that ``path`` means: the file itself, or that of an output folder."""
    return str(Path(path) / "run.json") if Path(path).is_dir() else path


def _values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings by key: those of our sections, and those of the Trainer."""
    kept = {key: part for key, part in config.items() if isinstance(part, dict)}
    return {key: value for part in kept.values() for key, value in part.items()}


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
