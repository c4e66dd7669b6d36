"""Question files and the images of their scenes, read into :class:`~gpt4scene.types.Question`.

A folder of annotations holds one question file a task (``scanqa_val.json``, ``scanrefer_mask3d_val.json``, ...) and
``selected_images_mark_3D_val_32.json``, which lists the images of every scene in the order shown to the model.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.registry import nearest
from gpt4scene.types import TASKS, Question

PROPOSAL_TASKS = frozenset({"scanrefer", "scan2cap", "multi3dref"})
"""Tasks whose object numbers are Mask3D proposals; their files carry ``_mask3d_`` in the name."""

_TYPE_KEYS = {"sqa3d": "sqa_type", "multi3dref": "eval_type"}


def read_json(path: Path, what: str) -> Any:
    """Return the parsed content of ``path``; ``DataError`` names the file when it is absent, empty or no JSON."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: the {what} can't be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the {what} is not UTF-8 text ({error.reason} at byte {error.start})") from None
    if not text.strip():
        raise DataError(f"{path}: the {what} is empty (0 bytes of JSON); download or write it again")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}: the {what} is not JSON (line {error.lineno}, column {error.colno}: {error.msg}); "
            "it may be cut off: download or write it again"
        ) from None


def question_file(annotation_dir: str | Path, task: str, split: str = "val") -> Path | None:
    """Return the question file of ``task``, or None where the folder has none.

    ``<task>_mask3d_<split>.json`` comes first for the tasks about proposals, ``<task>_<split>.json`` for the others.
    """
    names = [f"{task}_{split}.json", f"{task}_mask3d_{split}.json"]
    if task in PROPOSAL_TASKS:
        names.reverse()
    return next((path for name in names if (path := Path(annotation_dir, name)).is_file()), None)


def find_tasks(annotation_dir: str | Path, tasks: str | Iterable[str], split: str = "val") -> list[str]:
    """Return the tasks to ask, in the published order; ``all`` stands for every task that has a question file.

    ``tasks`` is a comma-separated text or names. Unknown names, a missing folder, a named task without a file and
    an ``all`` that finds nothing raise ``DataError``.
    """
    folder = Path(annotation_dir)
    if not folder.is_dir():
        raise DataError(f"{folder}: the annotation folder does not exist; give it with --annotation_dir")
    names = [name.strip() for name in tasks.split(",")] if isinstance(tasks, str) else list(tasks)
    names = [name for name in names if name]
    if names == ["all"] or not names:
        found = [task for task in TASKS if question_file(folder, task, split)]
        if not found:
            raise DataError(
                f"{folder}: no question file of the split '{split}' (such as scanqa_{split}.json) is in this folder"
            )
        return found
    for name in names:
        if name not in TASKS:
            raise DataError(f"task '{name}' is not known{nearest(name, list(TASKS))} (known: all, {', '.join(TASKS)})")
        if question_file(folder, name, split) is None:
            middle = "_mask3d" if name in PROPOSAL_TASKS else ""
            raise DataError(f"{folder / f'{name}{middle}_{split}.json'}: the question file of {name} does not exist")
    return [task for task in TASKS if task in names]


def images_file(annotation_dir: str | Path, split: str = "val", name: str | Path | None = None) -> Path:
    """Return the JSON file that lists every scene's images.

    ``name`` is a path, or a file name in ``annotation_dir``. Without it the only ``selected_images*_<split>_<n>.json``
    is taken; among several, one with ``mark_3D`` in its name goes first. A choice that stays open is a ``DataError``.
    """
    folder = Path(annotation_dir)
    if name is not None:
        tried = [Path(name), folder / name]
        for path in tried:
            if path.is_file():
                return path
        raise DataError("the list of images does not exist; tried: " + ", ".join(str(path) for path in tried))
    form = re.compile(rf"selected_images.*_{re.escape(split)}(_\d+)?\.json")
    found = sorted(path for path in folder.glob("selected_images*.json") if form.fullmatch(path.name))
    marked = [path for path in found if "mark_3D" in path.name]
    chosen = marked or found
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        raise DataError(f"{folder}: no list of images (selected_images_mark_3D_{split}_32.json) is in this folder")
    raise DataError(
        f"{folder}: several lists of images ({', '.join(path.name for path in chosen)}); choose one with --images NAME"
    )


def resolve_image(written: str, listed_in: Path, media_dir: str | Path | None = None) -> tuple[str | None, list[str]]:
    """Return the path that exists for an image as ``written`` in ``listed_in``, or None, and every path tried.

    Tried in order: the path as it is (relative ones from the working directory), under ``media_dir``, beside the
    JSON file, beside the JSON file's folder.
    """
    places = [Path(written)]
    if not Path(written).is_absolute():
        if media_dir is not None:
            places.append(Path(media_dir, written))
        places += [listed_in.parent / written, listed_in.parent.parent / written]
    tried: list[str] = []
    for place in places:
        if place.is_file():
            return str(place), tried
        tried.append(str(place))
    return None, tried


def scene_images(
    listed_in: Path, scenes: Iterable[str], media_dir: str | Path | None = None
) -> dict[str, tuple[str, ...]]:
    """Return ``{scene: image paths}`` for ``scenes``, every path an existing file.

    A scene that the file does not list, a scene without images and an image found nowhere raise ``DataError``.
    """
    listed = read_json(listed_in, "list of images")
    if not isinstance(listed, dict):
        raise DataError(f"{listed_in}: expected one object {{scene: [image, ...]}}, found a {type(listed).__name__}")
    wanted = sorted(set(scenes))
    absent = [scene for scene in wanted if scene not in listed]
    if absent:
        more = f" (and {len(absent) - 1} more scenes)" if len(absent) > 1 else ""
        raise DataError(
            f"{listed_in}: scene '{absent[0]}'{more} is in the questions but not in the list of images; "
            "prepare it, or remove its questions"
        )
    found: dict[str, tuple[str, ...]] = {}
    missing: list[tuple[str, str, list[str]]] = []
    for scene in wanted:
        written = listed[scene]
        if not isinstance(written, list) or not written or not all(isinstance(item, str) for item in written):
            raise DataError(f"{listed_in}: the images of scene '{scene}' must be a list of paths, not empty")
        paths = []
        for item in written:
            path, tried = resolve_image(item, listed_in, media_dir)
            if path is None:
                missing.append((scene, item, tried))
            else:
                paths.append(path)
        found[scene] = tuple(paths)
    if missing:
        scene, item, tried = missing[0]
        more = f" (and {len(missing) - 1} more images)" if len(missing) > 1 else ""
        raise DataError(
            f"{listed_in}: image '{item}' of scene '{scene}' was not found{more}; tried: {', '.join(tried)}; "
            "--media_dir names the folder that holds the images"
        )
    return found


def _whole_number(row: dict[str, Any], key: str, where: str) -> int:
    value = row.get(key)
    if value is None or value == "":
        return 0
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, str) and value.isdigit())):
        raise DataError(f"{where}: '{key}' must be an object number, found {value!r}")
    return int(value)


def _question(row: Any, task: str, index: int, where: str) -> Question:
    if not isinstance(row, dict):
        raise DataError(f"{where}: a row must be an object with scene_id and prompt, found a {type(row).__name__}")
    for key in ("scene_id", "prompt"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise DataError(f"{where}: '{key}' must be a text that is not empty, found {row.get(key)!r}")
    captions = row.get("ref_captions")
    captions = [] if captions is None else captions if isinstance(captions, list) else [captions]
    if not all(isinstance(item, str | int) for item in captions):
        raise DataError(f"{where}: 'ref_captions' must be a list of texts or object numbers")
    return Question(
        task=task,
        index=index,
        scene_id=row["scene_id"],
        prompt=row["prompt"],
        qid=row.get("qid"),
        obj_id=_whole_number(row, "obj_id" if "obj_id" in row else "gt_id", where),
        pred_id=_whole_number(row, "pred_id", where),
        ref_captions=tuple(captions),
        type_info=row.get(_TYPE_KEYS.get(task, ""), row.get("type_info", 0)),
    )


def read_questions(path: Path, task: str) -> list[Question]:
    """Return the rows of one question file, without images. A row's identity is its place in the file."""
    rows = read_json(path, "question file")
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a list of questions, found a {type(rows).__name__}")
    return [_question(row, task, index, f"{path}, row {index}") for index, row in enumerate(rows)]


def load_questions(
    annotation_dir: str | Path,
    tasks: str | Sequence[str] = "all",
    media_dir: str | Path | None = None,
    *,
    split: str = "val",
    images: str | Path | None = None,
) -> list[Question]:
    """Return all questions of ``tasks`` with their images resolved, in file order, task after task.

    Rows without ``qid`` and rows that share one are all asked. ``DataError`` names file, row or scene and the way out.
    """
    folder = Path(annotation_dir)
    questions: list[Question] = []
    for task in find_tasks(folder, tasks, split):
        path = question_file(folder, task, split)
        assert path is not None
        questions += read_questions(path, task)
    if not questions:
        return []
    listed_in = images_file(folder, split, images)
    found = scene_images(listed_in, (question.scene_id for question in questions), media_dir)
    return [dataclasses.replace(question, images=found[question.scene_id]) for question in questions]
