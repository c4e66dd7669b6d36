"""Further sources of grounding rows: ReferIt3D (Nr3D, Sr3D), Beacon-3D and ViGiL3D; and ReferIt3D's accuracy.

ReferIt3D names ground-truth objects, so its published figures compare object ids, not boxes.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterable, Mapping, Sized
from pathlib import Path

import numpy as np

from gpt4scene.benchmarks import multi3dref, scanrefer
from gpt4scene.benchmarks.matching import Made, Rooms
from gpt4scene.errors import DataError
from gpt4scene.files.answers import RowLike, read_rows, row_keys
from gpt4scene.files.raw import Record, read_records, read_table
from gpt4scene.metrics.scores import Report, RowScores

RAW_FILES = {
    "nr3d": "nr3d.csv",
    "sr3d": "sr3d.csv",
    "beacon3d": "scannet_grounding.json",
    "vigil3d": "vigil3d_scannet.csv",
}
"""Official file of each source, for all scenes; which scenes become rows depends on the scenes folder."""

VIEW_WORDS = frozenset(
    ["front", "behind", "back", "right", "left", "facing", "leftmost", "rightmost", "looking", "across"]
)
"""Words that make an utterance view dependent, ReferIt3D's own list."""

FORMS = {"nr3d": "scanrefer", "sr3d": "scanrefer", "beacon3d": "multi3dref", "vigil3d": "multi3dref"}
"""The benchmark in whose form the rows of each source come."""

NOT_MENTIONED = "target class not mentioned"


def read_source(path: Path, name: str) -> list[Record]:
    """Return the rows of a source as ScanRefer (``nr3d``, ``sr3d``) or Multi3DRefer records.

    Raises ``DataError`` for a file without the columns of that source.
    """
    records = read_records(path) if name == "beacon3d" else read_table(path)
    make = {"nr3d": _referit, "sr3d": _referit, "beacon3d": _beacon, "vigil3d": _vigil}[name]
    return [make(record) for record in records]


def training(records: Iterable[Record], rooms: Rooms, generator: random.Random, name: str) -> Made:
    """Return training rows of a source, by the rules (and in the answers) of ScanRefer or Multi3DRefer."""
    benchmark = scanrefer if FORMS[name] == "scanrefer" else multi3dref
    return benchmark.training(records, rooms, generator)


def questions(records: Iterable[Record], rooms: Rooms) -> Made:
    """Return question-file rows of Nr3D or Sr3D in ScanRefer's form, each with its ``question_type``.

    Utterances that don't mention the target's class are left out, as in ReferIt3D's own evaluation.
    """
    asked = list(records)
    mentioned = [record for record in asked if record.values["mentions_target_class"]]
    made = scanrefer.questions(mentioned, rooms)
    made.dropped[NOT_MENTIONED] += len(asked) - len(mentioned)
    return made


def question_type(stimulus: str, tokens: Iterable[str]) -> str:
    """Return ``easy_dep``, ``easy_indep``, ``hard_dep`` or ``hard_indep``.

    Hard: more than two objects of the target's class in the scene (third part of ``stimulus``). Dependent: a token is
    one of ``VIEW_WORDS``.
    """
    alike = int(stimulus.split("-", maxsplit=4)[2])
    return f"{'easy' if alike <= 2 else 'hard'}_{'dep' if VIEW_WORDS & set(tokens) else 'indep'}"


def score(rows: Iterable[RowLike], ground_truth: Mapping[str, Sized], name: str = "nr3d") -> Report:
    """Return the share of answers that name the object meant, overall and by difficulty and view dependence.

    ``ground_truth`` maps a scene to its boxes (only their number counts). ``type_info`` is a ``question_type``. As
    published, an answer without a readable identifier counts as object 0; the strict figure takes it as wrong.
    """
    read = read_rows(rows, name)
    named = []
    for row in read:
        if row.type_info not in scanrefer.REFERIT_KINDS:
            raise DataError(f"{row.origin}: 'type_info' must be easy or hard _ dep or indep, found {row.type_info!r}")
        if row.scene_id not in ground_truth:
            raise DataError(f"{row.origin}: scene '{row.scene_id}' is not in the ground-truth boxes")
        named.append(scanrefer.chosen_proposal(row.pred, len(ground_truth[row.scene_id])))
    values = scanrefer.object_accuracy(read, named, scanrefer.referit_groups(read))
    scores = {metric: float(np.nanmean(value)) for metric, value in values.items() if not np.isnan(value).all()}
    groups = {"kind": tuple(str(row.type_info) for row in read)}
    by_row = RowScores(row_keys(read), tuple(row.scene_id for row in read), groups, values)
    counts = {"answers": len(read), "unreadable answers": sum(index is None for index in named)}
    return Report(name, scores, counts, (), by_row)


def _referit(record: Record) -> Record:
    tokens = record.values.get("tokens") or "[]"
    try:
        words = ast.literal_eval(tokens) if isinstance(tokens, str) else tokens
        kind = question_type(record.text("stimulus_id"), map(str, words))
    except (TypeError, ValueError, SyntaxError, IndexError):
        raise DataError(f"{record.origin}: 'stimulus_id' or 'tokens' is not in ReferIt3D's form") from None
    values = {"scene_id": record.text("scan_id"), "object_id": record.whole("target_id"), "type_info": kind}
    values["ann_id"] = record.values.get("assignmentid") or record.origin.rpartition(" ")[2]
    values["mentions_target_class"] = str(record.values.get("mentions_target_class", True)).strip().lower() == "true"
    return Record({**values, "description": record.text("utterance")}, record.origin)


def _beacon(record: Record) -> Record:
    values = {"scene_id": record.text("scan_id"), "object_ids": record.wholes("target_id")}
    return Record({**values, "description": record.text("utterance")}, record.origin)


def _vigil(record: Record) -> Record:
    listed = str(record.values.get("object_id") or "")
    targets = [int(part) for part in listed.replace(";", ",").split(",") if part.strip().isdigit()]
    values = {"scene_id": record.text("scene_id"), "object_ids": targets}
    return Record({**values, "description": record.text("description")}, record.origin)
