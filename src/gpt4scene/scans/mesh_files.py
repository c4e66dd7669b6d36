"""Meshes in the formats that scanning apps write: PLY by our own reader, OBJ and GLB by trimesh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.ply import read_ply
from gpt4scene.scans.types import Mesh
from gpt4scene.scans.vertices import GREY, without_lost


def read_mesh(path: Path) -> Mesh:
    """The mesh of a ``.ply``, ``.obj`` or ``.glb`` file; textures become colours of vertices. Raises DataError."""
    if path.suffix.lower() == ".ply":
        return read_ply(path)
    import trimesh

    try:
        found: Any = trimesh.load(path, force="mesh", process=False)
        vertices, faces = np.asarray(found.vertices, dtype=np.float64), np.asarray(found.faces, dtype=np.int64)
        visual = found.visual.to_color() if found.visual.kind == "texture" else found.visual
        colors = np.asarray(visual.vertex_colors)[:, :3] if visual.kind else np.full((len(vertices), 3), GREY)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, ImportError) as error:
        raise DataError(f"{path}: the mesh can't be read ({error}); save it as .ply") from None
    if not len(vertices):
        raise DataError(f"{path}: holds no vertices; save it as .ply")
    if faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise DataError(f"{path}: a face names vertex {int(faces.max())} but there are {len(vertices)}")
    notes = () if visual.kind else (f"{path}: has no colours and is shown grey",)
    return without_lost(path, Mesh(vertices, faces, colors.astype(np.uint8), notes=notes))
