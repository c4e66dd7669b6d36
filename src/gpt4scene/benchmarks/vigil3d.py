"""ViGiL3D: training rows in the form of Multi3DRefer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gpt4scene.benchmarks import multi3dref
from gpt4scene.benchmarks.benchmark import further_source
from gpt4scene.files.raw import Record, read_table


def read(paths: Sequence[Path]) -> list[Record]:
    """Return the rows of the official file as Multi3DRefer's records; ``DataError`` for a file of other columns."""
    return [_record(record) for record in read_table(paths[0])]


def _record(record: Record) -> Record:
    listed = str(record.values.get("object_id") or "")
    targets = [int(part) for part in listed.replace(";", ",").split(",") if part.strip().isdigit()]
    values = {"scene_id": record.text("scene_id"), "object_ids": targets}
    return Record({**values, "description": record.text("description")}, record.origin)


SOURCE = further_source(
    multi3dref.BENCHMARK, name="vigil3d", title="ViGiL3D", raw_file="vigil3d_scannet.csv", read=read
)
