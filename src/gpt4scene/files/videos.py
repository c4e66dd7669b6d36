"""Frames of recordings, spread evenly: of video files, by way of the package ``av``, or of folders of pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.cut_off import declared_end
from gpt4scene.files.media import FRAME_FILES, VIDEO_FILES
from gpt4scene.files.pixels import rgb, still

LEAST_AV = 15
"""The first version of the package ``av`` that tells a cover from a video."""

FORMS = (
    "mov,matroska,avi,mpeg,mpegvideo,mpegts,flv,asf,ogg,gif,ivf,m4v,h264,hevc,obu,mjpeg,mxf,nut,rm,yuv4mpegpipe,dv,"
    "mp3,wav,flac,aac"
)
"""Forms that are read, as FFmpeg calls them; those of sound, to say that they hold no video.

A list of other files (HLS, concat) is none, whatever its name.
"""
MOST_PIXELS = 8192 * 8192
"""Of a frame; a header that says more is made up, or wants gigabytes for every frame."""

_SHOWN = {
    (1, 0, 0, 1): None,
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}
"""Signs of a display matrix's ``a, b, c, d`` -> what makes the stored frame the shown one (pixel (x, y) is shown in
direction (ax + cy, bx + dy); ffmpeg's libavutil/display.h)."""


def spread(count: int, wanted: int) -> list[int]:
    """Return ``wanted`` places among ``count``, evenly from the first to the last, cut to whole numbers.

    That is numpy's ``linspace(0, count - 1, wanted)``, as public evaluations sample. A short recording repeats none:
    then all its places come.
    """
    return list(range(count)) if count <= wanted else np.linspace(0, count - 1, wanted).astype(int).tolist()


def recordings(folder: Path, made: str) -> dict[str, list[Path]]:
    """Return the recordings in and below ``folder`` by name: video files, and folders that hold pictures.

    A folder with a file called ``made`` holds frames that were taken of a recording, and is none itself.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in VIDEO_FILES and path.is_file():
            found.setdefault(path.stem, []).append(path)
        elif (
            path.suffix.lower() in FRAME_FILES
            and path.parent not in found.get(path.parent.name, ())
            and not (path.parent / made).is_file()
        ):
            found.setdefault(path.parent.name, []).append(path.parent)
    return found


def pictures_of(folder: Path) -> list[Path]:
    """Return the pictures in ``folder``, by the numbers in their names, then by name.

    Where some are called ``…-rgb``, the others are something else, such as depth.
    """
    paths = [path for path in folder.iterdir() if path.suffix.lower() in FRAME_FILES]
    paths = [path for path in paths if path.stem.endswith("-rgb")] or paths
    return sorted(paths, key=lambda path: ([int(digits) for digits in re.findall(r"\d+", path.stem)], path.name))


def frames_of(recording: Path, wanted: int) -> Iterator[tuple[int, Image.Image]]:
    """Yield ``wanted`` frames of a recording with their numbers, as ``spread`` chooses them, in RGB.

    Frames of a video are turned and mirrored as players show them, so that a phone held upright gives upright frames.
    Raises ``DataError`` for a recording without frames and one that can't be read.
    """
    if recording.is_dir():
        yield from _of_folder(recording, wanted)
        return
    count = _count(recording)
    read = _decoded(recording, spread(count, wanted))
    if read.seen < count:  # a file may hold pieces of which no picture comes
        read = _decoded(recording, spread(read.seen, wanted))
    if not read.frames:
        raise DataError(f"{recording}: holds no frame that can be read; download it again")
    yield from read.frames


@dataclass(frozen=True)
class _Read:
    """The chosen frames of a video by number, and how many were decoded up to the last of them."""

    frames: list[tuple[int, Image.Image]]
    seen: int


def _count(path: Path) -> int:
    """Return how many pieces of picture data a video holds, which is as many frames, without decoding them."""
    with opened(path) as (container, stream):
        return sum(packet.size > 0 for packet in container.demux(stream))


def _decoded(path: Path, chosen: Sequence[int]) -> _Read:
    wanted, found, seen = set(chosen), [], 0
    with opened(path) as (container, stream):
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            if seen in wanted:
                found.append((seen, as_shown(frame, path)))
            seen += 1
            if seen > max(wanted, default=0):
                break
    return _Read(found, seen)


def as_shown(frame: Any, path: Path) -> Image.Image:
    """Return the picture of a decoded frame as its display matrix wants it; ``DataError`` for a slanted one."""
    image, matrix = frame.to_image(), frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return image
    signs = tuple(np.sign(np.frombuffer(matrix, np.int32)[[0, 1, 3, 4]]).tolist())
    if signs not in _SHOWN:
        raise DataError(
            f"{path}: its frames are to be shown at a slant, or sheared; turn them upright first: "
            f"ffmpeg -i {path.name} upright{path.suffix}"
        )
    turn = _SHOWN[signs]
    return image if turn is None else image.transpose(turn)


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Give the opened video and its stream of pictures, the first that is no cover of a piece of music.

    Raises ``DataError`` where it can't be read, is cut off or holds no video, ``ConfigError`` without the package
    ``av``.
    """
    try:
        import av
        from av.error import FFmpegError
    except ImportError:
        raise ConfigError(
            f"{path.name}: videos are read with the package av, which is not installed; run pip install "
            "'gpt4scene[video]', or give folders of frames as pictures"
        ) from None
    if int(av.__version__.split(".")[0]) < LEAST_AV:
        raise ConfigError(
            f"{path.name}: the package av {av.__version__} is too old to read videos; run pip install "
            f"'av>={LEAST_AV}', or give folders of frames as pictures"
        )
    from av.stream import Disposition

    try:
        # an absolute path: before a colon FFmpeg would look for a protocol; titles may be in any encoding
        files_only = {"protocol_whitelist": "file", "format_whitelist": FORMS}
        with av.open(str(path.absolute()), metadata_errors="replace", options=files_only) as container:
            covers = Disposition.attached_pic
            streams = [stream for stream in container.streams.video if not stream.disposition & covers]
            if not streams:
                raise DataError(f"{path}: holds no video; name a video file, or a folder of its frames")
            if streams[0].width * streams[0].height > MOST_PIXELS:
                size = f"{streams[0].width}x{streams[0].height}"
                raise DataError(f"{path}: its frames have {size} pixels, past {MOST_PIXELS}; make it smaller")
            streams[0].codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # sizes may change on the way
            _refuse_cut_off(path, container, streams[0])
            yield container, streams[0]
    except (FFmpegError, OSError) as error:
        raise DataError(f"{path}: can't be read as a video ({error.strerror}); copy or download it again") from None


def full_index(stream: Any) -> Sequence[Any]:
    """Return a stream's index, where it names all the frames that the header counts, as in an mp4, a mov and an avi.

    Without one it is empty, and so it is before version 17 of ``av``, which gives none.
    """
    entries = getattr(stream, "index_entries", ())
    return entries if 0 < stream.frames <= len(entries) else ()


def _refuse_cut_off(path: Path, container: Any, stream: Any) -> None:
    """Raise ``DataError`` where the file ends before its index, or its outermost lengths, say that it does."""
    ends = [entry.pos + entry.size for entry in full_index(stream)]
    if not ends or "avi" not in container.format.name:  # an avi with all of its index lacks no picture
        ends.append(declared_end(path) or 0)
    there, end = path.stat().st_size, max(ends)
    if there < end:
        raise DataError(
            f"{path}: is cut off: it goes to byte {end} by its own index, and ends at {there}; copy it again"
        )


def _of_folder(folder: Path, wanted: int) -> Iterator[tuple[int, Image.Image]]:
    paths = pictures_of(folder)
    for place in spread(len(paths), wanted):
        try:
            with Image.open(paths[place]) as image:
                yield place, rgb(still(image)).copy()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{paths[place]}: can't be read ({error}); write it again") from None
