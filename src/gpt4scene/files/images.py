"""Where the images of scenes are: the lists that name them, and the one order in which they are looked for."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt4scene.errors import DataError
from gpt4scene.files.media import VIDEO_FILES, is_video, paths_of, video_name
from gpt4scene.files.whole import read_json

IMAGE_LIST = "selected_images_mark_3D_{split}_{frames}.json"
"""Name of the list of a split's marked images: ``{scene: [path, ...]}``, the bird's-eye view first."""


@dataclass(frozen=True)
class ImageSearch:
    """Finds the file that an image path means.

    Tried in this order: the path as it is (a relative one from the working directory), then below each of ``folders``.
    """

    folders: tuple[str, ...]

    @classmethod
    def around(
        cls,
        named_in: str | Path | None,
        media_dir: str | os.PathLike[str] | None = None,
        dataset_dir: str | os.PathLike[str] | None = None,
    ) -> ImageSearch:
        """Return the search for paths that stand in the file ``named_in``.

        Its folders: ``media_dir``, ``dataset_dir``, the folder of the file, and the one above that. Raises
        ``DataError`` for a ``media_dir`` that is no folder.
        """
        if media_dir is not None and not os.path.isdir(media_dir):
            raise DataError(f"media_dir {os.fspath(media_dir)}: there is no such folder; correct it, or leave it out")
        beside = [] if named_in is None else [Path(named_in).parent, Path(named_in).parent.parent]
        places = [media_dir, dataset_dir, *beside]
        return cls(tuple(dict.fromkeys(os.fspath(place) for place in places if place is not None)))

    def places(self, name: str) -> list[str]:
        """Return every path that is tried for ``name``, in order."""
        if os.path.isabs(name):
            return [name]
        return list(dict.fromkeys([name, *(os.path.join(folder, name) for folder in self.folders)]))

    def find(self, name: str, *, folders: bool = False) -> str | None:
        """Return the first of ``places`` that is a file, or also a folder where ``folders`` will do, or ``None``."""
        there = os.path.exists if folders else os.path.isfile
        if not name:  # else it would be each of the folders
            return None
        return next((place for place in self.places(name) if there(place)), None)

    def find_listed(self, name: str) -> str | None:
        """Return what ``find`` does of an entry of a list; of a video file or a folder of frames its name."""
        place = self.find(name, folders=True)
        if place is None or not (os.path.isdir(place) or place.lower().endswith(VIDEO_FILES)):
            return place
        return video_name([place])

    def find_named(self, name: str) -> str:
        """Return the name of an image or a video with its paths as they are found.

        Raises ``DataError``, as a phrase that a row goes before, for one that is not there.
        """
        video = is_video(name)
        found: list[str] = []
        for path in paths_of(name):
            place = self.find(path, folders=video)
            if place is None:
                kind, tried = "video" if video else "image", ", ".join(self.places(path))
                raise DataError(f"{kind} '{path}' is not there; tried {tried}; set media_dir")
            found.append(place)
        return video_name(found) if video else found[0]


def image_list_file(
    folder: str | Path,
    split: str = "val",
    name: str | Path | None = None,
    frames: int | None = None,
    flag: str = "--images",
) -> Path:
    """Return the JSON file that lists every scene's images.

    ``name`` is a path, or a file name in ``folder``. Without it the only ``selected_images*_<split>_<frames>.json`` is
    taken; among several, one with ``mark_3D`` in its name goes first. A choice that stays open is a ``DataError``;
    ``flag`` is the way out that it names.
    """
    folder = Path(folder)
    if name is not None:
        tried = [Path(name), folder / name]
        for path in tried:
            if path.is_file():
                return path
        raise DataError("the list of images does not exist; tried: " + ", ".join(str(path) for path in tried))
    number = r"(_\d+)?" if frames is None else f"_{frames}"
    form = re.compile(rf"selected_images.*_{re.escape(split)}{number}\.json")
    found = sorted(path for path in folder.glob("selected_images*.json") if form.fullmatch(path.name))
    marked = [path for path in found if "mark_3D" in path.name]
    chosen = marked or found
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        wanted = IMAGE_LIST.format(split=split, frames=frames or 32)
        raise DataError(f"{folder}: no list of images ({wanted}) is in this folder; `gpt4scene prepare` writes one")
    names = ", ".join(path.name for path in chosen)
    raise DataError(f"{folder}: several lists of images ({names}); choose one with {flag}")


def read_image_list(path: Path) -> dict[str, list[str]]:
    """Return ``{scene: image paths}`` as they are written; raise ``DataError`` for a file of another form."""
    listed = read_json(path, "list of images")
    if not isinstance(listed, dict):
        raise DataError(f"{path}: expected one object {{scene: [image, ...]}}, found a {type(listed).__name__}")
    for scene, images in listed.items():
        if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
            raise DataError(f"{path}: scene '{scene}' must hold a list of image paths, found {images!r}")
    return listed


def scene_images(path: Path, scenes: Iterable[str], media_dir: str | Path | None = None) -> dict[str, tuple[str, ...]]:
    """Return ``{scene: image paths}`` for ``scenes`` from the list ``path``, every path an existing file.

    An entry that is a video file, or a folder of frames, becomes the name of a video (``media``). A scene that the list
    does not name, a scene without images and an image found nowhere raise ``DataError``.
    """
    listed, wanted = read_image_list(path), sorted(set(scenes))
    absent = [scene for scene in wanted if scene not in listed]
    if absent:
        raise DataError(
            f"{path}: scene '{absent[0]}'{_more(absent, 'scenes')} is in the questions but not in the list of images; "
            "prepare it, or remove its questions"
        )
    empty = [scene for scene in wanted if not listed[scene]]
    if empty:
        raise DataError(f"{path}: scene '{empty[0]}'{_more(empty, 'scenes')} has no images; prepare it again")
    search = ImageSearch.around(path, media_dir)
    found = {scene: [search.find_listed(image) for image in listed[scene]] for scene in wanted}
    missing = [
        (scene, image)
        for scene in wanted
        for image, place in zip(listed[scene], found[scene], strict=True)
        if place is None
    ]
    if missing:
        scene, image = missing[0]
        raise DataError(
            f"{path}: image '{image}' of scene '{scene}' was not found{_more(missing, 'images')}; tried: "
            f"{', '.join(search.places(image))}; --media_dir names the folder that holds the images"
        )
    return {scene: tuple(place for place in places if place is not None) for scene, places in found.items()}


def odd_scenes(images: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a sentence for scenes that list an image twice, and one for those with another number than most."""
    notes = []
    twice = [scene for scene, names in images.items() if len(set(names)) < len(names)]
    if twice:
        name = next(name for name in images[twice[0]] if images[twice[0]].count(name) > 1)
        notes.append(f"scene '{twice[0]}'{_more(twice, 'scenes')} lists an image twice ({name})")
    usual = Counter(map(len, images.values())).most_common(1)[0][0] if images else 0
    other = [scene for scene, names in images.items() if len(names) != usual]
    if other:
        count = len(images[other[0]])
        notes.append(f"scene '{other[0]}'{_more(other, 'scenes')} has {count} images, most scenes have {usual}")
    return notes


def _more(items: Sequence[object], kind: str) -> str:
    return f" (and {len(items) - 1} more {kind})" if len(items) > 1 else ""
