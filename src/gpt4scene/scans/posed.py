"""The posed folder: colour frames, poses, intrinsics, and what else is known. The simplest way in for any recording.

``images/`` (jpg or png), ``depth/`` (uint16 png in millimetres, same names), ``poses.txt`` (one row-major 4x4
camera-to-world a line, in the order of the sorted image names), ``intrinsics.txt`` (3x3, pixels of the images),
``depth_intrinsics.txt`` where they differ, and optional ``mesh.ply``, ``axis_align.txt`` (4x4) and ``objects.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.files.whole import whole_folder
from gpt4scene.scans.images import depth_files, image_files, image_size
from gpt4scene.scans.mesh_files import read_mesh
from gpt4scene.scans.objects import read_annotation, write_annotation
from gpt4scene.scans.ply import write_ply
from gpt4scene.scans.text_files import number_lines, read_matrices, read_matrix
from gpt4scene.scans.types import Camera, Frame, Mesh, Scan, SceneObject

MESHES = ("mesh.ply", "mesh.obj", "mesh.glb")


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
    mesh = next((read_mesh(folder / name) for name in MESHES if (folder / name).is_file()), None)
    align, objects, notes = read_annotation(folder, mesh)
    return Scan(folder.resolve().name, _frames(folder, images, poses), mesh, align, objects, folder, notes)


def _frames(folder: Path, images: list[Path], poses: list[np.ndarray]) -> tuple[Frame, ...]:
    intrinsics = read_matrix(folder / "intrinsics.txt", 3)
    width, height = image_size(images[0])
    depth = depth_files(folder / "depth")
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


def write_posed(
    folder: str | Path,
    images: Sequence[np.ndarray],
    cameras: Sequence[Camera],
    *,
    depths: Sequence[np.ndarray] | None = None,
    mesh: Mesh | None = None,
    align: np.ndarray | None = None,
    objects: Sequence[SceneObject] = (),
) -> Path:
    """Write a posed folder that ``read_posed`` reads back, and return it. It appears whole or not at all.

    ``images`` uint8 [H, W, 3], ``depths`` metres [h, w] (0 nothing), ``cameras`` one each with equal intrinsics.
    Objects with ``vertices`` get a mask file; boxes are always written. Raises DataError when the folder holds
    something already.
    """
    with whole_folder(folder) as partial:
        (partial / "images").mkdir()
        for index, image in enumerate(images):
            Image.fromarray(image).save(partial / "images" / f"{index:05d}.jpg", quality=95, subsampling=0)
        if depths is not None:
            (partial / "depth").mkdir()
            for index, depth in enumerate(depths):
                millimetres = np.clip(np.rint(np.asarray(depth) * 1000), 0, 65535).astype(np.uint16)
                Image.fromarray(millimetres).save(partial / "depth" / f"{index:05d}.png")
        (partial / "poses.txt").write_text(number_lines([camera.pose for camera in cameras]))
        (partial / "intrinsics.txt").write_text(number_lines(cameras[0].intrinsics))
        if mesh is not None:
            write_ply(partial / "mesh.ply", mesh)
        write_annotation(partial, align, objects)
    return Path(folder)
