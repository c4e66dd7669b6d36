"""ScanNet scan folders: mesh, recording (``.sens`` or exported frames), axis alignment and instance annotation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json
from gpt4scene.scans.geometry import box_of, transformed
from gpt4scene.scans.images import depth_notes, depth_of, image_files, image_size
from gpt4scene.scans.objects import text_of, whole_number
from gpt4scene.scans.ply import read_ply
from gpt4scene.scans.sens import read_sens
from gpt4scene.scans.text_files import read_matrix
from gpt4scene.scans.types import Camera, Frame, Mesh, Scan, SceneObject


def is_scannet(folder: Path) -> bool:
    """True for a folder named like its ``<scene>_vh_clean_2.ply`` or ``<scene>.sens``."""
    scene = folder.resolve().name
    return any((folder / f"{scene}{end}").is_file() for end in ("_vh_clean_2.ply", ".sens", ".aggregation.json"))


def read_scannet(folder: str | Path) -> Scan:
    """The scan in a ScanNet folder, which is named after its scene.

    Reads ``<scene>_vh_clean_2.ply``, frames from ``color/ depth/ pose/ intrinsic/`` or ``<scene>.sens``, the axis
    alignment in ``<scene>.txt``, and ``<scene>.aggregation.json`` with its segments for the annotated objects, whose
    numbers are ScanNet's objectIds. Without mesh the depth frames must do; without annotation there are no objects.
    """
    folder = Path(folder)
    scene = folder.resolve().name
    mesh_file = folder / f"{scene}_vh_clean_2.ply"
    mesh = read_ply(mesh_file) if mesh_file.is_file() else None
    about = _about(folder / f"{scene}.txt")
    align = _alignment(folder / f"{scene}.txt", about)
    frames = _exported_frames(folder, about) if (folder / "color").is_dir() else _recorded(folder / f"{scene}.sens")
    objects = _objects(folder, scene, mesh, align)
    notes = depth_notes(folder, frames)
    unread = folder / f"{scene}.aggregation.json"
    if mesh is None and unread.is_file():
        notes += (f"{unread}: is not used, because its objects are parts of {mesh_file.name}, which is not there",)
    return Scan(scene, frames, mesh, align, objects, folder, notes)


def _recorded(path: Path) -> tuple[Frame, ...]:
    if not path.is_file():
        raise DataError(
            f"{path.parent}: has neither {path.name} nor exported frames (color/, depth/, pose/, intrinsic/)"
        )
    return read_sens(path)


def _about(path: Path) -> dict[str, str]:
    """The ``key = value`` lines of ``<scene>.txt``; nothing when the file is absent."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {key.strip(): value.strip() for key, mark, value in (line.partition("=") for line in lines) if mark}


def _alignment(path: Path, about: dict[str, str]) -> np.ndarray | None:
    found = [value for key, value in about.items() if key.replace("_", "").lower() == "axisalignment"]
    if not found:
        return None
    try:
        return np.array([float(word) for word in found[0].split()]).reshape(4, 4)
    except ValueError as error:
        raise DataError(f"{path}: axisAlignment is not sixteen numbers") from error


def _exported_frames(folder: Path, about: dict[str, str]) -> tuple[Frame, ...]:
    images = sorted(image_files(folder / "color"), key=lambda path: (len(path.stem), path.stem))
    depth = depth_of(images, folder / "depth")
    width, height = image_size(images[0])
    intrinsics = _intrinsics(folder, about, "color")
    depth_size = image_size(sorted(depth.values())[0]) if depth else (0, 0)
    depth_intrinsics = _intrinsics(folder, about, "depth") if depth else intrinsics
    frames = []
    for image in images:
        pose_file = folder / "pose" / f"{image.stem}.txt"
        if not pose_file.is_file():
            raise DataError(f"{pose_file}: is missing; every image in color/ needs its pose")
        pose = read_matrix(pose_file, 4)
        own = depth.get(image.stem)
        name = image.stem.zfill(6) if image.stem.isdigit() else image.stem
        depth_camera = Camera(depth_intrinsics, pose, *depth_size) if own else None
        frames.append(Frame(name, image, Camera(intrinsics, pose, width, height), own, depth_camera))
    return tuple(frames)


def _intrinsics(folder: Path, about: dict[str, str], kind: str) -> np.ndarray:
    for path in (folder / "intrinsic" / f"intrinsic_{kind}.txt", folder / f"intrinsic_{kind}.txt"):
        if path.is_file():
            return read_matrix(path, 3)
    try:
        fx, fy, mx, my = (float(about[f"{key}_{kind}"]) for key in ("fx", "fy", "mx", "my"))
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{folder}: the {kind} camera is unknown; intrinsic/intrinsic_{kind}.txt or fx_{kind} ... my_{kind} in "
            f"{folder.resolve().name}.txt must say"
        ) from error
    return np.array([[fx, 0, mx], [0, fy, my], [0, 0, 1]])


def _json(path: Path, key: str) -> list:
    if not path.is_file():
        raise DataError(f"{path}: is missing; objects are listed by its segments")
    content = read_json(path)
    rows = content.get(key) if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise DataError(f"{path}: must be JSON with a list '{key}'; download it again")
    return rows


def _objects(folder: Path, scene: str, mesh: Mesh | None, align: np.ndarray | None) -> tuple[SceneObject, ...]:
    path = folder / f"{scene}.aggregation.json"
    if not path.is_file() or mesh is None:
        return ()
    segments_file = folder / f"{scene}_vh_clean_2.0.010000.segs.json"
    rows = _json(segments_file, "segIndices")
    try:
        segments = np.array(rows, dtype=np.int64)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{segments_file}: segIndices are not whole numbers") from error
    if segments.shape != (mesh.count_in_file,):
        raise DataError(f"{segments_file}: has {segments.size} segment numbers for {mesh.count_in_file} vertices")
    points = mesh.vertices if align is None else transformed(mesh.vertices, align)
    objects = []
    for row, group in enumerate(_json(path, "segGroups")):
        try:
            number, label = whole_number(group["objectId"]), text_of(group["label"])
            inside = np.isin(segments, np.array(group["segments"], dtype=np.int64))
            vertices = mesh.kept(np.nonzero(inside)[0])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{path}, group {row}: needs objectId, label and segments ({error})") from error
        if number < 0 or number in {item.id for item in objects}:
            raise DataError(f"{path}, group {row}: objectId {number} is negative or used twice")
        objects.append(SceneObject(number, label, *box_of(points[vertices]), vertices))
    return tuple(sorted(objects, key=lambda item: item.id))
