"""Frames of scenes for questions about a recording: of prepared scenes, or of videos and folders of pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.own_images import from_folder
from gpt4scene.errors import DataError
from gpt4scene.files.annotation import GROUND_TRUTH, PROPOSALS, read_attributes
from gpt4scene.files.images import IMAGE_LIST, ImageSearch, image_list_file, read_image_list
from gpt4scene.files.media import video_name
from gpt4scene.files.scenes import UNMARKED_LIST
from gpt4scene.files.videos import frames_of, pictures_of, recordings, spread
from gpt4scene.files.whole import read_json, whole_folder, write_json
from gpt4scene.metrics.boxes import scene_boxes

FRAMES = 32
"""Frames that are taken of a video where nothing else is said, as public evaluations do."""
_CONTENTS = "frames.json"


@dataclass(frozen=True)
class Shown:
    """What a question shows of a prepared scene: how many frames (0: all), the bird's-eye view, the object marks."""

    frames: int = 0
    bev: bool = True
    marks: bool = True

    @property
    def as_prepared(self) -> bool:
        """Whether the images are shown as they were prepared, whatever their number."""
        return self.bev and self.marks

    def listed_as(self, split: str, frames: int) -> str:
        """Return the name of the list of such images; the bird's-eye view is what makes it 3D."""
        name = (IMAGE_LIST if self.marks else UNMARKED_LIST).format(split=split, frames=frames)
        return name if self.bev else name.replace("3D", "2D")


@dataclass(frozen=True)
class Prepared:
    """Scenes as ``gpt4scene prepare`` left them, and the number of frames that are shown of each."""

    scenes: Scenes
    frames: int


def read_scenes(
    folder: Path, split: str, out: Path, shown: Shown, min_iou: float = 0.5, *, boxes: bool = True
) -> Prepared:
    """Return the scenes of ``split`` in ``folder``, their images as paths from ``out``; ``boxes`` are read on request.

    A scene with an image that is not there counts as one without images. Where the folder has no list for the number
    of frames, they are taken evenly from the next longer list. Raises ``DataError`` when files are missing.
    """
    listed_in, listed = _list_of(folder, split, shown)
    search = ImageSearch.around(listed_in)
    images = {}
    for scene, paths in read_image_list(listed_in).items():
        view, taken = paths[:1], paths[1:]
        chosen = [taken[place] for place in spread(len(taken), shown.frames or len(taken))]
        images[scene] = _from_out([*(view if shown.bev else ()), *chosen], search, out)
    frames = shown.frames or listed
    if not boxes:
        return Prepared(without_boxes(images), frames)
    proposals = read_attributes(folder / PROPOSALS.format(split=split))
    ground_truth = read_attributes(folder / GROUND_TRUTH.format(split=split))
    return Prepared(Scenes(images, proposals, ground_truth, min_iou), frames)


def _list_of(folder: Path, split: str, shown: Shown) -> tuple[Path, int]:
    """Return the list of images to take from, and the number of frames that it names."""
    form = re.compile((IMAGE_LIST if shown.marks else UNMARKED_LIST).format(split=re.escape(split), frames=r"(\d+)"))
    lists = {int(match[1]): path for path in folder.glob("*.json") if (match := form.fullmatch(path.name))}
    longer = sorted(number for number in lists if number > shown.frames)
    if shown.frames and shown.frames not in lists and longer:
        return lists[longer[0]], longer[0]
    if not shown.marks and not lists:
        raise DataError(
            f"{folder}: no list of images without marks ({UNMARKED_LIST.format(split=split, frames='*')}) is in this "
            "folder; `gpt4scene prepare --keep_unmarked true` writes them"
        )
    if not shown.marks:
        if shown.frames in lists:
            return lists[shown.frames], shown.frames
        names = ", ".join(path.name for _, path in sorted(lists.items()))
        if shown.frames:
            raise DataError(
                f"{folder}: no list has {shown.frames} frames of each scene ({names}); give fewer with --frames, or "
                "prepare the scenes with more"
            )
        if len(lists) > 1:
            raise DataError(f"{folder}: several lists of images ({names}); choose one with --frames")
        return next((path, number) for number, path in lists.items())
    path = image_list_file(folder, split, frames=shown.frames or None, flag="--frames")
    number = path.stem.rsplit("_", 1)[1]
    if not number.isdecimal():
        raise DataError(f"{path}: its name does not end with the number of frames, such as …_32.json; rename it")
    return path, int(number)


def _from_out(paths: Sequence[str], search: ImageSearch, out: Path) -> tuple[str, ...]:
    found = [search.find(path) for path in paths]
    if None in found:
        return ()
    return tuple(from_folder(path, out) for path in found if path)


@dataclass
class Recordings:
    """Recordings in ``folder`` by scene; ``frames`` of each are written below ``out`` when they are asked for.

    A video is ``<scene>.mp4`` in any folder, a folder of pictures is called as its scene, each perhaps with words and
    a hyphen before it. A scene without one has no images. ``whole``: the recording itself is shown, and nothing of it
    is written.
    """

    folder: Path
    out: Path
    frames: int = FRAMES
    whole: bool = False
    images: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _found: dict[str, list[Path]] | None = None

    def take(self, scene: str) -> None:
        """Have the frames of ``scene`` in ``images``, unless there is no recording of it."""
        if scene in self.images:
            return
        if self._found is None:
            self._found = recordings(self.folder, _CONTENTS)
        paths = self._found.get(scene) or [
            path for name, found in self._found.items() if name.endswith(f"-{scene}") for path in found
        ]
        if len(paths) > 1:
            raise DataError(
                f"{self.folder}: several recordings of scene '{scene}' ({', '.join(map(str, paths))}); name the folder "
                "that holds one of them with --videos"
            )
        if self.whole:
            self.images[scene] = tuple(video_name([from_folder(path, self.out)]) for path in paths)
        else:
            self.images[scene] = self._frames(scene, paths[0]) if paths else ()

    def _frames(self, scene: str, recording: Path) -> tuple[str, ...]:
        """Return the frames as paths from ``out``; frames of the same recording that are there are not read again."""
        place = self.out / f"frames_{self.frames}" / scene
        parts = [recording] if recording.is_file() else pictures_of(recording)
        source = {
            "recording": recording.name,
            "files": len(parts),
            "bytes": sum(part.stat().st_size for part in parts),
            "changed": max(part.stat().st_mtime_ns for part in parts),
        }
        written = read_json(place / _CONTENTS) if (place / _CONTENTS).is_file() else None
        if not isinstance(written, dict) or {key: written.get(key) for key in source} != source:
            with whole_folder(place, replace=True) as folder:
                numbers = []
                for number, image in frames_of(recording, self.frames):
                    image.save(folder / f"{number:06d}.jpg", "JPEG", quality=95)
                    numbers.append(number)
                write_json(folder / _CONTENTS, source | {"frames": numbers})
            written = {"frames": numbers}
        return tuple(from_folder(place / f"{number:06d}.jpg", self.out) for number in written["frames"])


def without_boxes(images: Mapping[str, tuple[str, ...]]) -> Scenes:
    """Return scenes of which only the images are known."""
    nothing = scene_boxes({}, "no boxes")
    return Scenes(images, nothing, nothing)
