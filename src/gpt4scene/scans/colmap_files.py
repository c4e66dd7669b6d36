"""The files of a COLMAP model, text or binary: cameras, images and points as rows.

Format: COLMAP's documentation, "Output format". Text files may have lost the empty lines of images without points.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.text_files import read_lines, read_numbers

MODELS = (
    *(("SIMPLE_PINHOLE", 3), ("PINHOLE", 4), ("SIMPLE_RADIAL", 4), ("RADIAL", 5), ("OPENCV", 8), ("OPENCV_FISHEYE", 8)),
    *(("FULL_OPENCV", 12), ("FOV", 5), ("SIMPLE_RADIAL_FISHEYE", 4), ("RADIAL_FISHEYE", 5)),
    ("THIN_PRISM_FISHEYE", 12),
)
"""Name of a camera model, and how many numbers it has, by its number in binary files."""


@dataclass(frozen=True)
class CameraRow:
    """A camera as its file has it; ``place`` names file and row for messages."""

    id: int
    model: str
    width: int
    height: int
    values: tuple[float, ...]
    place: str


@dataclass(frozen=True)
class ImageRow:
    """An image: world-to-camera quaternion (w first) and translation, its camera, its file's name."""

    quaternion: tuple[float, float, float, float]
    translation: tuple[float, float, float]
    camera: int
    name: str
    place: str


def read_cameras(path: Path) -> list[CameraRow]:
    """Return the cameras of ``cameras.txt`` or ``cameras.bin``. Raises DataError naming the row."""
    return list((_binary_cameras if path.suffix == ".bin" else _text_cameras)(path))


def read_images(path: Path) -> list[ImageRow]:
    """Return the images of ``images.txt`` or ``images.bin``. Raises DataError naming the row."""
    return list((_binary_images if path.suffix == ".bin" else _text_images)(path))


def read_points(path: Path) -> np.ndarray:
    """Return position and colour, float [N, 6], of the points of ``points3D`` that three views or more have seen."""
    if path.suffix == ".bin":
        return _binary_points(path)
    rows = [row for row in read_numbers(path) if len(row) >= 8 + 6]
    return np.array([row[1:7] for row in rows]).reshape(-1, 6)


def _text_cameras(path: Path) -> Iterator[CameraRow]:
    for number, line in enumerate(read_lines(path), start=1):
        words, place = line.split(), f"{path}, line {number}"
        if not words or words[0].startswith("#"):
            continue
        try:
            values = tuple(float(word) for word in words[4:])
            yield CameraRow(int(words[0]), words[1], int(words[2]), int(words[3]), values, place)
        except (ValueError, IndexError) as error:
            raise DataError(f"{place}: '{line[:60]}' is no camera") from error


def _text_images(path: Path) -> Iterator[ImageRow]:
    """Yield the images; a line of points follows each, unless a tool has left out lines that are empty."""
    for number, line in enumerate(read_lines(path), start=1):
        words, place = line.split(maxsplit=9), f"{path}, line {number}"
        if not words or words[0].startswith("#") or _is_points(line):
            continue
        try:
            qw, qx, qy, qz, tx, ty, tz = (float(word) for word in words[1:8])
            yield ImageRow((qw, qx, qy, qz), (tx, ty, tz), int(words[8]), words[9].strip(), place)
        except (ValueError, IndexError) as error:
            raise DataError(f"{place}: '{line[:60]}' is no image") from error


def cut_off(path: Path, count: int) -> Iterator[str]:
    """A note where the comment of a text file promises another number of images than ``count``."""
    if path.suffix != ".txt":
        return
    promised = re.search(r"^#\s*Number of images:\s*(\d+)", path.read_text("utf-8", "replace"), re.MULTILINE)
    if promised and int(promised[1]) != count:
        yield f"{path}: lists {count} images, but its comment says {promised[1]}; was it cut off?"


def _is_points(line: str) -> bool:
    """Whether a line lists points: numbers alone, three for each; an image's line has ten words, a name at its end."""
    words = line.split()
    if len(words) % 3:
        return False
    try:
        return all(float(word) is not None for word in words)
    except ValueError:
        return False


class _Bytes:
    """Reads values one after the other from a binary file."""

    def __init__(self, path: Path) -> None:
        self.path, self.blob, self.at = path, path.read_bytes(), 0

    def take(self, form: str) -> tuple:
        """Return the values of the struct format ``form``."""
        try:
            values = struct.unpack_from("<" + form, self.blob, self.at)
        except struct.error:
            raise DataError(f"{self.path}: ends early, at byte {self.at}; copy it again") from None
        self.at += struct.calcsize("<" + form)
        return values

    def name(self) -> str:
        """Return a text that a zero byte ends."""
        end = self.blob.find(b"\0", self.at)
        if end < 0:
            raise DataError(f"{self.path}: ends inside a name, at byte {self.at}; copy it again")
        text, self.at = self.blob[self.at : end].decode("utf-8", "replace"), end + 1
        return text

    def count(self) -> int:
        """Return how many rows follow, which the file's size bounds."""
        (number,) = self.take("Q")
        if number > len(self.blob):
            raise DataError(f"{self.path}: promises {number:,} rows, more than the file can hold; copy it again")
        return number


def _binary_cameras(path: Path) -> Iterator[CameraRow]:
    data = _Bytes(path)
    for row in range(data.count()):
        number, model, width, height = data.take("iiQQ")
        place = f"{path}, camera {row}"
        if not 0 <= model < len(MODELS):
            raise DataError(f"{place}: camera model {model} is not known; run colmap image_undistorter")
        name, count = MODELS[model]
        yield CameraRow(number, name, width, height, data.take(f"{count}d"), place)


def _binary_images(path: Path) -> Iterator[ImageRow]:
    data = _Bytes(path)
    for row in range(data.count()):
        _, qw, qx, qy, qz, tx, ty, tz, camera = data.take("i7di")
        name = data.name()
        points = data.count()
        data.at += 24 * points  # of each: x, y, and the number of its point in space
        if data.at > len(data.blob):
            raise DataError(f"{path}: ends early, inside image {row}; copy it again")
        yield ImageRow((qw, qx, qy, qz), (tx, ty, tz), camera, name, f"{path}, image {row}")


def _binary_points(path: Path) -> np.ndarray:
    data, rows = _Bytes(path), []
    for _ in range(data.count()):
        _, x, y, z, red, green, blue, _ = data.take("Q3d3Bd")
        views = data.count()
        data.at += 8 * views
        if views >= 3:
            rows.append((x, y, z, red, green, blue))
    return np.array(rows, dtype=np.float64).reshape(-1, 6)
