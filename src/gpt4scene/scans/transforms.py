"""Recordings with poses from reconstruction tools: nerfstudio's ``transforms.json``, and COLMAP models as text.

Both put pixel (0, 0)'s corner at the origin, so half a pixel is taken off their principal points. Their images must
be free of lens distortion. Lengths are the tool's own: a reconstruction from a video alone has no metres.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.images import image_size
from gpt4scene.scans.ply import read_ply
from gpt4scene.scans.posed import IMAGE_ENDINGS, read_json, read_lines, read_matrix, read_numbers, read_objects
from gpt4scene.scans.types import Camera, Frame, Mesh, Scan

MESH_NAMES = ("mesh.ply", "meshed-poisson.ply", "meshed-delaunay.ply", "fused.ply", "point_cloud.ply", "sparse_pc.ply")
"""Geometry beside the poses, best first."""
PLAIN_MODELS = ("PINHOLE", "SIMPLE_PINHOLE", "OPENCV", "PERSPECTIVE")
"""Camera models of a ``transforms.json`` that are pinholes when their distortion is zero; fisheyes never are."""
COLMAP_MODELS = {
    **{"SIMPLE_PINHOLE": (1, 3), "PINHOLE": (2, 4), "SIMPLE_RADIAL": (1, 4)},
    **{"RADIAL": (1, 5), "OPENCV": (2, 8), "FULL_OPENCV": (2, 12)},
}
"""COLMAP's models that are pinholes when all after the principal point is zero: focal lengths, all numbers."""
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
    frames.sort(key=lambda frame: frame.name)
    _check_names(path, frames)
    named = content.get("ply_file_path")
    return _scan(folder, tuple(frames), _geometry(folder, named if isinstance(named, str) else None))


def _frame(folder: Path, common: Mapping, row: Mapping) -> Frame:
    image = _existing(folder / str(row["file_path"]))
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
    if row.get("depth_file_path"):
        depth = _existing(folder / str(row["depth_file_path"]))
        depth_camera = camera.resized(*image_size(depth))
    return Frame(
        image.stem, image, camera, depth, depth_camera, 1 / float(values.get("depth_unit_scale_factor", 0.001))
    )


def _existing(path: Path) -> Path:
    """``path``, or the image of that name with an ending; DataError when there is none."""
    for candidate in (path, *(path.with_name(path.name + ending) for ending in IMAGE_ENDINGS)):
        if candidate.is_file():
            return candidate
    raise DataError(f"{path}: is missing")


def _check_names(path: Path, frames: list[Frame]) -> None:
    for before, after in zip(frames, frames[1:], strict=False):
        if before.name == after.name:
            raise DataError(f"{path}: two images are called '{before.name}'; rename one")


def _geometry(folder: Path, named: str | None) -> Mesh | None:
    if named is not None:
        return read_ply(_existing(folder / named))
    for name in MESH_NAMES:
        if (folder / name).is_file():
            return read_ply(folder / name)
    return None


def _scan(folder: Path, frames: tuple[Frame, ...], mesh: Mesh | None) -> Scan:
    align_file, objects_file = folder / "axis_align.txt", folder / "objects.json"
    align = read_matrix(align_file, 4) if align_file.is_file() else None
    objects = read_objects(objects_file, mesh, align) if objects_file.is_file() else ()
    if align is None and objects:
        align = np.eye(4)
    return Scan(folder.resolve().name, frames, mesh, align, objects, folder)


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
            image = _existing(folder / "images" / words[9].strip())
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
    frames.sort(key=lambda frame: frame.name)
    _check_names(model / "images.txt", frames)
    mesh = _geometry(folder, None) or _sparse_points(model / "points3D.txt")
    return _scan(folder, tuple(frames), mesh)


def _colmap_cameras(path: Path) -> dict[str, tuple[np.ndarray, int, int]]:
    cameras = {}
    for number, line in enumerate(read_lines(path), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            width, height = int(words[2]), int(words[3])
            values = [float(word) for word in words[4:]]
            lengths, count = COLMAP_MODELS.get(words[1], (0, len(values)))
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


def rotation_of(w: float, x: float, y: float, z: float) -> np.ndarray:
    """The rotation matrix of a quaternion, which need not have length 1; ValueError for zero."""
    length = float(np.sqrt(w * w + x * x + y * y + z * z))
    if not length > 0:
        raise ValueError("a quaternion of length zero is no rotation")
    w, x, y, z = w / length, x / length, y / length, z / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _sparse_points(path: Path) -> Mesh | None:
    """Points with at least three views of ``points3D.txt`` (id, x, y, z, r, g, b, error, track); None without file."""
    if not path.is_file():
        return None
    rows = [row for row in read_numbers(path) if len(row) >= 8 + 6]
    points = np.array([row[1:7] for row in rows]).reshape(-1, 6)
    return Mesh(points[:, :3], np.zeros((0, 3), np.int64), np.clip(points[:, 3:], 0, 255).astype(np.uint8))
