"""Question files: a JSON list, one row a question. A row's identity is its place in the file, never its ``qid``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.files.media import video_name
from gpt4scene.files.whole import read_json
from gpt4scene.types import Question

_PROPOSALS = "_mask3d"
_NOT_ASKED = ("images", "image", "video", "audios", "audio", "tools", "system", "messages", "conversations")
"""Keys that would change what is asked or shown; questions show the images of their scene, or their own ``videos``."""


def find_question_file(annotation_dir: str | Path, name: str) -> Path | None:
    """Return the question file ``name`` of a folder, or ``None`` where it has none.

    Files about proposals carry ``_mask3d`` in their name; where ``name`` is not there, the name with or without it is
    taken.
    """
    stem, _, split = name.removesuffix(".json").rpartition("_")
    other = stem.removesuffix(_PROPOSALS) if stem.endswith(_PROPOSALS) else stem + _PROPOSALS
    places = (Path(annotation_dir, name), Path(annotation_dir, f"{other}_{split}.json"))
    return next((place for place in places if place.is_file()), None)


def read_question_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a question file as they are; raise ``DataError`` when it is no list of rows with a scene."""
    rows = read_json(path, "question file")
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a list of questions, found a {type(rows).__name__}")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            found = type(row).__name__
            raise DataError(f"{path}, row {number}: a row must be an object with scene_id and prompt, found a {found}")
        _text(row, "scene_id", f"{path}, row {number}")
    return rows


def read_questions(path: Path, task: str, type_key: str | None = None, *, to_ask: bool = True) -> list[Question]:
    """Return the questions of one file, without the images of their scenes, with the names of their own videos.

    ``type_key`` names the key of the question's type, if any.

    What a row does not say is ``None``. A row without prompt is an error unless it is not ``to_ask``.
    """
    return [
        _question(row, task, index, f"{path}, row {index}", type_key, to_ask)
        for index, row in enumerate(read_question_rows(path))
    ]


def questions_of(rows: Iterable[tuple[str, dict[str, Any]]], task: str, type_key: str | None = None) -> list[Question]:
    """Return the questions of ``rows``, each with its origin, as if they stood in a question file in this order."""
    return [_question(row, task, index, where, type_key, False) for index, (where, row) in enumerate(rows)]


def _question(row: dict[str, Any], task: str, index: int, where: str, type_key: str | None, to_ask: bool) -> Question:
    passed_over = [name for name in _NOT_ASKED if row.get(name) not in (None, "", [], {})]
    if passed_over:
        raise DataError(
            f"{where}: '{passed_over[0]}' is not asked; a question shows its scene's images, which the list of images "
            "names, or the videos under 'videos', and its 'prompt'; remove the key"
        )
    videos = row.get("videos") or ()
    videos = [videos] if isinstance(videos, str) else videos
    if not isinstance(videos, list | tuple) or not all(isinstance(video, str) and video for video in videos):
        raise DataError(
            f"{where}: 'videos' must be a list of paths of videos, or of folders of frames, found {videos!r}"
        )
    try:
        shown = tuple(video_name([video]) for video in videos)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    captions = row.get("ref_captions")
    captions = captions if captions is None or isinstance(captions, list) else [captions]
    if not all(isinstance(item, str | int) and not isinstance(item, bool) for item in captions or ()):
        raise DataError(f"{where}: 'ref_captions' must be a list of texts or object numbers")
    kind = row.get(type_key or "", row.get("type_info", None if type_key else 0))
    qid = row.get("qid")
    for key, value in ((type_key or "type_info", kind), ("qid", qid)):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, str | int | float) or value != value
        ):
            raise DataError(f"{where}: '{key}' must be a text or a number, found {value!r}")
    source = row.get("source")
    if source is not None and not isinstance(source, dict):
        raise DataError(f"{where}: 'source' must be the official row, an object, found {source!r}")
    return Question(
        task=task,
        index=index,
        scene_id=row["scene_id"],
        prompt=_text(row, "prompt", where) if to_ask or row.get("prompt") else "",
        images=shown,
        qid=qid,
        obj_id=_whole_number(row, "obj_id" if "obj_id" in row else "gt_id", where),
        pred_id=_whole_number(row, "pred_id", where),
        ref_captions=None if captions is None else tuple(captions),
        type_info=kind,
        source=source,
    )


def _text(row: dict[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: '{key}' must be a text that is not empty, found {value!r}")
    return value


def _whole_number(row: dict[str, Any], key: str, where: str) -> int | None:
    value = row.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, str) and value.isdigit())):
        raise DataError(f"{where}: '{key}' must be an object number, found {value!r}")
    return int(value)
