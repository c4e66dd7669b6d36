"""The geometry of a room as it is shown: the thinned points beside its ``scene.json``, or the scan itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.points import points_file, read_points
from gpt4scene.files.prepared import PreparedScene
from gpt4scene.files.scenes import read_scene
from gpt4scene.scans.geometry import transformed
from gpt4scene.scans.readers import SCAN_READERS
from gpt4scene.scans.repairs import Repairs, repaired
from gpt4scene.scenes.fusion import fuse_depth

MOST_POINTS = 1_000_000
"""Most points of a scan that are shown."""
MOST_FACES = 1_000_000
"""Most triangles of a scan that are shown as a surface; of a larger one its corners are shown as points."""
LEVELS = (30_000, 100_000, 300_000)
"""How many points the coarse levels show; the last level shows all. The first is drawn while a slow camera moves."""
SLABS = 24
"""Slices of equal height, each of which can be hidden by itself: so cutting the ceiling off sends nothing."""


@dataclass(frozen=True)
class Geometry:
    """Points and, for a scan with a surface, its triangles, in metres in the aligned frame.

    ``places_N3`` float32, ``colors_N3`` uint8, in random order, so that the first ones are a thinned cloud by
    themselves; of a surface they are its corners in their order, which ``faces_F3`` names. ``said`` says in one
    sentence what is shown out of what.
    """

    places_N3: np.ndarray
    colors_N3: np.ndarray
    said: str
    faces_F3: np.ndarray | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not len(self.places_N3)


@dataclass(frozen=True)
class Slab:
    """Points of one slice and one level: their rows, and the height in metres at which the slice begins."""

    rows_N: np.ndarray
    bottom: float
    level: int


def geometry_of(scene: PreparedScene, scans: Mapping[str, Path], format_name: str) -> Geometry:
    """Return what there is to show of ``scene``: its scan where ``scans`` has it, else its points.

    Without either the geometry is empty and says how to get some. ``DataError`` for broken files.
    """
    if scene.scene_id in scans:
        return _of_scan(scene, scans[scene.scene_id], format_name)
    path = points_file(scene.record)
    if not path.is_file():
        why = "has no scan of this name under --scans" if scans else "was prepared before points were kept"
        return Geometry(
            np.zeros((0, 3), np.float32),
            np.zeros((0, 3), np.uint8),
            f"No points: {scene.scene_id} {why}. Prepare it again with --overwrite, or name the scans with --scans.",
        )
    points = read_points(path)
    order = np.random.default_rng(0).permutation(len(points))
    of = (
        f"{len(points):,} points of {points.of:,}" if points.what == "points" else f"{len(points):,} points, drawn from"
    )
    said = f"{of} {'in the scan' if points.what == 'points' else f'{points.of:,} triangles of the scan'}."
    return Geometry(points.places_N3[order], points.colors_N3[order], said)


def scan_folders(root: str | None, format_name: str) -> dict[str, Path]:
    """Return the scans under ``root`` by name; none where ``root`` is ``None``. ``DataError`` where it holds none."""
    if root is None:
        return {}
    from gpt4scene.scans.readers import find_scans

    return {path.resolve().name: path for path in find_scans(format_name, [root])}


def slabs_of(places_N3: np.ndarray) -> list[Slab]:
    """Return the points by slice and level; every point is in one of them."""
    if not len(places_N3):
        return []
    heights = places_N3[:, 2]
    edges = np.linspace(float(heights.min()), float(heights.max()), SLABS + 1)
    slice_N = np.clip(np.searchsorted(edges, heights, side="right") - 1, 0, SLABS - 1)
    level_N = np.searchsorted(LEVELS, np.arange(len(places_N3)), side="right")
    found = []
    for level in range(len(LEVELS) + 1):
        for number in range(SLABS):
            rows = np.flatnonzero((slice_N == number) & (level_N == level))
            if len(rows):
                found.append(Slab(rows, float(edges[number]), level))
    return found


def face_slabs(geometry: Geometry) -> list[tuple[float, np.ndarray]]:
    """Return the triangles by slice, as the height at which it begins and the rows of ``faces_F3``.

    A triangle belongs to the slice of its highest corner.
    """
    assert geometry.faces_F3 is not None, "a surface has triangles"
    heights = geometry.places_N3[:, 2]
    top_F = heights[geometry.faces_F3].max(axis=1)
    edges = np.linspace(float(heights.min()), float(heights.max()), SLABS + 1)
    slice_F = np.clip(np.searchsorted(edges, top_F, side="right") - 1, 0, SLABS - 1)
    return [(float(edges[number]), rows) for number in range(SLABS) if len(rows := np.flatnonzero(slice_F == number))]


def usual_cut(scene: PreparedScene, geometry: Geometry) -> float:
    """Return the height in metres above which nothing is shown at first: where the bird's-eye view is cut."""
    top = float(geometry.places_N3[:, 2].max()) if len(geometry.places_N3) else 3.0
    cut = read_scene(scene.record)["bev"].get("cut_height")
    return min(top, float(cut)) if isinstance(cut, int | float) and np.isfinite(cut) else top


def _of_scan(scene: PreparedScene, path: Path, format_name: str) -> Geometry:
    reader = SCAN_READERS[format_name]
    settings = scene.settings
    repairs = Repairs(settings.get("pose"), settings.get("scale") or 1.0, settings.get("depth_scale"))
    scan = repaired(reader.read(path), repairs, reader.poses)
    if scan.mesh is None and not any(frame.depth is not None for frame in scan.frames):
        raise DataError(f"{path}: has neither a mesh nor depth images to show")
    mesh = fuse_depth(scan.frames) if scan.mesh is None else scan.mesh
    places = transformed(mesh.vertices, scene.align_44).astype(np.float32)
    if len(mesh.faces) and len(mesh.faces) <= MOST_FACES:
        said = f"The whole surface of the scan: {len(mesh.faces):,} triangles."
        return Geometry(places, mesh.colors, said, mesh.faces)
    order = np.random.default_rng(0).permutation(len(places))[:MOST_POINTS]
    what = "corners of the surface" if len(mesh.faces) else "points of the scan"
    return Geometry(places[order], mesh.colors[order], f"{len(order):,} of {len(places):,} {what}.")
