"""Further sources of grounding rows: ReferIt3D (Nr3D, Sr3D), Beacon-3D and ViGiL3D; and ReferIt3D's accuracy.

ReferIt3D names ground-truth objects, so its published figures compare object ids, not boxes.
"""

from __future__ import annotations

import ast
import csv
import random
from collections.abc import Iterable, Mapping, Sized
from pathlib import Path

import numpy as np

from gpt4scene.benchmarks import multi3dref, scanrefer
from gpt4scene.benchmarks.files import read_json
from gpt4scene.benchmarks.making import Made, Record, Rooms
from gpt4scene.benchmarks.reports import Report, RowScores, row_keys
from gpt4scene.benchmarks.rows import RowLike, read_rows
from gpt4scene.types import DataError

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

_GROUPS = ("Easy", "Hard", "View Dep", "View Indep")


def read_source(path: Path, name: str) -> list[Record]:
    """Return the rows of a source as ScanRefer (``nr3d``, ``sr3d``) or Multi3DRefer records.

    Raises ``DataError`` for a file without the columns of that source.
    """
    if name == "beacon3d":
        rows = read_json(path)
        if not isinstance(rows, list):
            raise DataError(f"{path}: expected a list of grounding rows")
    else:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    make = {"nr3d": _referit, "sr3d": _referit, "beacon3d": _beacon, "vigil3d": _vigil}[name]
    return [make(Record(row, f"{path}, row {number}")) for number, row in enumerate(rows)]


def training(records: Iterable[Record], rooms: Rooms, generator: random.Random, name: str) -> Made:
    """Return training rows of a source, by the rules (and in the answers) of ScanRefer or Multi3DRefer."""
    benchmark = scanrefer if name in ("nr3d", "sr3d") else multi3dref
    return benchmark.training(records, rooms, generator)


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
        if row.type_info not in ("easy_dep", "easy_indep", "hard_dep", "hard_indep"):
            raise DataError(f"{row.origin}: 'type_info' must be easy or hard _ dep or indep, found {row.type_info!r}")
        if row.scene_id not in ground_truth:
            raise DataError(f"{row.origin}: scene '{row.scene_id}' is not in the ground-truth boxes")
        named.append(scanrefer.chosen_proposal(row.pred, len(ground_truth[row.scene_id])))
    right_B = np.array([(index or 0) == row.gt_id for index, row in zip(named, read, strict=True)])
    read_B = np.array([index is not None for index in named])
    kinds = [str(row.type_info).split("_") for row in read]
    easy_B = np.array([difficulty == "easy" for difficulty, _ in kinds])
    dependent_B = np.array([view == "dep" for _, view in kinds])
    values = {"Overall Acc": right_B.astype(np.float64)}
    for group, members_B in zip(_GROUPS, (easy_B, ~easy_B, dependent_B, ~dependent_B), strict=True):
        values[f"{group} Acc"] = np.where(members_B, right_B, np.nan)
    values["strict Overall Acc"] = (right_B & read_B).astype(np.float64)
    scores = {metric: float(np.nanmean(value)) for metric, value in values.items() if not np.isnan(value).all()}
    groups = {"kind": tuple(str(row.type_info) for row in read)}
    by_row = RowScores(row_keys(read), tuple(row.scene_id for row in read), groups, values)
    counts = {"answers": len(read), "unreadable answers": int((~read_B).sum())}
    return Report(name, scores, counts, (), by_row)


def _referit(record: Record) -> Record:
    tokens = record.values.get("tokens") or "[]"
    try:
        words = ast.literal_eval(tokens) if isinstance(tokens, str) else tokens
        kind = question_type(record.text("stimulus_id"), map(str, words))
    except (ValueError, SyntaxError, IndexError):
        raise DataError(f"{record.origin}: 'stimulus_id' or 'tokens' is not in ReferIt3D's form") from None
    values = {"scene_id": record.text("scan_id"), "object_id": record.whole("target_id"), "type_info": kind}
    return Record({**values, "description": record.text("utterance")}, record.origin)


def _beacon(record: Record) -> Record:
    values = {"scene_id": record.text("scan_id"), "object_ids": record.wholes("target_id")}
    return Record({**values, "description": record.text("utterance")}, record.origin)


def _vigil(record: Record) -> Record:
    listed = str(record.values.get("object_id") or "")
    targets = [int(part) for part in listed.replace(";", ",").split(",") if part.strip().isdigit()]
    values = {"scene_id": record.text("scene_id"), "object_ids": targets}
    return Record({**values, "description": record.text("description")}, record.origin)
