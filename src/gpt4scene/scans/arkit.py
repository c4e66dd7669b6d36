"""ARKitScenes scans: images and depth of an iPad, its trajectory, and the mesh and boxes of the 3DOD set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_json
from gpt4scene.scans.geometry import box_of, rotation_about
from gpt4scene.scans.images import depth_notes, depth_of, image_files, image_size
from gpt4scene.scans.objects import text_of
from gpt4scene.scans.ply import read_ply
from gpt4scene.scans.text_files import read_numbers
from gpt4scene.scans.timestamps import nearest_stamp
from gpt4scene.scans.types import Camera, Frame, Scan, SceneObject

CLOSEST = 0.005
"""Seconds by which stamps of one moment may differ.

Images come up to 60 a second, poses 10 a second; those between two poses have none.
"""


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
    frames, images = [], image_files(recording / "lowres_wide")
    depths = depth_of(images, recording / "lowres_depth")
    for image in images:
        try:
            stamp = float(image.stem.rpartition("_")[2])
        except ValueError as error:
            raise DataError(f"{image}: the name must end in a time stamp, like {scene}_1234.567.png") from error
        nearest = nearest_stamp(times, stamp, CLOSEST)
        pose = np.full((4, 4), np.nan)
        if nearest is not None and np.isfinite(track[nearest]).all():
            world_to_camera = np.eye(4)
            world_to_camera[:3, :3] = rotation_about(np.array(track[nearest][1:4]))
            world_to_camera[:3, 3] = track[nearest][4:]
            pose = np.linalg.inv(world_to_camera)
        camera = _pincam(recording / "lowres_wide_intrinsics", image.stem, stamp, pose)
        depth = depths.get(image.stem)
        small = camera.resized(*image_size(depth)) if depth else None
        frames.append(Frame(image.stem, image, camera, depth, small))
    mesh_file = folder / f"{scene}_3dod_mesh.ply"
    mesh = read_ply(mesh_file) if mesh_file.is_file() else None
    objects = _oriented_boxes(folder / f"{scene}_3dod_annotation.json")
    return Scan(scene, tuple(frames), mesh, np.eye(4), objects, folder, depth_notes(recording, frames))


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


def _oriented_boxes(path: Path) -> tuple[SceneObject, ...]:
    if not path.is_file():
        return ()
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    objects, content = [], read_json(path)
    try:
        for number, entry in enumerate(content["data"]):
            box = entry["segments"]["obbAligned"]
            axes = np.array(box["normalizedAxes"], dtype=np.float64).reshape(3, 3)
            points = (corners * np.array(box["axesLengths"])) @ axes + np.array(box["centroid"])
            objects.append(SceneObject(number, text_of(entry["label"]), *box_of(points)))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is no ARKitScenes annotation ({error})") from error
    return tuple(objects)
