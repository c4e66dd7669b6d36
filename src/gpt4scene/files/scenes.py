"""The folder of prepared scenes: one ``scene.json`` each, their images, and a split's files made from all of them.

A scene is finished when its ``scene.json`` is there: it is written last. The split's files are made anew from the
finished scenes under a lock, so that any number of processes may work on one folder.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gpt4scene.errors import DataError
from gpt4scene.files.annotation import GROUND_TRUTH, PROPOSALS, attributes_of, write_attributes
from gpt4scene.files.images import IMAGE_LIST
from gpt4scene.files.whole import read_json, write_json

UNMARKED_LIST = "selected_images_3D_{split}_{frames}.json"
"""Name of the list of a split's images without markers."""


def scene_json(out: Path, scene_id: str) -> Path:
    """Where a scene's description lies."""
    return out / "scenes" / scene_id / "scene.json"


def sheet_image(out: Path, scene_id: str) -> Path:
    """Where a scene's contact sheet lies."""
    return scene_json(out, scene_id).with_name("contact_sheet.jpg")


def bev_image(scene_id: str) -> str:
    """Path of a scene's bird's-eye view with markers, relative to the folder."""
    return f"images_3D/{scene_id}/bev.jpg"


def frame_image(scene_id: str, frame: str) -> str:
    """Path of a frame with markers, relative to the folder."""
    return f"images_2D/{scene_id}/{frame}.jpg"


def unmarked(image: str) -> str:
    """Path of an image's twin without markers: ``images_2D/...`` becomes ``images_2D_unmarked/...``."""
    folder, _, rest = image.partition("/")
    return f"{folder}_unmarked/{rest}"


def read_scene(path: Path) -> dict:
    """A finished scene's description; DataError when the file is damaged."""
    try:
        content = read_json(path, "description of the scene")
    except DataError as error:
        raise DataError(f"{path}: is damaged; remove it and prepare the scene again ({error})") from error
    if not isinstance(content, dict) or "settings" not in content:
        raise DataError(f"{path}: is damaged; remove it and prepare the scene again (it has no settings)")
    return content


def write_scene(out: Path, content: Mapping) -> None:
    """Write a scene's description, which makes the scene a finished one."""
    write_json(scene_json(out, content["scene_id"]), content)


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
            marked[scene_id] = [image["image"] for image in (content["bev"], *content["frames"])]
            if content["settings"]["keep_unmarked"]:
                plain[scene_id] = [unmarked(image) for image in marked[scene_id]]
            proposed[scene_id] = attributes_of(content["objects"])
            annotated[scene_id] = attributes_of(content["ground_truth"] or content["objects"])
        written = [write_json(out / IMAGE_LIST.format(split=split, frames=frames), marked)]
        if plain:
            written.append(write_json(out / UNMARKED_LIST.format(split=split, frames=frames), plain))
        written.append(write_attributes(out / GROUND_TRUTH.format(split=split), annotated))
        written.append(write_attributes(out / PROPOSALS.format(split=split), proposed))
    return written


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold the folder's lock; it is released when the process ends, however it ends."""
    out.mkdir(parents=True, exist_ok=True)
    with open(out / ".split_files.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
