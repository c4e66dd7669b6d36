"""TUM RGB-D sequences: images, depth and poses, each with its own time stamps."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.geometry import rotation_of
from gpt4scene.scans.images import depth_notes, image_size
from gpt4scene.scans.named_files import absent_notes, existing_file, named_file
from gpt4scene.scans.objects import read_annotation
from gpt4scene.scans.text_files import read_lines, read_matrix, read_numbers
from gpt4scene.scans.timestamps import nearest_stamp
from gpt4scene.scans.types import Camera, Frame, Scan

TUM_INTRINSICS = ((525.0, 0.0, 319.5), (0.0, 525.0, 239.5), (0.0, 0.0, 1.0))
"""The sequences' default camera (TUM RGB-D, file formats page); ``intrinsics.txt`` overrides it."""
TUM_DEPTH_SCALE = 5000.0
_COMMENT = re.compile(r"(?:^|\s)#")
CLOSEST = 0.02
"""Seconds by which stamps of one moment may differ."""


def is_tum(folder: Path) -> bool:
    """True for a folder with ``rgb.txt`` and ``groundtruth.txt``."""
    return (folder / "rgb.txt").is_file() and (folder / "groundtruth.txt").is_file()


def read_tum(folder: str | Path) -> Scan:
    """The scan of a TUM RGB-D sequence: images, depth and poses matched by the nearest time stamp.

    An image without pose within ``CLOSEST`` seconds counts as lost. ``objects.json`` and ``axis_align.txt`` are read
    as in a posed folder.
    """
    folder = Path(folder)
    images, depth = _stamped(folder / "rgb.txt"), _stamped(folder / "depth.txt", optional=True)
    if not images:
        raise DataError(f"{folder / 'rgb.txt'}: lists no image")
    track = read_numbers(folder / "groundtruth.txt")
    if any(len(row) != 8 for row in track):
        raise DataError(f"{folder / 'groundtruth.txt'}: each line has a time stamp, three lengths and a quaternion")
    times = np.array([row[0] for row in track])
    own = folder / "intrinsics.txt"
    intrinsics = read_matrix(own, 3) if own.is_file() else np.array(TUM_INTRINSICS)
    listed = [(stamp, named_file(folder, name), name) for stamp, name in images]
    there = [(stamp, path) for stamp, path, _ in listed if path is not None]
    notes = absent_notes(folder / "rgb.txt", [name for _, path, name in listed if path is None], len(images), [folder])
    width, height = image_size(there[0][1])
    depth_size = image_size(existing_file(folder, depth[0][1])) if depth else (0, 0)
    depth_times = np.array([stamp for stamp, _ in depth])
    frames = []
    for stamp, image in there:
        pose = np.full((4, 4), np.nan)
        nearest = nearest_stamp(times, stamp, CLOSEST)
        if nearest is not None and np.isfinite(track[nearest]).all():
            _, x, y, z, qx, qy, qz, qw = track[nearest]
            pose = np.eye(4)
            try:
                pose[:3, :3], pose[:3, 3] = rotation_of(qw, qx, qy, qz), (x, y, z)
            except ValueError as error:
                raise DataError(f"{folder / 'groundtruth.txt'}, time {track[nearest][0]:.6f}: {error}") from None
        camera = Camera(intrinsics, pose, width, height)
        match = nearest_stamp(depth_times, stamp, CLOSEST)
        path = existing_file(folder, depth[match][1]) if match is not None else None
        small = camera.resized(*depth_size) if path else None
        frames.append(Frame(image.stem, image, camera, path, small, TUM_DEPTH_SCALE))
    align, objects, more = read_annotation(folder, None)
    return Scan(
        folder.resolve().name,
        tuple(frames),
        None,
        align,
        objects,
        folder,
        (*notes, *depth_notes(folder, frames), *more),
    )


def _stamped(path: Path, optional: bool = False) -> list[tuple[float, str]]:
    if optional and not path.is_file():
        return []
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        words = _COMMENT.split(line)[0].split(maxsplit=1)
        if not words:
            continue
        try:
            rows.append((float(words[0].rstrip(",")), words[1].strip().strip('"')))
        except (ValueError, IndexError) as error:
            raise DataError(f"{path}, line {number}: '{line[:60]}' is not 'time-stamp file'") from error
    return sorted(rows)
