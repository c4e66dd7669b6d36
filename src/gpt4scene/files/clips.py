"""Videos as rows name them: how many frames they hold, how large and how long, and chosen frames as pictures.

The facts come from a file's header and the index of its pieces; of the pictures, only the first is decoded, which says
how the video is turned. Files are read by way of the package ``av``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.files.media import FRAME_FILES, paths_of
from gpt4scene.files.pixels import rgb, still
from gpt4scene.files.videos import as_shown, full_index, opened, pictures_of, spread

Size = tuple[int, int]


@dataclass(frozen=True)
class Clip:
    """What is known of a video before it is decoded: its frames, their width and height as shown, its length.

    ``seconds`` is None where nothing says how long frames stand: in a folder and in a list. ``listed``: the row names
    every frame itself.
    """

    frames: int
    size: Size
    seconds: float | None = None
    listed: bool = False


def clip(name: str) -> Clip:
    """Return the facts of a video, by its name of ``media.video_name``.

    Raises ``DataError`` for a file that is missing, cut off or no video, an empty folder, and frames of several sizes;
    ``ConfigError`` without the package ``av``, which folders and lists don't need.
    """
    paths = paths_of(name)
    if is_listed(name):
        return Clip(len(paths), _size_of_all(paths), listed=True)
    if os.path.isdir(paths[0]):
        frames = _pictures(paths[0])
        return Clip(len(frames), _picture_size(frames[0]))
    if not os.path.isfile(paths[0]):
        raise DataError("the file does not exist; check media_dir and dataset_dir")
    return _clip_of_file(Path(paths[0]))


def is_listed(name: str) -> bool:
    """Return whether the name is that of a list of frames, all of which are shown."""
    paths = paths_of(name)
    return len(paths) > 1 or _is_picture(paths[0])


def files_of(name: str) -> list[str]:
    """Return the files that a video is made of. Raises ``DataError`` for a folder without pictures."""
    paths = paths_of(name)
    return _pictures(paths[0]) if len(paths) == 1 and os.path.isdir(paths[0]) else paths


def refuse_other_sizes(name: str, facts: Clip, chosen: Sequence[int]) -> None:
    """Raise ``DataError`` where one of the ``chosen`` frames of a folder has another size than the first.

    Of lists ``clip`` says so, and of files decoding.
    """
    if facts.seconds is None and not facts.listed and os.path.isdir(paths_of(name)[0]):
        files = files_of(name)
        _size_of_all([files[0], *(files[place] for place in dict.fromkeys(chosen))])


def clip_frames(name: str, facts: Clip, chosen: Sequence[int]) -> Iterator[Image.Image]:
    """Yield the frames at the ``chosen`` places, which rise or repeat, in RGB and as players show them.

    Raises ``DataError`` where a frame can't be read, has another size than ``facts`` say, or is not there.
    """
    paths = paths_of(name)
    if is_listed(name) or os.path.isdir(paths[0]):
        files = files_of(name)
        yield from (_picture(files[place], facts.size) for place in chosen)
        return
    yield from _frames_of_file(Path(paths[0]), facts, chosen)


def glimpses(name: str, wanted: int) -> Iterator[tuple[str, Image.Image]]:
    """Yield some frames of a video for people to look at, each with its second or its file's name.

    At most ``wanted`` come, evenly spread. A file is not decoded throughout: the frames are those that can be shown
    alone, so that some may be missing; of a file that says no length, it is the first. Raises DataError and ConfigError
    as ``clip`` does.
    """
    path = Path(paths_of(name)[0])
    if is_listed(name) or path.is_dir():
        files = files_of(name)
        for place in spread(len(files), wanted):
            yield Path(files[place]).stem, _picture(files[place])
        return
    seen: set[int | None] = set()
    with opened(path) as (container, stream):
        length = _length(container, stream)
        for number in range(wanted if length else 1):
            if length and number:
                container.seek(int(1e6 * length * number / wanted))
            frame = next(container.decode(stream), None)
            if frame is not None and frame.pts not in seen:
                seen.add(frame.pts)
                yield moment(frame.time), as_shown(frame, path)


def moment(second: float | None) -> str:
    """Return how a frame's second is said; a file may not tell it."""
    return "at an unknown time" if second is None else f"{second:.0f} s"


def _clip_of_file(path: Path) -> Clip:
    with opened(path) as (container, stream):
        if entries := full_index(stream):
            frames = sum(not entry.is_discard for entry in entries)
            seconds = _length(container, stream) if frames == len(entries) else None
        else:
            frames, seconds = _counted(container, stream)
    with opened(path) as (container, stream):
        first = next(container.decode(stream), None)
        if first is None or not frames:
            raise DataError("holds no frame that can be read; copy it again")
        size = as_shown(first, path).size
    if seconds is None:
        rate = stream.average_rate
        seconds = frames / float(rate) if rate else None
    return Clip(frames, size, seconds or None)


def _length(container: Any, stream: Any) -> float | None:
    """Return the seconds that the header says, or None."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / 1e6


def _counted(container: Any, stream: Any) -> tuple[int, float | None]:
    """Return frames and seconds of a video without an index of all frames: its pieces are gone through undecoded.

    A frame without a length of its own counts for as long as the others do on average.
    """
    frames, start, last, end = 0, None, None, None
    hides = stream.codec_context.name.endswith("vp8")
    for packet in container.demux(stream):
        if packet.size <= 0 or packet.is_discard or (hides and _is_hidden(packet)):
            continue
        frames += 1
        if packet.pts is not None:
            start = packet.pts if start is None else min(start, packet.pts)
            last = packet.pts if last is None else max(last, packet.pts)
            end = max(packet.pts + (packet.duration or 0), end or 0)
    if start is None or last is None or end is None or end <= start:
        return frames, None
    if end == last:
        end += (last - start) / (frames - 1)
    return frames, float((end - start) * stream.time_base)


def _is_hidden(packet: Any) -> bool:
    """Return whether a piece of VP8 is a picture that others refer to and no player shows (RFC 6386, section 9.1)."""
    return not bytes(packet)[0] & 0x10


def _frames_of_file(path: Path, facts: Clip, chosen: Sequence[int]) -> Iterator[Image.Image]:
    waiting, seen = list(chosen), 0
    with opened(path) as (container, stream):
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            if waiting and waiting[0] == seen:
                image = as_shown(frame, path)
                if image.size != facts.size:
                    raise DataError(_other_size(f"frame {seen}", image.size, facts.size))
                while waiting and waiting[0] == seen:
                    yield image
                    waiting.pop(0)
            seen += 1
            if not waiting:
                return
    raise DataError(
        f"only {seen} of its {facts.frames} frames can be decoded; copy it again, or write it anew: "
        f"ffmpeg -i {path.name} whole{path.suffix}"
    )


def _is_picture(path: str) -> bool:
    return os.path.isfile(path) and path.lower().endswith(FRAME_FILES)


def _pictures(folder: str) -> list[str]:
    found = [str(path) for path in pictures_of(Path(folder))]
    if not found:
        raise DataError(f"the folder holds no picture ({', '.join(FRAME_FILES)}); name the folder of the frames")
    return found


def _size_of_all(paths: Sequence[str]) -> Size:
    first = _picture_size(paths[0])
    for path in paths[1:]:
        if (size := _picture_size(path)) != first:
            raise DataError(_other_size(path, size, first))
    return first


def _picture_size(path: str) -> Size:
    try:
        with Image.open(path) as image:
            return still(image).size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"frame {path} can't be read ({error}); copy it again") from None


def _picture(path: str, size: Size | None = None) -> Image.Image:
    try:
        with Image.open(path) as image:
            read = rgb(still(image))
            read.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"frame {path} can't be read ({error}); copy it again") from None
    if size not in (None, read.size):
        raise DataError(_other_size(path, read.size, size))
    return read


def _other_size(which: str, found: Size, first: Size) -> str:
    return (
        f"{which} is {found[0]}x{found[1]}, the first frame {first[0]}x{first[1]}; the frames of a video have one size"
    )
