"""The thinned, coloured points of a prepared scene: ``points.ply`` beside its ``scene.json``, for people to look at.

Binary PLY (little endian), which other viewers open as well. A comment of the header says how many points or
triangles the scan had, so that thinning is never silent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.whole import write_bytes

MOST = 2_000_000
"""Most points of a file that is read."""
_ROW = np.dtype([("place", "<f4", 3), ("color", "u1", 3)])
_HEADER = (
    "ply\nformat binary_little_endian 1.0\ncomment thinned from {of} {what}\nelement vertex {count}\n"
    "property float x\nproperty float y\nproperty float z\n"
    "property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
)
_KNOWN = re.compile(
    re.escape(_HEADER)
    .replace(r"\{of\}", r"(\d{1,12})")
    .replace(r"\{what\}", "(points|triangles)")
    .replace(r"\{count\}", r"(\d{1,9})")
)


@dataclass(frozen=True)
class Points:
    """Points in the aligned frame: ``places_N3`` float32 in metres, ``colors_N3`` uint8.

    They were chosen out of ``of`` ``what``: points of a cloud, or triangles of a surface.
    """

    places_N3: np.ndarray
    colors_N3: np.ndarray
    of: int
    what: str = "points"

    def __len__(self) -> int:
        return len(self.places_N3)


def points_file(record: Path) -> Path:
    """Return where the points of the scene whose ``scene.json`` is ``record`` lie."""
    return record.with_name("points.ply")


def write_points(path: Path, points: Points) -> None:
    """Write ``points``, whole or not at all."""
    rows = np.zeros(len(points), _ROW)
    rows["place"], rows["color"] = points.places_N3, points.colors_N3
    header = _HEADER.format(of=points.of, what=points.what, count=len(points))
    write_bytes(path, header.encode() + rows.tobytes())


def read_points(path: Path) -> Points:
    """Return what ``write_points`` wrote; ``DataError`` naming the file for anything else, and for what is no place."""
    try:
        with open(path, "rb") as file:
            start = file.read(len(_HEADER) + 60)
            found = _KNOWN.match(start.decode("latin-1"))
            if found is None:
                raise DataError(f"{path}: is no file of points that 'gpt4scene prepare' wrote; prepare the scene again")
            count = int(found[3])
            if count > MOST:
                raise DataError(f"{path}: promises {count} points, more than {MOST}; prepare the scene again")
            file.seek(found.end())
            content = file.read(count * _ROW.itemsize + 1)
    except OSError as error:
        raise DataError(f"{path}: the points can't be read ({error.strerror})") from error
    if len(content) != count * _ROW.itemsize:
        raise DataError(f"{path}: does not hold the {count} points that it promises; prepare the scene again")
    rows = np.frombuffer(content, _ROW)
    if not np.isfinite(rows["place"]).all():
        raise DataError(f"{path}: has points that lie nowhere; prepare the scene again")
    return Points(rows["place"].copy(), rows["color"].copy(), int(found[1]), found[2])
