"""Images of scenes, shrunk to what a page needs. An image that is missing is said on the page and is no error.

Of a video, a few frames are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from gpt4scene.benchmarks.questions import question_file
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.clips import glimpses
from gpt4scene.files.images import ImageSearch, image_list_file, read_image_list
from gpt4scene.files.media import is_video, paths_of
from gpt4scene.files.pixels import rgb, still
from gpt4scene.files.questions import read_questions

TOP_SIDE, FRAME_SIDE = 1000, 640
"""Longest side in pixels of bird's-eye views and of frames on a page."""
GLIMPSES = 4
"""Frames of a video on a page."""


@dataclass(frozen=True)
class PageImage:
    """An image on a page: its place under the page's folder, or, where there is none, the reason in ``missing``.

    ``source`` is the file that it was made of, and ``full`` its width and height there.
    """

    name: str
    file: str | None = None
    width: int = 0
    height: int = 0
    missing: str = ""
    source: Path | None = None
    full: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Listed:
    """The list of images of an annotation folder; ``missing`` says why there is none.

    ``from_above`` says that the first image of each scene is its bird's-eye view, whatever its name.
    """

    source: Path | None
    scenes: dict[str, list[str]]
    missing: str = ""
    from_above: bool = True

    @classmethod
    def read(cls, annotation_dir: Path | None, own: str = "") -> Listed:
        """Return the list that inference would take; ``own`` is the name of a benchmark's own, where it has one."""
        if annotation_dir is None:
            return cls(None, {}, "no --annotation_dir, whose list says which images were shown")
        try:
            place = annotation_dir / own.format(split="val")
            source = place if own and place.is_file() else image_list_file(annotation_dir)
            from_above = source != place and "_2D_" not in source.name
            return cls(source, read_image_list(source), from_above=from_above)
        except DataError as error:
            return cls(None, {}, str(error))


def own_videos(annotation_dir: Path | None, tasks: Sequence[str]) -> list[Listed]:
    """Return the videos that questions of ``tasks`` show in place of the images of a list, one ``Listed`` a file."""
    found = []
    for task in tasks:
        path = None if annotation_dir is None else question_file(annotation_dir, task)
        if path is not None:
            asked = read_questions(path, task, BENCHMARKS[task].type_key, to_ask=False)
            shown = {question.scene_id: list(question.images) for question in asked if question.images}
            found.append(Listed(path, shown, from_above=False))
    return found


def copy_scene(listed: Listed, scene: str, media_dir: Path | None, out: Path, folder: str) -> list[PageImage]:
    """Write the images of ``scene`` as JPEG to ``out/folder`` and return them in the order shown to the model."""
    if listed.source is None:
        return [PageImage("images", missing=listed.missing)]
    names = listed.scenes.get(scene, [])
    if not names:
        return [PageImage("images", missing=f"{listed.source}: lists no image of scene '{scene}'")]
    search = ImageSearch.around(listed.source, media_dir)
    shown = []
    for number, written in enumerate(names):
        path = _found(written, search)
        top = number == 0 and (listed.from_above or Path(written).stem == "bev")
        name = "bird's-eye view" if top else Path(paths_of(written)[0]).stem
        file = f"{folder}/{number:02d}.jpg"
        if path is None:
            tried = ", ".join(search.places(paths_of(written)[0]))
            shown.append(PageImage(name, missing=f"{paths_of(written)[0]} was not found; tried {tried}"))
        elif is_video(path):
            shown += _of_video(path, out, file, Path(paths_of(path)[0]).stem)
        else:
            shown.append(shrink(Path(path), out, file, TOP_SIDE if top else FRAME_SIDE, name))
    return shown


def _found(written: str, search: ImageSearch) -> str | None:
    """Return the file or the video that an entry of a list, or a question's name of a video, means."""
    if not is_video(written):
        return search.find_listed(written)
    try:
        return search.find_named(written)
    except DataError:
        return None


def _of_video(video: str, out: Path, file: str, name: str) -> list[PageImage]:
    """Return some frames of a video, and what is wrong where not even one can be shown."""
    shown: list[PageImage] = []
    try:
        for number, (when, frame) in enumerate(glimpses(video, GLIMPSES)):
            place = file.replace(".jpg", f"_{number}.jpg")
            shown.append(_saved(frame, out, place, FRAME_SIDE, f"{name}, a frame of the video ({when})"))
    except (DataError, ConfigError) as error:
        shown.append(PageImage(name, missing=str(error)))
    return shown or [PageImage(name, missing="no frame of the video can be shown")]


def shrink(source: Path, out: Path, file: str, side: int, name: str) -> PageImage:
    """Write ``source`` to ``out/file`` as JPEG, its longer side at most ``side`` pixels."""
    try:
        with Image.open(source) as image:
            full = image.size
            image.draft("RGB", (side, side))
            small = rgb(still(image)).copy()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return PageImage(name, missing=f"{source} can't be read ({error})")
    return replace(_saved(small, out, file, side, name), source=source, full=full)


def _saved(image: Image.Image, out: Path, file: str, side: int, name: str) -> PageImage:
    target, small = out / file, image.copy()
    target.parent.mkdir(parents=True, exist_ok=True)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    small.save(target, "JPEG", quality=86, optimize=True)
    return PageImage(name, file, small.width, small.height)


def missing_reasons(images: Sequence[PageImage]) -> list[str]:
    """Return what is missing among ``images``, in their order."""
    return [f"{image.name}: {image.missing}" for image in images if image.missing]
