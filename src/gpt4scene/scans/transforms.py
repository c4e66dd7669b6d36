"""Recordings as nerfstudio and instant-ngp describe them: ``transforms.json`` with images and a ``.ply`` beside it.

Pixel (0, 0)'s corner is at the origin there, so half a pixel is taken off the principal point. The images must be free
of lens distortion. Lengths are the tool's own: a reconstruction from a video alone has no metres.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json
from gpt4scene.scans.images import image_size
from gpt4scene.scans.named_files import existing_file, named_file
from gpt4scene.scans.reconstruction import geometry_beside, reconstructed_scan, without_absent
from gpt4scene.scans.types import Camera, Frame, Scan

PLAIN_MODELS = ("PINHOLE", "SIMPLE_PINHOLE", "OPENCV", "PERSPECTIVE")
"""Camera models of a ``transforms.json`` that are pinholes when their distortion is zero; fisheyes never are."""
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
"""Between cameras that look along -z with y up (OpenGL) and ours."""


def is_transforms(folder: Path) -> bool:
    """True for a folder with a ``transforms.json``."""
    return (folder / "transforms.json").is_file()


def read_transforms(folder: str | Path) -> Scan:
    """The scan that a ``transforms.json`` describes, with the ``.ply`` it names or one beside it.

    Cameras are camera-to-world with y up (OpenGL), as nerfstudio and instant-ngp write them. ``axis_align.txt`` and
    ``objects.json`` are read as in a posed folder.
    """
    folder = Path(folder)
    path = folder / "transforms.json"
    content = read_json(path)
    rows = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(rows, list) or not rows:
        raise DataError(f"{path}: must be JSON with a list 'frames' that is not empty")
    frames = []
    for number, row in enumerate(rows):
        try:
            frames.append(_frame(folder, content, row))
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path}, frame {number}: lacks or spoils {error}") from error
    named = content.get("ply_file_path")
    kept, notes = without_absent(path, frames, [str(row["file_path"]) for row in rows])
    mesh = geometry_beside(folder, named if isinstance(named, str) else None)
    return reconstructed_scan(path, kept, folder, mesh, notes)


def geometry_named(folder: Path) -> str | None:
    """The geometry that ``transforms.json`` names, relative to the folder; None when it names none."""
    content = read_json(folder / "transforms.json")
    named = content.get("ply_file_path") if isinstance(content, dict) else None
    return str(Path(named)) if isinstance(named, str) else None


def _frame(folder: Path, common: Mapping, row: Mapping) -> Frame | None:
    image = named_file(folder, str(row["file_path"]))
    if image is None:
        return None
    values = {**common, **row}
    width, height = (int(values[key]) for key in ("w", "h")) if "w" in values else image_size(image)
    fx = float(values["fl_x"]) if "fl_x" in values else width / 2 / np.tan(float(values["camera_angle_x"]) / 2)
    fy = float(values.get("fl_y", fx))
    cx, cy = float(values.get("cx", width / 2)), float(values.get("cy", height / 2))
    model = str(values.get("camera_model", "PINHOLE"))
    if (
        model not in PLAIN_MODELS
        or values.get("is_fisheye")
        or any(abs(float(values.get(key) or 0)) > 1e-3 for key in ("k1", "k2", "k3", "k4", "p1", "p2"))
    ):
        raise DataError(
            f"{folder / 'transforms.json'}: the images have lens distortion (camera model {model}); undistort them, "
            "for example with colmap image_undistorter, and use --format colmap"
        )
    intrinsics = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])
    matrix = np.array(row["transform_matrix"], dtype=np.float64)
    if matrix.shape != (4, 4):
        raise ValueError("transform_matrix: it is no 4x4 matrix")
    camera = Camera(intrinsics, matrix @ _FLIP, width, height)
    depth, depth_camera = None, None
    if named := row.get("depth_file_path") or row.get("depth_path"):
        depth = existing_file(folder, str(named))
        depth_camera = camera.resized(*image_size(depth))
    return Frame(
        image.stem, image, camera, depth, depth_camera, 1 / float(values.get("depth_unit_scale_factor", 0.001))
    )
