"""What reconstruction tools leave beside their poses: images by name, geometry, and how frames become a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gpt4scene.errors import DataError
from gpt4scene.scans.named_files import absent_notes, existing_file
from gpt4scene.scans.objects import read_annotation
from gpt4scene.scans.types import Frame, Mesh, Scan

MESH_NAMES = (
    *("mesh.ply", "mesh.obj", "mesh.glb"),
    *("meshed-poisson.ply", "meshed-delaunay.ply", "fused.ply", "point_cloud.ply", "sparse_pc.ply", "points3D.ply"),
)
"""Geometry beside the poses, best first."""


def without_absent(
    listing: Path, frames: list[Frame | None], names: list[str], folders: Sequence[Path]
) -> tuple[list[Frame], tuple[str, ...]]:
    """The frames whose files are there, and a note on the others (None), which were looked for in ``folders``.

    Raises DataError where none is.
    """
    absent = [name for frame, name in zip(frames, names, strict=True) if frame is None]
    notes = absent_notes(listing, absent, len(frames), folders)
    return [frame for frame in frames if frame is not None], notes


def reconstructed_scan(
    listing: Path, frames: list[Frame], folder: Path, mesh: Mesh | None, noted: tuple[str, ...] = ()
) -> Scan:
    """The scan of a folder with its frames sorted by name; alignment and objects are read as in a posed folder.

    Where names are used twice, those of the images' folders stand before them. Raises DataError naming ``listing``, the
    file that lists the frames, when two still share a name.
    """
    if len({frame.name for frame in frames}) < len({frame.image for frame in frames}):
        frames = _named_with_folders(frames)  # folders of several cameras count from the same number
    ordered = sorted(frames, key=lambda frame: frame.name)
    for before, after in zip(ordered, ordered[1:], strict=False):
        if before.name == after.name:
            way = f"{before.image} is listed twice: remove one" if before.image == after.image else "rename one"
            raise DataError(f"{listing}: two images are called '{before.name}'; {way}")
    align, objects, notes = read_annotation(folder, mesh)
    return Scan(folder.resolve().name, tuple(ordered), mesh, align, objects, folder, (*noted, *notes))


def _named_with_folders(frames: list[Frame]) -> list[Frame]:
    """The frames called after as many of their images' folders as tell them apart."""
    for depth in range(1, max(len(frame.image.parts) for frame in frames if isinstance(frame.image, Path))):
        names = [
            "_".join([*frame.image.parts[-1 - depth : -1], frame.name]) if isinstance(frame.image, Path) else frame.name
            for frame in frames
        ]
        if len(set(names)) == len({frame.image for frame in frames}):
            return [replace(frame, name=name) for frame, name in zip(frames, names, strict=True)]
    return frames


def geometry_file(folders: Sequence[Path], named: str | None) -> Path | None:
    """The geometry that is ``named`` in the first folder, else the best of ``MESH_NAMES`` in the first that has one."""
    if named is not None:
        return existing_file(folders[0], named)
    for folder in folders:
        for name in MESH_NAMES:
            if (folder / name).is_file():
                return folder / name
    return None
