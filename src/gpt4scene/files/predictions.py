"""Reading prediction folders and annotation folders; every error names file and row and the way out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.answer_rows import PredictionRow, read_row
from gpt4scene.files.tensors import NotReadable, read_tensors
from gpt4scene.metrics.boxes import SceneBoxes, scene_boxes
from gpt4scene.types import TASKS

QUESTION_FILES = {
    "scanqa": "scanqa_val.json",
    "sqa3d": "sqa3d_val.json",
    "scan2cap": "scan2cap_mask3d_val.json",
    "scanrefer": "scanrefer_mask3d_val.json",
    "multi3dref": "multi3dref_mask3d_val.json",
}
"""Question file of each task in an annotation folder."""

PROPOSALS = "scannet_mask3d_{split}_attributes.pt"
GROUND_TRUTH = "scannet_{split}_attributes.pt"
CORPUS = "scan2cap_val_corpus.json"
LOOKUP = "scanrefer_unique_multiple_lookup.json"


@dataclass(frozen=True)
class Predictions:
    """The answers of one task, in the order of their question index where they carry one."""

    task: str
    rows: list[PredictionRow]
    notes: tuple[str, ...] = ()


def read_json(path: Path) -> object:
    """Return the content of a JSON file; raise ``DataError`` for a missing, empty or broken one."""
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors write a byte order mark
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}); write or download it again") from None
    if not text.strip():
        raise DataError(f"{path}: the file is empty; write or download it again")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: no JSON at line {error.lineno} ({error.msg}); write or download it again") from None


def prediction_files(folder: Path, task: str) -> dict[str, list[Path]]:
    """Return the files in ``folder`` that hold answers of ``task``: form -> files, the form to be read first."""
    journals = [folder / f"{task}.jsonl", *sorted(folder.glob(f"{task}.shard*.jsonl"), key=_number)]
    chunks = sorted(folder.glob(f"*_{task}/predictions_chunk_*.json"), key=lambda path: (path.parent, _number(path)))
    found = {
        "journal": [path for path in journals if path.is_file()],
        "list": [path for path in [folder / f"{task}.json"] if path.is_file()],
        "chunks": chunks,
    }
    return {form: files for form, files in found.items() if files}


def question_file(annotation_dir: Path, task: str) -> Path:
    """Return the question file of ``task``: the published name, else with or without ``_mask3d`` if that is there."""
    names = [QUESTION_FILES[task], f"{task}_mask3d_val.json", f"{task}_val.json"]
    return next(
        (annotation_dir / name for name in names if (annotation_dir / name).is_file()), annotation_dir / names[0]
    )


def tasks_in(folder: Path) -> list[str]:
    """Return the tasks that ``folder`` holds answers of, in published order."""
    return [task for task in TASKS if prediction_files(folder, task)]


def read_predictions(folder: Path, task: str) -> Predictions:
    """Return the answers of ``task`` in ``folder``.

    Read are ``<task>.jsonl`` with ``<task>.shard*.jsonl``, else ``<task>.json``, else
    ``<model>_<task>/predictions_chunk_<i>.json`` of one model. A last line that was cut off while it was written is
    left out and noted. Raises ``DataError`` for missing, empty or broken files and for questions answered twice.
    """
    found = prediction_files(folder, task)
    if not found:
        raise DataError(
            f"{folder}: no answers for '{task}' (looked for {task}.jsonl, {task}.shard*.jsonl, {task}.json, "
            f"<model>_{task}/predictions_chunk_<i>.json)"
        )
    form, *others = found
    notes = [f"read the {form} of {task} and left out {', '.join(map(str, found[other]))}" for other in others]
    if len({path.parent for path in found[form]}) > 1:
        folders = ", ".join(sorted({path.parent.name for path in found[form]}))
        raise DataError(f"{folder}: answers of several models for '{task}' ({folders}); keep one in the folder")
    rows, unended = [], []
    for path in found[form]:
        if form != "journal":
            rows += _list(path)
            continue
        read, last, more = _journal(path)
        rows += read
        unended += last
        notes += more
    answered = {row.index for row in rows}
    rows += [row for row in unended if row.index is None or row.index not in answered]
    if not rows:
        raise DataError(f"{folder}: the {form} of '{task}' holds no answers ({', '.join(map(str, found[form]))})")
    check_duplicates(rows)
    if all(row.index is not None for row in rows):
        rows.sort(key=lambda row: row.index)
    return Predictions(task, rows, tuple(notes))


def check_duplicates(rows: list[PredictionRow]) -> None:
    """Raise ``DataError`` where a question is answered twice.

    Rows with ``index`` are told apart by it, others by all they say about the question, if they have a ``qid``.
    """
    seen: dict[object, PredictionRow] = {}
    for row in rows:
        if row.index is not None:
            key: object = row.index
        elif row.qid in (None, "", 0):
            continue
        else:
            key = (row.scene_id, row.qid, row.gt_id, row.pred_id, row.prompt, row.ref_captions, row.type_info)
        if key in seen:
            raise DataError(f"{row.origin}: answers the same question as {seen[key].origin}; remove one of the two")
        seen[key] = row


def read_attributes(path: Path) -> SceneBoxes:
    """Return boxes and labels of a ``scannet*_attributes.pt`` file (``{scene: {"objects", "locs"}}``).

    Raises ``DataError`` for a missing or broken file, boxes of another shape and numbers that are not finite.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; download the annotations or run `gpt4scene prepare`")
    try:
        content = read_tensors(path)
    except NotReadable as error:
        raise DataError(f"{path}: not a readable attributes file ({error})") from None
    if not isinstance(content, Mapping) or not all(isinstance(v, Mapping) and "locs" in v for v in content.values()):
        raise DataError(f"{path}: expected {{scene: {{'objects': labels, 'locs': boxes}}}}")
    boxes, labels = {}, {}
    for scene, value in content.items():
        try:
            boxes[scene] = np.array([*value["locs"]], dtype=np.float64)
            labels[scene] = tuple(map(str, value.get("objects", ())))
        except (TypeError, ValueError):
            raise DataError(
                f"{path}: scene '{scene}' must hold labels in 'objects' and rows of six numbers in 'locs'"
            ) from None
    return SceneBoxes(scene_boxes(boxes, str(path)).scenes, str(path), labels)


def read_corpus(path: Path) -> dict[str, list[str]]:
    """Return ``scan2cap_val_corpus.json``: ``scene|object -> captions``."""
    corpus = read_json(path)
    if not isinstance(corpus, dict):
        raise DataError(f"{path}: expected {{'scene|object': [captions]}}")
    for key, captions in corpus.items():
        scene, _, target = key.rpartition("|")
        if not scene or not target.isdecimal():
            raise DataError(f"{path}: the key '{key}' must name scene and object as 'scene0011_00|4'")
        if not isinstance(captions, list) or not captions or not all(isinstance(caption, str) for caption in captions):
            raise DataError(f"{path}: '{key}' must hold a list of captions, found {captions!r}")
    return corpus


def read_lookup(path: Path) -> dict[str, dict[str, int]]:
    """Return ``scanrefer_unique_multiple_lookup.json``: ``scene -> object -> 0 unique | 1 multiple``."""
    lookup = read_json(path)
    if not isinstance(lookup, dict) or not all(isinstance(objects, dict) for objects in lookup.values()):
        raise DataError(f"{path}: expected {{scene: {{object: 0 or 1}}}}")
    for scene, objects in lookup.items():
        for target, kind in objects.items():
            if kind not in (0, 1):
                raise DataError(f"{path}: object {target} of scene '{scene}' must be 0 (unique) or 1, found {kind!r}")
    return lookup


def read_questions(path: Path) -> list[dict]:
    """Return the rows of a question file; raise ``DataError`` when it is no list of objects with ``scene_id``."""
    rows = read_json(path)
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a list of questions")
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or not isinstance(row.get("scene_id"), str):
            raise DataError(f"{path}, row {number}: a question must be an object with 'scene_id'")
    return rows


def _number(path: Path) -> tuple[int, str]:
    digits = re.findall(r"\d+", path.stem)
    return (int(digits[-1]) if digits else -1, path.name)


def _list(path: Path) -> list[PredictionRow]:
    content = read_json(path)
    if not isinstance(content, list):
        raise DataError(f"{path}: expected a list of predictions")
    return [read_row(record, f"{path}, row {number}") for number, record in enumerate(content)]


def _journal(path: Path) -> tuple[list[PredictionRow], list[PredictionRow], list[str]]:
    """Return the rows of whole lines, the row of a last line without its line end if it can be read, and notes."""
    rows, unended, notes = [], [], []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            if number == len(lines):
                notes.append(f"{path}: line {number} was cut off while it was written and is left out")
                continue
            raise DataError(
                f"{path}, line {number}: not a whole JSON line; remove the line and infer again to fill the gap"
            ) from None
        if isinstance(record, dict) and "settings" in record and "pred" not in record:
            continue
        (unended if number == len(lines) else rows).append(read_row(record, f"{path}, line {number}"))
    return rows, unended, notes
