"""Images of scenes, shrunk to what a page needs. An image that is missing is said on the page and is no error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.files.images import ImageSearch, image_list_file, read_image_list
from gpt4scene.files.media import is_video
from gpt4scene.files.pixels import rgb, still

TOP_SIDE, FRAME_SIDE = 1000, 640
"""Longest side in pixels of bird's-eye views and of frames on a page."""


@dataclass(frozen=True)
class PageImage:
    """An image on a page: its place under the page's folder, or, where there is none, the reason in ``missing``."""

    name: str
    file: str | None = None
    width: int = 0
    height: int = 0
    missing: str = ""


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
        path = search.find_listed(written)
        top = number == 0 and (listed.from_above or Path(written).stem == "bev")
        name = "bird's-eye view" if top else Path(written).stem
        if path is None:
            shown.append(PageImage(name, missing=f"{written} was not found; tried {', '.join(search.places(written))}"))
            continue
        if is_video(path):
            shown.append(PageImage(name, missing=f"{written} is a video, of which pages show nothing"))
            continue
        side = TOP_SIDE if top else FRAME_SIDE
        shown.append(shrink(Path(path), out, f"{folder}/{number:02d}.jpg", side, name))
    return shown


def shrink(source: Path, out: Path, file: str, side: int, name: str) -> PageImage:
    """Write ``source`` to ``out/file`` as JPEG, its longer side at most ``side`` pixels."""
    target = out / file
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with Image.open(source) as image:
            image.draft("RGB", (side, side))
            small = rgb(still(image)).copy()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return PageImage(name, missing=f"{source} can't be read ({error})")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    small.save(target, "JPEG", quality=86, optimize=True)
    return PageImage(name, file, small.width, small.height)


def missing_reasons(images: Sequence[PageImage]) -> list[str]:
    """Return what is missing among ``images``, in their order."""
    return [f"{image.name}: {image.missing}" for image in images if image.missing]
