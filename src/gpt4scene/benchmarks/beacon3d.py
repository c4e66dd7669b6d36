"""Beacon-3D's grounding: training rows in the form of Multi3DRefer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gpt4scene.benchmarks import multi3dref
from gpt4scene.benchmarks.benchmark import further_source
from gpt4scene.files.raw import Record, read_records


def read(paths: Sequence[Path]) -> list[Record]:
    """Return the rows of the official file as Multi3DRefer's records; ``DataError`` for a file of other keys."""
    return [_record(record) for record in read_records(paths[0])]


def _record(record: Record) -> Record:
    values = {"scene_id": record.text("scan_id"), "object_ids": record.wholes("target_id")}
    return Record({**values, "description": record.text("utterance")}, record.origin)


SOURCE = further_source(
    multi3dref.BENCHMARK, name="beacon3d", title="Beacon-3D", raw_file="scannet_grounding.json", read=read
)
