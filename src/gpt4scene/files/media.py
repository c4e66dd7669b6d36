"""Names of what a model is shown. An image is named by its path, a video by a word that says so and by its paths.

A video is one file, a folder of frames, or a list of frame files; its name is one text all the same, so that whatever
goes through the names of images (lists, journals, caches, tokenized rows) takes videos too.
"""

from __future__ import annotations

from collections.abc import Sequence

from gpt4scene.errors import DataError

_VIDEO = "video:"
_NEXT = "\n"
VIDEO_FILES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv", ".3gp", ".ts")
"""How the names of video files end, where nothing else says that a file is one."""
FRAME_FILES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""How the names of frames of a video end."""


def video_name(paths: Sequence[str]) -> str:
    """Return the name of a video in one file or folder, or of one in several frames, in order.

    Raises ``DataError`` for a path with a line break, which would be taken for two.
    """
    if broken := next((path for path in paths if _NEXT in path), None):
        raise DataError(f"video {broken!r}: the path holds a line break; rename the file")
    return _VIDEO + _NEXT.join(paths)


def is_video(name: str) -> bool:
    """Return whether a name is that of a video."""
    return name.startswith(_VIDEO)


def paths_of(name: str) -> list[str]:
    """Return the paths that a name is made of: one of an image; of a video its file, its folder, or its frames."""
    return name.removeprefix(_VIDEO).split(_NEXT) if is_video(name) else [name]


def called(name: str) -> str:
    """Return what messages call it: ``image a.jpg``, ``video b.mp4``, or ``video of 8 frames, a.jpg …``."""
    if not is_video(name):
        return f"image {name}"
    first, *more = paths_of(name)
    return f"video of {len(more) + 1} frames, {first} …" if more else f"video {first}"
