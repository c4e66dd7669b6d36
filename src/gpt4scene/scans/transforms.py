"""Recordings as nerfstudio and instant-ngp describe them: ``transforms.json`` with images and a ``.ply`` beside it.

Pixel (0, 0)'s corner is at the origin there, so half a pixel is taken off the principal point. The images must be free
of lens distortion. Lengths are the tool's own: a reconstruction from a video alone has no metres.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from glob import escape
from os.path import relpath
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json
from gpt4scene.scans.images import depth_notes, image_size
from gpt4scene.scans.mesh_files import read_mesh
from gpt4scene.scans.named_files import absent_notes, named_file
from gpt4scene.scans.reconstruction import MESH_NAMES, geometry_file, reconstructed_scan, without_absent
from gpt4scene.scans.types import Camera, Frame, Scan

PLAIN_MODELS = (
    *("PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE"),
    *("OPENCV", "SIMPLE_RADIAL", "RADIAL", "FULL_OPENCV"),
)
"""Camera models of a ``transforms.json`` that are pinholes when their distortion is zero; fisheyes never are."""
_BENT = re.compile(r"([\w]*_)?[kp][1-6]")
_DISTORTION = re.compile(r"distort|dist_?coef|radial|tangential")
"""Numbers of lens distortion, and words for them, in small letters."""
_KNOWN = frozenset(
    {"frames", "camera_model", "fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x", "camera_angle_y", "is_fisheye"}
    | {"file_path", "transform_matrix", "depth_file_path", "depth_path", "mask_path", "ply_file_path"}
    | {"depth_unit_scale_factor", "integer_depth_scale", "distortion_params", "distortion"}
    | {"applied_transform", "applied_scale", "orientation_override", "aabb_scale", "scale", "offset", "aabb", "from_na"}
    | {"train_filenames", "val_filenames", "test_filenames", "sharpness", "colmap_im_id", "camera_id", "timestamp"}
    | {"motion_mask_path", "semantic_path", "normal_path", "white_transparent", "black_transparent", "sharpen", "time"}
)
"""Keys that are used, or that say nothing about where things are in the images."""
_LEAST_BEND = 1e-3
"""Distortion up to here moves the corners of an image by about a pixel."""
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
    if not path.is_file():
        others = ", ".join(other.name for other in sorted(folder.glob("*transforms*.json")))
        raise DataError(
            f"{path}: is missing" + (f"; seen {others}: write its frames into one transforms.json" * bool(others))
        )
    content = read_json(path)
    rows = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(rows, list) or not rows:
        raise DataError(f"{path}: must be JSON with a list 'frames' that is not empty")
    frames = []
    for number, row in enumerate(rows):
        try:
            frames.append(_frame(folder, content, row))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path}, frame {number}: lacks or spoils {error}") from error
    named = content.get("ply_file_path")
    kept, notes = without_absent(path, frames, [str(row["file_path"]) for row in rows], [folder])
    depths = [name for row in rows if (name := _depth_name(row))]
    gone = [name for name in depths if named_file(folder, name) is None]
    notes += absent_notes(path, gone, len(depths), [folder], "depth images")
    mesh_file = geometry_file([folder], named if isinstance(named, str) else None)
    mesh = read_mesh(mesh_file) if mesh_file else None
    notes = (*notes, *depth_notes(folder, kept), *_passed_over(path, content, rows))
    return reconstructed_scan(path, kept, folder, mesh, notes)


def _passed_over(path: Path, content: Mapping, rows: list) -> Iterator[str]:
    """Notes on what the frames say and is not used."""
    small = {name: value for row in rows for name, value in _bends({**content, **row}) if value}
    if small:
        said = ", ".join(f"{name} = {value:g}" for name, value in sorted(small.items()))
        yield f"{path}: lens distortion of about a pixel is left as it is: {said}"
    masked = sum("mask_path" in row for row in rows)
    if masked:
        yield f"{path}: 'mask_path' of {masked} frames is not used; their images are taken whole"
    unknown = {key for entry in (content, *rows) for key in entry if key not in _KNOWN and not _BENT.fullmatch(key)}
    if unknown:
        yield f"{path}: not used: {', '.join(sorted(map(repr, unknown)))}"


def transforms_reads(folder: Path) -> tuple[str, ...]:
    """What is read besides images, relative to the folder, as ``unused_files`` takes it."""
    content = read_json(folder / "transforms.json")
    named = content.get("ply_file_path") if isinstance(content, dict) else None
    mesh = geometry_file([folder], named if isinstance(named, str) else None)
    return ("transforms.json", "|".join(MESH_NAMES) if mesh is None else escape(relpath(mesh, folder)))


def _frame(folder: Path, common: Mapping, row: Mapping) -> Frame | None:
    image = named_file(folder, str(row["file_path"]))
    if image is None:
        return None
    values = {**common, **row}
    width, height = (int(values[key]) for key in ("w", "h")) if "w" in values else image_size(image)
    fx, fy = _focal_lengths(values, width, height)
    cx, cy = float(values.get("cx", width / 2)), float(values.get("cy", height / 2))
    model = str(values.get("camera_model") or "PINHOLE").upper()
    if (
        model not in PLAIN_MODELS
        or values.get("is_fisheye")
        or any(not abs(value) <= _LEAST_BEND for _, value in _bends(values))
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
    depth = named_file(folder, _depth_name(row)) if _depth_name(row) else None
    depth_camera = camera.resized(*image_size(depth)) if depth else None
    return Frame(image.stem, image, camera, depth, depth_camera, 1 / _depth_unit(values))


def _depth_name(row: Mapping) -> str:
    return str(row.get("depth_file_path") or row.get("depth_path") or "")


def _focal_lengths(values: Mapping, width: int, height: int) -> tuple[float, float]:
    """Focal lengths in pixels, of lengths or angles; one stands for both where the other is not told."""
    fx = _focal_length(values, "fl_x", "camera_angle_x", width)
    fy = _focal_length(values, "fl_y", "camera_angle_y", height)
    if fx is None and fy is None:
        raise KeyError("fl_x")
    one = fx if fx is not None else fy if fy is not None else 0.0
    return one, one if fy is None else fy


def _focal_length(values: Mapping, length: str, angle: str, side: int) -> float | None:
    if values.get(length) is not None:
        return float(values[length])
    return float(side / 2 / np.tan(float(values[angle]) / 2)) if values.get(angle) is not None else None


def _bends(values: Mapping) -> Iterator[tuple[str, float]]:
    """The numbers of lens distortion by name."""
    for name, value in values.items():
        if value is None or not (_BENT.fullmatch(name.lower()) or _DISTORTION.search(name.lower())):
            continue
        if isinstance(value, Mapping):
            yield from ((f"{name}.{key}", float(one)) for key, one in value.items() if one is not None)
        elif isinstance(value, list | tuple):
            yield from ((f"{name}[{place}]", float(one)) for place, one in enumerate(np.ravel(value)))
        elif not isinstance(value, str | bool):
            yield name, float(value)


def _depth_unit(values: Mapping) -> float:
    """Metres of one step of depth: nerfstudio's or instant-ngp's word for it, a millimetre without."""
    names = [name for name in ("depth_unit_scale_factor", "integer_depth_scale") if values.get(name) is not None]
    units = {float(values[name]) for name in names} or {0.001}
    unit = units.pop()
    if units or not 0 < unit < np.inf:
        said = " and ".join(f"{name} {values[name]}" for name in names)
        raise ValueError(f"{said}: one positive number of metres is needed")
    return unit
