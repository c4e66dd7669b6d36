"""COLMAP models, text or binary, with undistorted images.

Pixel (0, 0)'s corner is at the origin there, so half a pixel is taken off the principal point. Lengths are the
reconstruction's own: without a known distance it has no metres.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.colmap_files import CameraRow, ImageRow, read_cameras, read_images, read_points
from gpt4scene.scans.geometry import rotation_of
from gpt4scene.scans.named_files import named_file
from gpt4scene.scans.reconstruction import geometry_beside, reconstructed_scan, without_absent
from gpt4scene.scans.types import Camera, Frame, Mesh, Scan

CAMERA_MODELS = {
    **{"SIMPLE_PINHOLE": (1, 3), "PINHOLE": (2, 4), "SIMPLE_RADIAL": (1, 4)},
    **{"RADIAL": (1, 5), "OPENCV": (2, 8), "FULL_OPENCV": (2, 12)},
}
"""COLMAP's models that are pinholes when all after the principal point is zero: focal lengths, all numbers."""

PLACES = ("sparse/0", "sparse", "dense/0/sparse", "dense/sparse", "dense/0", "dense", ".")
"""Where a model may lie below a scan's folder, the usual place first."""


def is_colmap(folder: Path) -> bool:
    """True for a folder with a COLMAP model, as text or binary."""
    return _model(folder) is not None


def _model(folder: Path) -> tuple[Path, str] | None:
    """The folder of the model and the ending of its files; text before binary."""
    for place in PLACES:
        for ending in (".txt", ".bin"):
            if all((folder / place / f"{name}{ending}").is_file() for name in ("cameras", "images")):
                return folder / place, ending
    return None


def read_colmap(folder: str | Path) -> Scan:
    """The scan of a COLMAP model with the images in ``images/``, beside the model or above it.

    Geometry is a ``.ply`` beside them (``mesh.ply``, ``fused.ply``, ...) or else the model's sparse points. An image
    that is not there is left out, and noted.
    """
    folder = Path(folder)
    found = _model(folder)
    if found is None:
        raise DataError(f"{folder}: has no COLMAP model (cameras and images, .txt or .bin, in {', '.join(PLACES)})")
    model, ending = found
    listing = model / f"images{ending}"
    cameras = {row.id: _camera(row) for row in read_cameras(model / f"cameras{ending}")}
    rows = read_images(listing)
    if not rows:
        raise DataError(f"{listing}: lists no image")
    folders = list(dict.fromkeys(place / "images" for place in (folder, model, model.parent, model.parent.parent)))
    frames = [_frame(row, cameras, folders) for row in rows]
    kept, notes = without_absent(listing, frames, [row.name for row in rows])
    beside = dict.fromkeys((folder, model.parent, model))
    mesh = next((mesh for place in beside if (mesh := geometry_beside(place, None)) is not None), None)
    return reconstructed_scan(listing, kept, folder, mesh or _sparse_points(model / f"points3D{ending}"), notes)


def _frame(row: ImageRow, cameras: dict[int, tuple[np.ndarray, int, int]], folders: list[Path]) -> Frame | None:
    """The frame of an image; None where its file is not there."""
    if row.camera not in cameras:
        raise DataError(f"{row.place}: camera {row.camera} is not in the list of cameras")
    image = next((path for place in folders if (path := named_file(place, row.name)) is not None), None)
    if image is None:
        return None
    intrinsics, width, height = cameras[row.camera]
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3] = rotation_of(*row.quaternion)
    world_to_camera[:3, 3] = row.translation
    return Frame(image.stem, image, Camera(intrinsics, np.linalg.inv(world_to_camera), width, height))


def _camera(row: CameraRow) -> tuple[np.ndarray, int, int]:
    lengths, count = CAMERA_MODELS.get(row.model, (0, len(row.values)))
    if len(row.values) != count:
        raise DataError(f"{row.place}: {row.model} has {count} numbers, found {len(row.values)}")
    if not lengths or any(row.values[lengths + 2 :]):
        raise DataError(f"{row.place}: camera model {row.model} has lens distortion; run colmap image_undistorter")
    fx, fy, cx, cy = row.values[0], row.values[lengths - 1], row.values[lengths], row.values[lengths + 1]
    return np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]]), row.width, row.height


def _sparse_points(path: Path) -> Mesh | None:
    """Points with at least three views; None without file."""
    if not path.is_file():
        return None
    points = read_points(path)
    return Mesh(points[:, :3], np.zeros((0, 3), np.int64), np.clip(points[:, 3:], 0, 255).astype(np.uint8))
