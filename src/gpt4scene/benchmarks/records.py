"""The official records of each benchmark."""

from __future__ import annotations

from pathlib import Path

from gpt4scene.benchmarks import sqa3d
from gpt4scene.errors import DataError
from gpt4scene.files.raw import Record, find_raw, read_records

RAW_FILES = {
    "scanqa": ("ScanQA_v1.0_{split}.json",),
    "sqa3d": ("v1_balanced_questions_{split}_scannetv2.json", "v1_balanced_sqa_annotations_{split}_scannetv2.json"),
    "scan2cap": ("ScanRefer_filtered_{split}.json",),
    "scanrefer": ("ScanRefer_filtered_{split}.json",),
    "multi3dref": ("multi3drefer_{split}.json",),
}
"""Official file names of each benchmark; Scan2Cap describes the objects of ScanRefer in ScanRefer's words."""


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
        return sqa3d.joined(read_records(paths[0], "questions"), read_records(paths[1], "annotations"))
    return read_records(paths[0])
