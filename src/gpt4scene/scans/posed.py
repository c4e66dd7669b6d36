"""The posed folder: colour frames, poses, intrinsics, and what else is known. The simplest way in for any recording.

``images/`` (jpg or png), ``depth/`` (uint16 png in millimetres, same names), ``poses.txt`` (one row-major 4x4
camera-to-world a line, in the order of the sorted image names), ``intrinsics.txt`` (3x3, pixels of the images),
``depth_intrinsics.txt`` where they differ, and optional ``mesh.ply``, ``axis_align.txt`` (4x4) and ``objects.json``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.files.whole import whole_folder
from gpt4scene.scans.images import depth_notes, depth_of, image_files, image_size
from gpt4scene.scans.mesh_files import read_mesh
from gpt4scene.scans.objects import read_annotation, write_annotation
from gpt4scene.scans.ply import write_ply
from gpt4scene.scans.text_files import number_lines, read_matrices, read_matrix
from gpt4scene.scans.types import Camera, Frame, Mesh, Scan, SceneObject

_PARTS = re.compile(r"([0-9]+)")
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
    frames = _frames(folder, images, poses)
    notes = (*order_notes(images), *depth_notes(folder, frames), *notes)
    return Scan(folder.resolve().name, frames, mesh, align, objects, folder, notes)


def _counted(path: Path) -> list[str | int]:
    """A name as texts and numbers by turns, which sorts by the numbers."""
    return [int(word) if place % 2 else word for place, word in enumerate(_PARTS.split(path.stem))]


def order_notes(images: Sequence[Path]) -> tuple[str, ...]:
    """A note where names sort otherwise as texts, which poses follow, than by the numbers in them."""
    counted = sorted(images, key=_counted)
    pairs = [(text, number) for text, number in zip(images, counted, strict=True) if text != number]
    if not pairs:
        return ()
    return (
        f"{images[0].parent}: names sort as texts here, {pairs[0][0].name} before {pairs[0][1].name}, and poses are "
        "taken in that order; write numbers with leading zeros if it is another",
    )


def _frames(folder: Path, images: list[Path], poses: list[np.ndarray]) -> tuple[Frame, ...]:
    intrinsics = read_matrix(folder / "intrinsics.txt", 3)
    width, height = image_size(images[0])
    depth = depth_of(images, folder / "depth")
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
