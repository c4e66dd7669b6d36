"""COLMAP models as text (``sparse/0/cameras.txt``, ``images.txt``) with undistorted images.

Pixel (0, 0)'s corner is at the origin there, so half a pixel is taken off the principal point. Lengths are the
reconstruction's own: without a known distance it has no metres.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.geometry import rotation_of
from gpt4scene.scans.reconstruction import existing_file, geometry_beside, reconstructed_scan
from gpt4scene.scans.text_files import read_lines, read_numbers
from gpt4scene.scans.types import Camera, Frame, Mesh, Scan

CAMERA_MODELS = {
    **{"SIMPLE_PINHOLE": (1, 3), "PINHOLE": (2, 4), "SIMPLE_RADIAL": (1, 4)},
    **{"RADIAL": (1, 5), "OPENCV": (2, 8), "FULL_OPENCV": (2, 12)},
}
"""COLMAP's models that are pinholes when all after the principal point is zero: focal lengths, all numbers."""


def is_colmap(folder: Path) -> bool:
    """True for a folder with a COLMAP model as text."""
    return _model(folder, ".txt") is not None


def _model(folder: Path, ending: str) -> Path | None:
    for inside in (folder / "sparse" / "0", folder / "sparse", folder):
        if (inside / f"cameras{ending}").is_file() and (inside / f"images{ending}").is_file():
            return inside
    return None


def read_colmap(folder: str | Path) -> Scan:
    """The scan of a COLMAP text model (``sparse/0/cameras.txt``, ``images.txt``) with the images in ``images/``.

    Geometry is a ``.ply`` beside them (``mesh.ply``, ``fused.ply``, ...) or else the model's sparse points.
    """
    folder = Path(folder)
    model = _model(folder, ".txt")
    if model is None:
        binary = _model(folder, ".bin") or folder / "sparse" / "0"
        raise DataError(
            f"{folder}: has no sparse/0/cameras.txt; run colmap model_converter --input_path {binary} --output_path "
            f"{binary} --output_type TXT"
        )
    cameras = _colmap_cameras(model / "cameras.txt")
    lines = [line for line in read_lines(model / "images.txt") if not line.startswith("#")]
    frames = []
    for number, line in enumerate(lines[::2]):  # every other line lists the image's points
        words = line.split(maxsplit=9)
        try:
            qw, qx, qy, qz, tx, ty, tz = (float(word) for word in words[1:8])
            intrinsics, width, height = cameras[words[8]]
            image = existing_file(folder / "images" / words[9].strip())
        except (ValueError, IndexError, KeyError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{model / 'images.txt'}, image {number}: '{line[:60]}' is not understood") from error
        world_to_camera = np.eye(4)
        world_to_camera[:3, :3] = rotation_of(qw, qx, qy, qz)
        world_to_camera[:3, 3] = tx, ty, tz
        frames.append(Frame(image.stem, image, Camera(intrinsics, np.linalg.inv(world_to_camera), width, height)))
    if not frames:
        raise DataError(f"{model / 'images.txt'}: lists no image")
    mesh = geometry_beside(folder, None) or _sparse_points(model / "points3D.txt")
    return reconstructed_scan(model / "images.txt", frames, folder, mesh)


def _colmap_cameras(path: Path) -> dict[str, tuple[np.ndarray, int, int]]:
    cameras = {}
    for number, line in enumerate(read_lines(path), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            width, height = int(words[2]), int(words[3])
            values = [float(word) for word in words[4:]]
            lengths, count = CAMERA_MODELS.get(words[1], (0, len(values)))
            if len(values) != count:
                raise ValueError(f"{words[1]} has {count} numbers")
            if lengths and not any(values[lengths + 2 :]):
                fx, fy, cx, cy = values[0], values[lengths - 1], values[lengths], values[lengths + 1]
            else:
                raise DataError(
                    f"{path}, line {number}: camera model {words[1]} has lens distortion; run colmap image_undistorter"
                )
        except (ValueError, IndexError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path}, line {number}: '{line[:60]}' is no camera") from error
        cameras[words[0]] = (np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]]), width, height)
    return cameras


def _sparse_points(path: Path) -> Mesh | None:
    """Points with at least three views of ``points3D.txt`` (id, x, y, z, r, g, b, error, track); None without file."""
    if not path.is_file():
        return None
    rows = [row for row in read_numbers(path) if len(row) >= 8 + 6]
    points = np.array([row[1:7] for row in rows]).reshape(-1, 6)
    return Mesh(points[:, :3], np.zeros((0, 3), np.int64), np.clip(points[:, 3:], 0, 255).astype(np.uint8))
