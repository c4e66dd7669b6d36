"""COLMAP models, text or binary, with undistorted images.

Pixel (0, 0)'s corner is at the origin there, so half a pixel is taken off the principal point. Lengths are the
reconstruction's own: without a known distance it has no metres.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.colmap_files import CameraRow, ImageRow, cut_off, read_cameras, read_images, read_points
from gpt4scene.scans.geometry import rotation_of
from gpt4scene.scans.mesh_files import read_mesh
from gpt4scene.scans.named_files import named_file
from gpt4scene.scans.reconstruction import geometry_file, reconstructed_scan, without_absent
from gpt4scene.scans.types import Camera, Frame, Mesh, Scan

CAMERA_MODELS = {
    **{"SIMPLE_PINHOLE": (1, 3), "PINHOLE": (2, 4), "SIMPLE_RADIAL": (1, 4)},
    **{"RADIAL": (1, 5), "OPENCV": (2, 8), "FULL_OPENCV": (2, 12)},
}
"""COLMAP's models that are pinholes when all after the principal point is zero: focal lengths, all numbers."""

PLACES = ("sparse/0", "sparse", "dense/0/sparse", "dense/sparse", "dense/0", "dense", ".")
"""Where a model may lie below a scan's folder, the usual place first."""


class Model(NamedTuple):
    """A COLMAP model: its folder and the ending of its files."""

    folder: Path
    ending: str

    @property
    def cameras(self) -> Path:
        """The list of its cameras."""
        return self.folder / f"cameras{self.ending}"

    @property
    def images(self) -> Path:
        """The list of its images."""
        return self.folder / f"images{self.ending}"


def is_colmap(folder: Path) -> bool:
    """True for a folder with a COLMAP model, as text or binary."""
    return bool(_models(folder))


def _models(folder: Path) -> list[Model]:
    """The models in a folder by ``PLACES``; text before binary."""
    found = []
    for place in PLACES:
        both = [Model(folder / place, ending) for ending in (".txt", ".bin")]
        found += [model for model in both if model.cameras.is_file() and model.images.is_file()][:1]
    return found


def chosen_model(folder: Path) -> Model:
    """The first model whose cameras have no lens distortion, else the first. Raises DataError where there is none."""
    found = _models(folder)
    if not found:
        seen = sorted(path.parent for path in folder.glob("**/images.*") if path.suffix in (".txt", ".bin"))
        hint = f"; seen one in {seen[0]}: move it to {folder / PLACES[0]}" if seen else ""
        raise DataError(
            f"{folder}: has no COLMAP model (cameras and images, .txt or .bin, in {', '.join(PLACES)}){hint}"
        )
    plain = (model for model in found if not any(map(_distortion, read_cameras(model.cameras))))
    return found[0] if len(found) == 1 else next(plain, found[0])


def _around(folder: Path, model: Model) -> list[Path]:
    """The places where images and geometry of a model are looked for, the nearest first, up to the scan's folder."""
    above = [place for place in (model.folder, *model.folder.parents) if place == folder or folder in place.parents]
    return above or [folder]


def _geometry_places(folder: Path, model: Model) -> list[Path]:
    """What the user laid into the scan's folder goes first, then what lies beside the model, then the dense output."""
    return list(dict.fromkeys((folder, *_around(folder, model)[::-1], folder / "dense/0", folder / "dense")))


def colmap_reads(folder: Path) -> tuple[str, ...]:
    """What is read besides images, relative to the folder, as ``unused_files`` takes it."""
    model = chosen_model(folder)
    place = model.folder.relative_to(folder).as_posix()
    names = [f"{name}.*" for name in ("cameras", "images", "points3D", "frames", "rigs", "project")]
    mesh = geometry_file(_geometry_places(folder, model), None)
    return (
        *(name if place == "." else f"{place}/{name}" for name in names),
        *([mesh.relative_to(folder).as_posix()] if mesh else []),
    )


def read_colmap(folder: str | Path) -> Scan:
    """The scan of a COLMAP model with the images in ``images/``, beside the model or above it.

    Geometry is a ``.ply`` beside them (``mesh.ply``, ``fused.ply``, ...) or else the model's sparse points. An image
    that is not there is left out, and noted; so is a second model.
    """
    folder = Path(folder)
    model = chosen_model(folder)
    rows = read_cameras(model.cameras)
    cameras = {row.id: _camera(row) for row in rows}
    twice = [row for row in rows if row is not next(one for one in rows if one.id == row.id)]
    if twice:
        raise DataError(f"{twice[0].place}: a camera {twice[0].id} is there already; remove one")
    rows = read_images(model.images)
    if not rows:
        raise DataError(f"{model.images}: lists no image")
    folders = [place / "images" for place in _around(folder, model)]
    frames = [_frame(row, cameras, folders) for row in rows]
    kept, notes = without_absent(model.images, frames, [row.name for row in rows], folders)
    mesh_file = geometry_file(_geometry_places(folder, model), None)
    mesh = read_mesh(mesh_file) if mesh_file else _sparse_points(model.folder / f"points3D{model.ending}")
    more = (*_other_models(folder, model), *cut_off(model.images, len(rows)))
    return reconstructed_scan(model.images, kept, folder, mesh, (*notes, *more))


def _other_models(folder: Path, chosen: Model) -> Iterator[str]:
    """Notes on the models beside the chosen one."""
    for model in _models(folder):
        if model.folder != chosen.folder and PLACES.index(model.folder.relative_to(folder).as_posix()) < PLACES.index(
            chosen.folder.relative_to(folder).as_posix()
        ):
            yield f"{model.folder}: has lens distortion; {chosen.folder} is read instead"
    for place in sorted(chosen.folder.parent.iterdir() if chosen.folder.name.isdigit() else ()):
        if place.name.isdigit() and place != chosen.folder and any(place.glob("images.*")):
            yield (
                f"{place}: is a model of other images, which is not read; the reconstruction fell into parts, and "
                f"{chosen.folder} is one: prepare a folder for each, or merge them (colmap model_merger)"
            )


def _frame(row: ImageRow, cameras: dict[int, tuple[np.ndarray, int, int]], folders: list[Path]) -> Frame | None:
    """The frame of an image; None where its file is not there."""
    if row.camera not in cameras:
        raise DataError(f"{row.place}: camera {row.camera} is not in the list of cameras")
    image = next((path for place in folders if (path := named_file(place, row.name)) is not None), None)
    if image is None:
        return None
    intrinsics, width, height = cameras[row.camera]
    world_to_camera = np.eye(4)
    try:
        world_to_camera[:3, :3] = rotation_of(*row.quaternion)
    except ValueError as error:
        raise DataError(f"{row.place}: {error}") from None
    world_to_camera[:3, 3] = row.translation
    return Frame(image.stem, image, Camera(intrinsics, np.linalg.inv(world_to_camera), width, height))


def _camera(row: CameraRow) -> tuple[np.ndarray, int, int]:
    lengths, count = CAMERA_MODELS.get(row.model, (0, len(row.values)))
    if len(row.values) != count:
        raise DataError(f"{row.place}: {row.model} has {count} numbers, found {len(row.values)}")
    if _distortion(row):
        raise DataError(f"{row.place}: camera model {row.model} has lens distortion; run colmap image_undistorter")
    fx, fy, cx, cy = row.values[0], row.values[lengths - 1], row.values[lengths], row.values[lengths + 1]
    return np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]]), row.width, row.height


def _distortion(row: CameraRow) -> bool:
    lengths, _ = CAMERA_MODELS.get(row.model, (0, 0))
    return not lengths or any(row.values[lengths + 2 :])


def _sparse_points(path: Path) -> Mesh | None:
    """Points with at least three views; None without file."""
    if not path.is_file():
        return None
    points = read_points(path)
    return Mesh(points[:, :3], np.zeros((0, 3), np.int64), np.clip(points[:, 3:], 0, 255).astype(np.uint8))
