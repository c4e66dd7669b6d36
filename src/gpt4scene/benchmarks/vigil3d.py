"""ViGiL3D: training rows in the form of Multi3DRefer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gpt4scene.benchmarks import multi3dref
from gpt4scene.benchmarks.benchmark import further_source
from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.rows import Dropped
from gpt4scene.errors import DataError
from gpt4scene.files.raw import Record, read_table

NOT_VALID = "marked as not valid"


def read(paths: Sequence[Path]) -> list[Record]:
    """Return the rows of the official file as Multi3DRefer's records; ``DataError`` for a file of other columns."""
    return [_record(record) for record in read_table(paths[0])]


def _record(record: Record) -> Record:
    listed = record.values.get("object_id")
    if not isinstance(listed, str):  # an empty text means no object
        raise DataError(f"{record.origin}: 'object_id' is missing (found keys: {', '.join(record.values)})")
    parts = [part.strip() for part in listed.replace(";", ",").split(",")]
    targets = Record({"object_id": [part for part in parts if part]}, record.origin).wholes("object_id")
    values = {
        "scene_id": record.text("scene_id"),
        "object_ids": targets,
        "is_valid": record.values.get("is_valid", "1"),
    }
    return Record({**values, "description": record.text("description")}, record.origin)


def valid(records: list[Record], scenes: Scenes) -> list[Record | Dropped]:
    """Drop the rows that the official file marks as not valid."""
    return [record if record.values["is_valid"].strip() in ("", "1") else Dropped(NOT_VALID) for record in records]


SOURCE = replace(
    further_source(multi3dref.BENCHMARK, name="vigil3d", title="ViGiL3D", raw_file="vigil3d_scannet.csv", read=read),
    training_records=valid,
)
