"""Two more kinds of recordings: TUM RGB-D sequences and ARKitScenes scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.images import image_size
from gpt4scene.scans.ply import read_ply
from gpt4scene.scans.posed import image_files, read_json, read_lines, read_matrix, read_numbers, read_objects
from gpt4scene.scans.transforms import rotation_of
from gpt4scene.scans.types import Camera, Frame, Scan, SceneObject, box_of

TUM_INTRINSICS = ((525.0, 0.0, 319.5), (0.0, 525.0, 239.5), (0.0, 0.0, 1.0))
"""The sequences' default camera (TUM RGB-D, file formats page); ``intrinsics.txt`` overrides it."""
TUM_DEPTH_SCALE = 5000.0
CLOSEST = 0.02
"""Seconds by which stamps of one moment may differ in a TUM sequence."""
CLOSEST_ARKIT = 0.005
"""The same in ARKitScenes: images come up to 60 a second, poses 10 a second; those between two poses have none."""


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
    width, height = image_size(folder / images[0][1])
    depth_size = image_size(folder / depth[0][1]) if depth else (0, 0)
    depth_times = np.array([stamp for stamp, _ in depth])
    frames = []
    for stamp, name in images:
        pose = np.full((4, 4), np.nan)
        nearest = _nearest(times, stamp)
        if nearest is not None and np.isfinite(track[nearest]).all():
            _, x, y, z, qx, qy, qz, qw = track[nearest]
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = rotation_of(qw, qx, qy, qz), (x, y, z)
        camera = Camera(intrinsics, pose, width, height)
        match = _nearest(depth_times, stamp)
        path = folder / depth[match][1] if match is not None else None
        small = camera.resized(*depth_size) if path else None
        frames.append(Frame(Path(name).stem, folder / name, camera, path, small, TUM_DEPTH_SCALE))
    align_file, objects_file = folder / "axis_align.txt", folder / "objects.json"
    align = read_matrix(align_file, 4) if align_file.is_file() else None
    objects = read_objects(objects_file, None, align) if objects_file.is_file() else ()
    return Scan(
        folder.resolve().name, tuple(frames), None, np.eye(4) if objects and align is None else align, objects, folder
    )


def _stamped(path: Path, optional: bool = False) -> list[tuple[float, str]]:
    if optional and not path.is_file():
        return []
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        words = line.split("#")[0].split()
        if not words:
            continue
        try:
            rows.append((float(words[0]), words[1]))
        except (ValueError, IndexError) as error:
            raise DataError(f"{path}, line {number}: '{line[:60]}' is not 'time-stamp file'") from error
    return sorted(rows)


def _nearest(times: np.ndarray, stamp: float, closest: float = CLOSEST) -> int | None:
    if not len(times):
        return None
    index = int(np.argmin(np.abs(times - stamp)))
    return index if abs(times[index] - stamp) <= closest else None


def is_arkit(folder: Path) -> bool:
    """True for a folder with ``lowres_wide.traj``, or with ``<id>_frames/`` that has it."""
    return (_recording(folder) / "lowres_wide.traj").is_file()


def _recording(folder: Path) -> Path:
    inside = folder / f"{folder.resolve().name}_frames"
    return inside if inside.is_dir() else folder


def read_arkit(folder: str | Path) -> Scan:
    """The scan of an ARKitScenes folder: ``lowres_wide/``, its ``.pincam`` files, ``lowres_depth/`` and trajectory.

    These lie in the folder itself or in ``<id>_frames/`` in it. Mesh and boxes are those of the 3DOD set, where the
    folder has ``<id>_3dod_mesh.ply`` and ``<id>_3dod_annotation.json``; turned boxes become the boxes along the axes
    around them. Its world has z up.
    """
    folder = Path(folder)
    scene = folder.resolve().name
    recording = _recording(folder)
    track = read_numbers(recording / "lowres_wide.traj")
    if not track or any(len(row) != 7 for row in track):
        raise DataError(f"{recording / 'lowres_wide.traj'}: each line has a time stamp, three angles and three lengths")
    times = np.array([row[0] for row in track])
    frames = []
    for image in image_files(recording / "lowres_wide"):
        try:
            stamp = float(image.stem.rpartition("_")[2])
        except ValueError as error:
            raise DataError(f"{image}: the name must end in a time stamp, like {scene}_1234.567.png") from error
        nearest = _nearest(times, stamp, CLOSEST_ARKIT)
        pose = np.full((4, 4), np.nan)
        if nearest is not None and np.isfinite(track[nearest]).all():
            world_to_camera = np.eye(4)
            world_to_camera[:3, :3] = _rotation_about(np.array(track[nearest][1:4]))
            world_to_camera[:3, 3] = track[nearest][4:]
            pose = np.linalg.inv(world_to_camera)
        camera = _pincam(recording / "lowres_wide_intrinsics", image.stem, stamp, pose)
        depth = recording / "lowres_depth" / image.name
        small = camera.resized(*image_size(depth)) if depth.is_file() else None
        frames.append(Frame(image.stem, image, camera, depth if small else None, small))
    mesh_file = folder / f"{scene}_3dod_mesh.ply"
    mesh = read_ply(mesh_file) if mesh_file.is_file() else None
    objects = _oriented_boxes(folder / f"{scene}_3dod_annotation.json")
    return Scan(scene, tuple(frames), mesh, np.eye(4), objects, folder)


def _pincam(folder: Path, stem: str, stamp: float, pose: np.ndarray) -> Camera:
    """The camera of an image; its file's stamp may be a millisecond off."""
    start = stem.rpartition("_")[0]
    path = folder / f"{stem}.pincam"
    for shift in (-0.001, 0.001):
        other = folder / f"{start}_{stamp + shift:.3f}.pincam"
        path = other if not path.is_file() and other.is_file() else path
    rows = read_numbers(path)
    if len(rows) != 1 or len(rows[0]) != 6:
        raise DataError(f"{path}: must be one line: width height fx fy cx cy")
    width, height, fx, fy, cx, cy = rows[0]
    return Camera(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), pose, int(width), int(height))


def _rotation_about(vector: np.ndarray) -> np.ndarray:
    """The rotation about an axis by its length in radians."""
    angle = float(np.linalg.norm(vector))
    axis = vector / angle if angle > 0 else vector
    return rotation_of(np.cos(angle / 2), *(axis * np.sin(angle / 2)))


def _oriented_boxes(path: Path) -> tuple[SceneObject, ...]:
    if not path.is_file():
        return ()
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    objects, content = [], read_json(path)
    try:
        for number, entry in enumerate(content["data"]):  # pyright: ignore (anything else is caught below)
            box = entry["segments"]["obbAligned"]
            axes = np.array(box["normalizedAxes"], dtype=np.float64).reshape(3, 3)
            points = (corners * np.array(box["axesLengths"])) @ axes + np.array(box["centroid"])
            objects.append(SceneObject(number, str(entry["label"]), *box_of(points)))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is no ARKitScenes annotation ({error})") from error
    return tuple(objects)
