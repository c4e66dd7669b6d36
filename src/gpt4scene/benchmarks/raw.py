"""Finding and reading the official benchmark files."""

from __future__ import annotations

from pathlib import Path

from gpt4scene.benchmarks import sqa3d
from gpt4scene.benchmarks.matching import Record
from gpt4scene.errors import DataError
from gpt4scene.files.answers import read_json

RAW_FILES = {
    "scanqa": ("ScanQA_v1.0_{split}.json",),
    "sqa3d": ("v1_balanced_questions_{split}_scannetv2.json", "v1_balanced_sqa_annotations_{split}_scannetv2.json"),
    "scan2cap": ("ScanRefer_filtered_{split}.json",),
    "scanrefer": ("ScanRefer_filtered_{split}.json",),
    "multi3dref": ("multi3drefer_{split}.json",),
}
"""Official file names of each benchmark; Scan2Cap describes the objects of ScanRefer in ScanRefer's words."""


def find_raw(folder: Path, name: str) -> Path | None:
    """Return the file ``name`` in ``folder`` or a folder below it, or ``None``; raise ``DataError`` for several."""
    if (folder / name).is_file():
        return folder / name
    found = sorted(folder.rglob(name))
    if len(found) > 1:
        raise DataError(f"{folder}: several files {name} ({', '.join(map(str, found))}); keep one")
    return found[0] if found else None


def read_raw(folder: Path, task: str, split: str) -> list[Record]:
    """Return the official records of ``task``; raise ``FileNotFoundError`` naming the file that is not there."""
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder of official files")
    paths = []
    for name in RAW_FILES[task]:
        path = find_raw(folder, name.format(split=split))
        if path is None:
            raise FileNotFoundError(f"{name.format(split=split)} is not in {folder}")
        paths.append(path)
    if task == "sqa3d":
        return sqa3d.joined(_records(paths[0], "questions"), _records(paths[1], "annotations"))
    return _records(paths[0])


def _records(path: Path, key: str | None = None) -> list[Record]:
    content = read_json(path)
    if key is not None and isinstance(content, dict):
        content = content.get(key)
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise DataError(f"{path}: expected a list of objects" + (f" under '{key}'" if key else ""))
    return [Record(row, f"{path}, row {number}") for number, row in enumerate(content)]
