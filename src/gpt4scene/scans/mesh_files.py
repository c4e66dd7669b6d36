"""Meshes in the formats that scanning apps write: PLY by our own reader, OBJ and GLB by trimesh."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.named_files import leads_out
from gpt4scene.scans.ply import read_ply
from gpt4scene.scans.types import Mesh
from gpt4scene.scans.vertices import GREY, without_lost

_GEOMETRY = (
    *(
        ".ply",
        ".obj",
        ".glb",
        ".gltf",
        ".usdz",
        ".usd",
        ".stl",
        ".off",
        ".fbx",
        ".dae",
        ".3ds",
        ".wrl",
        ".x3d",
        ".blend",
    ),
    *(".xyz", ".pts", ".pcd", ".las", ".laz", ".e57", ".asc", ".splat", ".spz", ".ksplat", ".vdb"),
)
"""Endings of files that hold meshes, clouds or splats."""


def seen_geometry(folder: Path) -> str:
    """What in a folder looks like geometry, and depth, for the message that a scan has none; empty without any."""
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    seen = [path.name for path in inside if path.suffix.lower() in _GEOMETRY]
    seen += [f"{path.name}/" for path in inside if path.is_dir() and "depth" in path.name.lower()]
    return f"; seen {', '.join(seen[:3])}{', …' if seen[3:] else ''}, which the scan is not read from" if seen else ""


def read_mesh(path: Path) -> Mesh:
    """The mesh of a ``.ply``, ``.obj`` or ``.glb`` file; textures become colours of vertices. Raises DataError.

    Vertices keep the order of a ``.ply`` and an ``.obj``. A ``.glb`` of several parts has none: no mask counts them.
    """
    if path.suffix.lower() == ".ply":
        return read_ply(path)
    import trimesh

    try:
        obj = path.suffix.lower() == ".obj"
        in_order: dict[str, Any] = {"maintain_order": True, "skip_materials": True} if obj else {}
        found: Any = trimesh.load(path, process=False, resolver=_beside(path), **in_order)
        parts = len(found.geometry) if isinstance(found, trimesh.Scene) else 1
        found = found.to_mesh() if isinstance(found, trimesh.Scene) else found
        vertices, faces = np.asarray(found.vertices, dtype=np.float64), np.asarray(found.faces, dtype=np.int64)
        notes = list(_lost_materials(path)) if obj else []
        cut = obj and found.visual.kind != "vertex"
        colors = _colors_of_obj(path, vertices) if cut else _colors(found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, ImportError) as error:
        raise DataError(f"{path}: the mesh can't be read ({error}); save it as .ply") from None
    if not len(vertices):
        raise DataError(f"{path}: holds no vertices; save it as .ply")
    if faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise DataError(f"{path}: a face names vertex {int(faces.max())} but there are {len(vertices)}")
    if colors is None:
        colors = np.full((len(vertices), 3), GREY)
        notes.append(f"{path}: has no colours and is shown grey")
    mesh = Mesh(vertices, faces, colors.astype(np.uint8), notes=tuple(notes), counted=parts == 1)
    return without_lost(path, mesh)


def _beside(path: Path) -> Any:
    """What finds for trimesh the files that a mesh names: beside it and below, as trimesh does from 5.0 on."""
    from trimesh.resolvers import FilePathResolver

    class Beside(FilePathResolver):
        def get(self, name: str) -> bytes:
            return super().get(Path(name).name if leads_out(path.parent, path.parent / name.strip()) else name)

    return Beside(str(path))


def _colors(found: Any) -> np.ndarray | None:
    """Colours of vertices, of the texture where there is one, else of its material; None without any."""
    if not found.visual.kind:
        return None
    if found.visual.kind != "texture":
        return np.asarray(found.visual.vertex_colors)[:, :3]
    material = found.visual.material
    picture = getattr(material, "image", None) or getattr(material, "baseColorTexture", None)
    if picture is None or found.visual.uv is None:
        return np.tile(np.asarray(material.main_color)[:3], (len(found.vertices), 1))
    return np.asarray(found.visual.to_color().vertex_colors)[:, :3]


def _colors_of_obj(path: Path, vertices: np.ndarray) -> np.ndarray | None:
    """The colours of an OBJ's texture at its vertices, None without one.

    Only a mesh that is cut along the seams of its texture has them, so they are looked up by place.
    """
    import trimesh
    from scipy.spatial import KDTree

    cut: Any = trimesh.load(path, process=False, force="mesh", resolver=_beside(path))
    found = _colors(cut)
    if found is None:
        return None
    there, finite = np.isfinite(cut.vertices).all(axis=1), np.isfinite(vertices).all(axis=1)
    colors = np.full((len(vertices), 3), GREY)
    colors[finite] = found[there][KDTree(cut.vertices[there]).query(vertices[finite])[1]]
    return colors


def _lost_materials(path: Path) -> Iterator[str]:
    """Notes on the files of colours that an OBJ names, and their textures, that are not there.

    Raises DataError for one that is there, but outside the folder.
    """
    for name in _named(path, ("mtllib",)):
        if not _is_beside(path, name):
            yield f"{path}: its material {name} is not there, so its texture's colours are not used"
            continue
        for image in _named(path.parent / name, ("map_Kd", "map_kd")):
            if not _is_beside(path.parent / name, image):
                yield f"{path.parent / name}: its texture {image} is not there, so its colours are not used"


def _is_beside(path: Path, name: str) -> bool:
    place = path.parent / name
    if leads_out(path.parent, place) and place.is_file():
        raise DataError(f"{path}: '{name}' leads out of its folder; copy the file there, and write its name alone")
    return place.is_file()


def _named(path: Path, keys: tuple[str, ...]) -> list[str]:
    """The last words of the lines that begin with one of ``keys``."""
    found = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith(keys) and len(words := line.strip().split(maxsplit=1)) == 2:
                found.append(words[1])
    return list(dict.fromkeys(found))
