"""What reconstruction tools leave beside their poses: images by name, geometry, and how frames become a scan."""

from __future__ import annotations

from pathlib import Path

from gpt4scene.errors import DataError
from gpt4scene.scans.images import IMAGE_ENDINGS
from gpt4scene.scans.objects import read_annotation
from gpt4scene.scans.ply import read_ply
from gpt4scene.scans.types import Frame, Mesh, Scan

MESH_NAMES = ("mesh.ply", "meshed-poisson.ply", "meshed-delaunay.ply", "fused.ply", "point_cloud.ply", "sparse_pc.ply")
"""Geometry beside the poses, best first."""


def reconstructed_scan(listing: Path, frames: list[Frame], folder: Path, mesh: Mesh | None) -> Scan:
    """The scan of a folder with its frames sorted by name; alignment and objects are read as in a posed folder.

    Raises DataError naming ``listing``, the file that lists the frames, when two share a name.
    """
    ordered = sorted(frames, key=lambda frame: frame.name)
    for before, after in zip(ordered, ordered[1:], strict=False):
        if before.name == after.name:
            raise DataError(f"{listing}: two images are called '{before.name}'; rename one")
    align, objects, notes = read_annotation(folder, mesh)
    return Scan(folder.resolve().name, tuple(ordered), mesh, align, objects, folder, notes)


def existing_file(path: Path) -> Path:
    """``path``, or the file that has an image's ending more; DataError when there is none."""
    for candidate in (path, *(path.with_name(path.name + ending) for ending in IMAGE_ENDINGS)):
        if candidate.is_file():
            return candidate
    raise DataError(f"{path}: is missing")


def geometry_beside(folder: Path, named: str | None) -> Mesh | None:
    """The mesh or point cloud that is ``named``, else the best of ``MESH_NAMES`` in the folder; None when none is."""
    if named is not None:
        return read_ply(existing_file(folder / named))
    for name in MESH_NAMES:
        if (folder / name).is_file():
            return read_ply(folder / name)
    return None
