"""TUM RGB-D sequences: images, depth and poses, each with its own time stamps."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.geometry import rotation_of
from gpt4scene.scans.images import depth_notes, image_size
from gpt4scene.scans.named_files import absent_notes, named_file
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
    listed, listed_depth = _stamped(folder / "rgb.txt"), _stamped(folder / "depth.txt", optional=True)
    if not listed:
        raise DataError(f"{folder / 'rgb.txt'}: lists no image")
    times, poses = _track(folder / "groundtruth.txt")
    own = folder / "intrinsics.txt"
    intrinsics = read_matrix(own, 3) if own.is_file() else np.array(TUM_INTRINSICS)
    images, notes = _there(folder, "rgb.txt", listed, "images")
    depth, more = _there(folder, "depth.txt", listed_depth, "depth images")
    stamps = np.array([stamp for stamp, _ in images])
    _check_clocks(folder / "groundtruth.txt", times, stamps, "pose")
    _check_clocks(folder / "depth.txt", depth_times := np.array([stamp for stamp, _ in depth]), stamps, "depth image")
    width, height = image_size(images[0][1])
    depth_size = image_size(depth[0][1]) if depth else (0, 0)
    frames = []
    for stamp, image in images:
        nearest, match = (nearest_stamp(one, stamp, CLOSEST) for one in (times, depth_times))
        camera = Camera(intrinsics, poses[nearest] if nearest is not None else np.full((4, 4), np.nan), width, height)
        path = depth[match][1] if match is not None else None
        small = camera.resized(*depth_size) if path else None
        frames.append(Frame(image.stem, image, camera, path, small, TUM_DEPTH_SCALE))
    align, objects, told = read_annotation(folder, None)
    notes = (*notes, *more, *depth_notes(folder, frames), *told)
    return Scan(folder.resolve().name, tuple(frames), None, align, objects, folder, notes)


def _track(path: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    """The times [N] and poses (camera-to-world, lost ones not finite) of a trajectory."""
    rows = read_numbers(path)
    if any(len(row) != 8 for row in rows):
        raise DataError(f"{path}: each line has a time stamp, three lengths and a quaternion")
    poses, seen = [], {}
    for row in rows:
        stamp, x, y, z, qx, qy, qz, qw = row
        pose = np.full((4, 4), np.nan)
        if np.isfinite(row).all():
            pose = np.eye(4)
            try:
                pose[:3, :3], pose[:3, 3] = rotation_of(qw, qx, qy, qz), (x, y, z)
            except ValueError as error:
                raise DataError(f"{path}, time {stamp:.6f}: {error}") from None
        if not np.allclose(seen.setdefault(stamp, pose), pose, atol=1e-3, equal_nan=True):
            raise DataError(f"{path}: two different poses have the time {stamp:.6f}; remove one")
        poses.append(pose)
    return np.array([row[0] for row in rows]), poses


def _there(
    folder: Path, listing: str, listed: list[tuple[float, str]], what: str
) -> tuple[list[tuple[float, Path]], tuple[str, ...]]:
    """The listed files that are there, and a note on the others.

    Raises DataError where none is there, or two have one time.
    """
    names: dict[float, str] = {}
    for stamp, name in listed:
        if names.setdefault(stamp, name) != name:
            raise DataError(
                f"{folder / listing}: {names[stamp]} and {name} have the same time {stamp:.6f}; remove one, or write "
                "times with more digits"
            )
    found = [(stamp, named_file(folder, name), name) for stamp, name in names.items()]
    absent = [name for _, path, name in found if path is None]
    notes = absent_notes(folder / listing, absent, len(names), [folder], what)
    if len(listed) > len(names):
        notes += (f"{folder / listing}: {len(listed) - len(names)} lines are there twice and taken once",)
    return [(stamp, path) for stamp, path, _ in found if path is not None], notes


def _check_clocks(path: Path, times: np.ndarray, stamps: np.ndarray, what: str) -> None:
    """DataError where nothing of a list has the time of an image."""
    if not len(times) or any(nearest_stamp(times, stamp, CLOSEST) is not None for stamp in stamps):
        return
    away = min(float(np.abs(times - stamp).min()) for stamp in stamps)
    raise DataError(
        f"{path}: no {what} has the time of an image, the nearest is {away:.6g} s away (at most {CLOSEST} may be); "
        "write the times of both in seconds of one clock"
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
