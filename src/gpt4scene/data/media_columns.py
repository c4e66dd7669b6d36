"""The images and videos of a row, in the order of the marks that stand for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpt4scene.data.marks import IMAGE_MARK, VIDEO_MARK
from gpt4scene.errors import DataError
from gpt4scene.files.media import is_video, video_name
from gpt4scene.types import Origin


def row_media(
    row: Mapping[str, Any], images: str, videos: str, marks: Sequence[str], origin: Origin
) -> tuple[str, ...]:
    """Return the names of a row's images and videos (see ``files.media``), as the row writes their paths.

    ``images`` and ``videos`` are the row's keys, ``marks`` those of its text, in order. Raises DataError where a list
    is none, and where marks and entries differ in number.
    """
    shown = {IMAGE_MARK: list(_images(row, images, origin)), VIDEO_MARK: _videos(row, videos, origin)}
    for mark, key, kind in ((IMAGE_MARK, images, "image"), (VIDEO_MARK, videos, "video")):
        if (count := marks.count(mark)) != len(shown[mark]):
            raise DataError(
                f"{origin}: {count} {mark} marks, but {len(shown[mark])} {kind}s under '{key}'; write one mark for "
                f"each {kind}, and \\{mark} for the letters"
            )
    left = {mark: iter(names) for mark, names in shown.items()}
    return tuple(next(left[mark]) for mark in marks)


def _images(row: Mapping[str, Any], key: str, origin: Origin) -> Sequence[str]:
    value = row.get(key)
    listed = [value] if isinstance(value, str) else value or ()
    if not _texts(listed):
        raise DataError(f"{origin}: '{key}' is no list of image paths ({_short(value)})")
    if odd := next(filter(is_video, listed), None):
        raise DataError(f"{origin}: image '{odd}': a path may not begin with 'video:'; write ./ before it")
    return listed


def _videos(row: Mapping[str, Any], key: str, origin: Origin) -> list[str]:
    """Return the names of a row's videos: a path of a file or of a folder of frames each, or a list of frames."""
    value = row.get(key)
    listed = [value] if isinstance(value, str) else value or ()
    given = [[one] if isinstance(one, str) else one for one in listed] if isinstance(listed, Sequence) else [None]
    if all(_texts(paths) and paths and all(paths) for paths in given):
        try:
            return list(map(video_name, given))
        except DataError as error:
            raise DataError(f"{origin}: {error}") from None
    raise DataError(
        f"{origin}: '{key}' is no list of videos ({_short(value)}); each is the path of a file or of a folder of "
        "frames, or a list of the paths of its frames"
    )


def _texts(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(one, str) for one in value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
