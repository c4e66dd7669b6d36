"""What is on disk about prepared scenes: one ``scene.json`` each, and the split's files made from all of them.

A scene is finished when its ``scene.json`` is there: it is written last. The split's files are made anew from the
finished scenes under a lock, so that any number of processes may work on one folder.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.annotation import attributes_of, write_attributes
from gpt4scene.scans.types import SceneObject


def scene_json(out: Path, scene_id: str) -> Path:
    """Where a scene's description lies."""
    return out / "scenes" / scene_id / "scene.json"


def read_scene(path: Path) -> dict:
    """A finished scene's description; DataError when the file is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or "settings" not in content:
            raise ValueError("it has no settings")
    except (ValueError, OSError, RecursionError) as error:
        raise DataError(f"{path}: is damaged ({error}); remove it and prepare the scene again") from error
    return content


def write_json(path: Path, content: object) -> None:
    """Write JSON under a temporary name, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)


def finished_scenes(out: Path, split: str, frames: int) -> Iterator[tuple[str, dict]]:
    """Name and description of every finished scene of a split with so many frames, by name."""
    for path in sorted((out / "scenes").glob("*/scene.json")):
        content = read_scene(path)
        settings = content["settings"]
        if settings["split"] == split and settings["frames"] == frames:
            yield content["scene_id"], content


def write_split_files(out: Path, split: str, frames: int) -> list[Path]:
    """Write the image lists and attribute files of a split from its finished scenes; the paths written.

    ``selected_images_mark_3D_<split>_<n>.json`` (without ``mark_`` for unmarked twins) hold paths relative to ``out``,
    bird's-eye view first. ``scannet_<split>_attributes.pt`` has the annotated objects (the marked ones where a scan has
    no annotation of its own), ``scannet_mask3d_<split>_attributes.pt`` the marked ones.
    """
    with _locked(out):
        marked: dict[str, list[str]] = {}
        plain: dict[str, list[str]] = {}
        annotated, proposed = {}, {}
        for scene_id, content in finished_scenes(out, split, frames):
            images = [content["bev"], *content["frames"]]
            marked[scene_id] = [image["image"] for image in images]
            if content["settings"]["keep_unmarked"]:
                plain[scene_id] = [unmarked(image["image"]) for image in images]
            proposed[scene_id] = attributes_of(_objects(content["objects"]))
            annotated[scene_id] = attributes_of(_objects(content["ground_truth"] or content["objects"]))
        written = [out / f"selected_images_mark_3D_{split}_{frames}.json"]
        write_json(written[0], marked)
        if plain:
            written.append(out / f"selected_images_3D_{split}_{frames}.json")
            write_json(written[-1], plain)
        for name, table in ((f"scannet_{split}", annotated), (f"scannet_mask3d_{split}", proposed)):
            written.append(out / f"{name}_attributes.pt")
            write_attributes(written[-1], table)
    return written


def unmarked(image: str) -> str:
    """Path of an image's twin without markers: ``images_2D/...`` becomes ``images_2D_unmarked/...``."""
    folder, _, rest = image.partition("/")
    return f"{folder}_unmarked/{rest}"


def _objects(rows: Sequence[Mapping]) -> list[SceneObject]:
    return [SceneObject(r["id"], r["label"], np.array(r["center"]), np.array(r["size"])) for r in rows]


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold the folder's lock; it is released when the process ends, however it ends."""
    out.mkdir(parents=True, exist_ok=True)
    with open(out / ".split_files.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
