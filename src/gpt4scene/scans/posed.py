"""The posed folder: colour frames, poses, intrinsics, and what else is known. The simplest way in for any recording.

``images/`` (jpg or png), ``depth/`` (uint16 png in millimetres, same names), ``poses.txt`` (one row-major 4x4
camera-to-world a line, in the order of the sorted image names), ``intrinsics.txt`` (3x3, pixels of the images),
``depth_intrinsics.txt`` where they differ, and optional ``mesh.ply``, ``axis_align.txt`` (4x4) and ``objects.json``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.scans.images import image_size
from gpt4scene.scans.ply import read_ply, write_ply
from gpt4scene.scans.types import Camera, Frame, Mesh, Scan, SceneObject, box_of, transformed

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")


def is_posed(folder: Path) -> bool:
    """True for a folder that looks like a posed recording."""
    return (folder / "images").is_dir() and (folder / "poses.txt").is_file()


def read_posed(folder: str | Path) -> Scan:
    """The scan in a posed folder; its name is the scene id. Images are opened later, one at a time.

    Raises DataError when poses and images differ in number, a matrix has another shape, or a mask leaves the mesh.
    """
    folder = Path(folder)
    images = image_files(folder / "images")
    poses = read_matrices(folder / "poses.txt", 4)
    if len(poses) != len(images):
        raise DataError(
            f"{folder / 'poses.txt'}: has {len(poses)} poses for {len(images)} images in images/; "
            "write one line an image, 'nan' sixteen times for a lost one"
        )
    mesh = read_ply(folder / "mesh.ply") if (folder / "mesh.ply").is_file() else None
    align_file = folder / "axis_align.txt"
    align = read_matrix(align_file, 4) if align_file.is_file() else None
    objects_file = folder / "objects.json"
    objects = read_objects(objects_file, mesh, align) if objects_file.is_file() else ()
    if align is None and objects:
        align = np.eye(4)
    return Scan(folder.resolve().name, _frames(folder, images, poses), mesh, align, objects, folder)


def _frames(folder: Path, images: list[Path], poses: list[np.ndarray]) -> tuple[Frame, ...]:
    intrinsics = read_matrix(folder / "intrinsics.txt", 3)
    width, height = image_size(images[0])
    depth = {path.stem: path for path in (folder / "depth").glob("*.png")}
    depth_size, depth_intrinsics = (width, height), intrinsics
    if depth:
        depth_size = image_size(next(iter(sorted(depth.values()))))
        own = folder / "depth_intrinsics.txt"
        if own.is_file():
            depth_intrinsics = read_matrix(own, 3)
        else:
            depth_intrinsics = Camera(intrinsics, np.eye(4), width, height).resized(*depth_size).intrinsics
    frames = []
    for image, pose in zip(images, poses, strict=True):
        camera = Camera(intrinsics, pose, width, height)
        depth_file = depth.get(image.stem)
        depth_camera = Camera(depth_intrinsics, pose, *depth_size) if depth_file else None
        frames.append(Frame(image.stem, image, camera, depth_file, depth_camera))
    return tuple(frames)


def image_files(folder: Path) -> list[Path]:
    """The images of a folder, sorted by name; DataError when there is none or two share a name."""
    if not folder.is_dir():
        raise DataError(f"{folder}: is missing; a scan needs a folder of colour images")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS)
    if not files:
        raise DataError(f"{folder}: holds no .jpg or .png image")
    stems = [path.stem for path in files]
    if len(set(stems)) != len(stems):
        double = next(stem for stem in stems if stems.count(stem) > 1)
        raise DataError(f"{folder}: two images are called '{double}'; remove one")
    return files


def read_lines(path: Path) -> list[str]:
    """The lines of a text file; DataError when it is missing or no text."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise DataError(f"{path}: is missing") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no text file") from error


def read_json(path: Path) -> object:
    """The content of a JSON file; DataError when it is missing, no JSON, or nested without end."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: is missing") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: must be JSON ({error})") from error


def read_numbers(path: Path) -> list[list[float]]:
    """The rows of numbers in a text file (``inf``, ``nan`` allowed); DataError names the first bad line."""
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        words = line.split("#")[0].replace(",", " ").split()
        try:
            row = [float(word) for word in words]
        except ValueError as error:
            raise DataError(f"{path}, line {number}: '{line[:60]}' is not a row of numbers") from error
        if row:
            rows.append(row)
    return rows


def read_matrices(path: Path, side: int) -> list[np.ndarray]:
    """One ``side`` x ``side`` matrix for each line, row-major."""
    rows = read_numbers(path)
    for number, row in enumerate(rows, start=1):
        if len(row) != side * side:
            raise DataError(f"{path}, row {number}: has {len(row)} numbers, a {side}x{side} matrix needs {side * side}")
    return [np.array(row).reshape(side, side) for row in rows]


def read_matrix(path: Path, side: int) -> np.ndarray:
    """The matrix in a file, on one line or several; a 4x4 intrinsic matrix gives its 3x3 corner."""
    values = np.array([value for row in read_numbers(path) for value in row])
    if side == 3 and values.size == 16:
        return values.reshape(4, 4)[:3, :3]
    if values.size != side * side:
        raise DataError(f"{path}: has {values.size} numbers, a {side}x{side} matrix needs {side * side}")
    return values.reshape(side, side)


def read_objects(path: Path, mesh: Mesh | None, align: np.ndarray | None) -> tuple[SceneObject, ...]:
    """Objects of an ``objects.json``, sorted by number; see ``parse_objects``."""
    return parse_objects(path, read_json(path), mesh, align)


def parse_objects(path: Path, content: object, mesh: Mesh | None, align: np.ndarray | None) -> tuple[SceneObject, ...]:
    """Objects from the content of a JSON file: boxes, or masks (files of vertex indices) whose boxes are measured."""
    entries = content.get("objects") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise DataError(f"{path}: must be JSON with a list 'objects'")
    objects, seen = [], set()
    for row, entry in enumerate(entries):
        try:
            number, label = int(entry["id"]), str(entry["label"])
            if number != float(entry["id"]):
                raise DataError(f"{path}, object {row}: id {entry['id']} is no whole number")
            vertices = _mask(path.parent / entry["mask"], mesh) if entry.get("mask") else None
            if "center" in entry:
                center, size = (np.array(entry[key], dtype=np.float64).reshape(3) for key in ("center", "size"))
            elif vertices is not None and mesh is not None:
                points = mesh.vertices[vertices]
                center, size = box_of(points if align is None else transformed(points, align))
            else:
                raise KeyError("center and size, or mask")
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise DataError(
                f"{path}, object {row}: lacks {error} (each has id, label, center and size, or mask)"
            ) from error
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path}, object {row}: center and size are three numbers each ({error})") from error
        if number in seen or number < 0:
            raise DataError(f"{path}, object {row}: id {number} is {'used twice' if number in seen else 'negative'}")
        if not np.isfinite([center, size]).all() or (size < 0).any():
            raise DataError(f"{path}, object {row}: the box {center.tolist()} {size.tolist()} is not a box")
        seen.add(number)
        objects.append(SceneObject(number, label, center, size, vertices))
    return tuple(sorted(objects, key=lambda item: item.id))


def _mask(path: Path, mesh: Mesh | None) -> np.ndarray:
    if mesh is None:
        raise DataError(f"{path}: masks are vertex indices and need a mesh.ply")
    values = np.array([value for row in read_numbers(path) for value in row])
    wrong = values[~((values >= 0) & (values < len(mesh.vertices)) & (values == np.floor(values)))]
    if len(wrong):
        raise DataError(f"{path}: names vertex {wrong[-1]:.16g} but the mesh has {len(mesh.vertices)}, from 0")
    return np.unique(values.astype(np.int64))


def write_posed(
    folder: str | Path,
    images: Sequence[np.ndarray],
    cameras: Sequence[Camera],
    *,
    names: Sequence[str] | None = None,
    depths: Sequence[np.ndarray] | None = None,
    depth_camera: Camera | None = None,
    mesh: Mesh | None = None,
    align: np.ndarray | None = None,
    objects: Sequence[SceneObject] = (),
    image_type: str = "jpg",
) -> Path:
    """Write a posed folder that ``read_posed`` reads back, and return it.

    ``images`` uint8 [H, W, 3], ``depths`` metres [h, w] (0 nothing), ``cameras`` one each with equal intrinsics.
    ``depth_camera`` gives the depth intrinsics where its image is no plain rescaling of the colour image.
    Objects with ``vertices`` get a mask file; boxes are always written.
    """
    folder = Path(folder)
    names = names or [f"{index:05d}" for index in range(len(images))]
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(folder / "images" / f"{name}.{image_type}", quality=95, subsampling=0)
    if depths is not None:
        (folder / "depth").mkdir(exist_ok=True)
        for name, depth in zip(names, depths, strict=True):
            millimetres = np.clip(np.rint(np.asarray(depth) * 1000), 0, 65535).astype(np.uint16)
            Image.fromarray(millimetres).save(folder / "depth" / f"{name}.png")
    _write_matrices(folder / "poses.txt", [camera.pose for camera in cameras])
    _write_rows(folder / "intrinsics.txt", cameras[0].intrinsics)
    if depth_camera is not None:
        _write_rows(folder / "depth_intrinsics.txt", depth_camera.intrinsics)
    if align is not None:
        _write_rows(folder / "axis_align.txt", align)
    if mesh is not None:
        write_ply(folder / "mesh.ply", mesh)
    if objects:
        _write_objects(folder, objects)
    return folder


def _write_objects(folder: Path, objects: Sequence[SceneObject]) -> None:
    entries = []
    for item in objects:
        entry: dict = {"id": item.id, "label": item.label, "center": item.center.tolist(), "size": item.size.tolist()}
        if item.vertices is not None:
            (folder / "masks").mkdir(exist_ok=True)
            entry["mask"] = f"masks/{item.id}.txt"
            (folder / entry["mask"]).write_text("".join(f"{index}\n" for index in item.vertices))
        entries.append(entry)
    part = folder / "objects.json.part"
    part.write_text(json.dumps({"objects": entries}, indent=1), encoding="utf-8")
    os.replace(part, folder / "objects.json")


def _write_matrices(path: Path, matrices: Sequence[np.ndarray]) -> None:
    path.write_text("".join(" ".join(repr(float(v)) for v in matrix.ravel()) + "\n" for matrix in matrices))


def _write_rows(path: Path, matrix: np.ndarray) -> None:
    path.write_text("".join(" ".join(repr(float(v)) for v in row) + "\n" for row in np.asarray(matrix)))
