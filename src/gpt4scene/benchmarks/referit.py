"""ReferIt3D (Nr3D, Sr3D): descriptions of one object in the form of ScanRefer, and their own accuracy."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence, Sized
from functools import partial
from pathlib import Path

import numpy as np

from gpt4scene.benchmarks import scanrefer
from gpt4scene.benchmarks.benchmark import further_source, scores_by_row
from gpt4scene.benchmarks.grounding import REFERIT_KINDS, chosen_proposal, object_accuracy, referit_groups
from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.rows import Dropped
from gpt4scene.errors import DataError
from gpt4scene.files.answers import RowLike, read_rows
from gpt4scene.files.raw import Record, read_table
from gpt4scene.metrics.scores import Report

VIEW_WORDS = frozenset(
    ["front", "behind", "back", "right", "left", "facing", "leftmost", "rightmost", "looking", "across"]
)
"""Words that make an utterance view dependent, ReferIt3D's own list."""

NOT_MENTIONED = "target class not mentioned"


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
    read = read_rows(rows, name, ("gt_id", "type_info"))
    named = []
    for row in read:
        if row.type_info not in REFERIT_KINDS:
            raise DataError(f"{row.origin}: 'type_info' must be easy or hard _ dep or indep, found {row.type_info!r}")
        if row.scene_id not in ground_truth:
            raise DataError(f"{row.origin}: scene '{row.scene_id}' is not in the ground-truth boxes")
        named.append(chosen_proposal(row.pred, len(ground_truth[row.scene_id])))
    values = object_accuracy(read, named, referit_groups(read))
    scores = {metric: float(np.nanmean(value)) for metric, value in values.items() if not np.isnan(value).all()}
    groups = {"kind": tuple(str(row.type_info) for row in read)}
    counts = {"answers": len(read), "unreadable answers": sum(index is None for index in named)}
    return Report(name, scores, counts, (), scores_by_row(read, groups, values))


def read(paths: Sequence[Path]) -> list[Record]:
    """Return the rows of an official file as ScanRefer's records; ``DataError`` for a file of other columns."""
    return [_record(record) for record in read_table(paths[0])]


def _record(record: Record) -> Record:
    kind = None if record.name("tokens") is None else _kind(record)
    values = {"scene_id": record.text("scan_id"), "object_id": record.whole("target_id"), "type_info": kind}
    values["ann_id"] = record.name("assignmentid") or record.origin.rpartition(" ")[2]
    said = str(record.values.get("mentions_target_class", True)).strip().lower()
    if said not in ("true", "false"):
        raise DataError(f"{record.origin}: 'mentions_target_class' must be True or False, found {said!r}")
    values["mentions_target_class"] = said == "true"
    return Record({**values, "description": record.text("utterance")}, record.origin)


def _kind(record: Record) -> str:
    try:
        words = ast.literal_eval(record.text("tokens"))
        return question_type(record.text("stimulus_id"), map(str, words))
    except (TypeError, ValueError, SyntaxError, IndexError):
        raise DataError(f"{record.origin}: 'stimulus_id' or 'tokens' is not in ReferIt3D's form") from None


def mentioned(records: list[Record], scenes: Scenes) -> list[Record | Dropped]:
    """Drop utterances that do not mention the target's class, as ReferIt3D's own evaluation does.

    Raises ``DataError`` for a record whose type, by which figures are broken down, nothing tells.
    """
    for record in records:
        if record.values["type_info"] is None:
            raise DataError(
                f"{record.origin}: 'tokens' is missing, which tells questions that depend on the view; download the "
                "file again"
            )
    return [record if record.values["mentions_target_class"] else Dropped(NOT_MENTIONED) for record in records]


_source = partial(further_source, scanrefer.BENCHMARK, read=read, question_records=mentioned)
NR3D = _source(name="nr3d", title="Nr3D", raw_file="nr3d.csv")
SR3D = _source(name="sr3d", title="Sr3D", raw_file="sr3d.csv")
