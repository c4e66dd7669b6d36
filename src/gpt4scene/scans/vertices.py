"""What files say about the vertices of a mesh besides their places: colours, and whether they can be seen at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.types import Mesh

GREY = 160
"""Colour of vertices in files that have none."""
COLOR_NAMES = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
_SPLAT_COLORS = ("f_dc_0", "f_dc_1", "f_dc_2")
_HARMONIC, _LEAST_OPACITY = 0.28209479177387814, 0.1
"""What Gaussian splats multiply their colour by (the constant spherical harmonic), and opacity that can be seen."""


def colors_of(path: Path, vertex: dict, face: dict, corners: np.ndarray | list) -> tuple[np.ndarray, tuple[str, ...]]:
    """The colours of vertices, uint8 [V, 3], and a note where the file has none that are read.

    ``corners`` are the vertices of each face. Colours of faces become those of their corners, the mean of all around.
    """
    count = len(vertex["x"])
    if all(name in vertex for name in _SPLAT_COLORS):
        return _bytes(255 * (0.5 + _HARMONIC * _stacked(vertex, _SPLAT_COLORS))), ()
    for names in COLOR_NAMES:
        if all(name in vertex for name in names):
            return _scaled(_stacked(vertex, names)), ()
    grey = np.full((count, 3), GREY, dtype=np.uint8)
    for names in COLOR_NAMES:
        if all(name in face for name in names) and len(corners):
            return _spread(_scaled(_stacked(face, names)), corners, grey), ()
    textured = " beside its texture" if {"texcoord", "texture_u", "s", "u"} & {*vertex, *face} else ""
    return grey, (
        f"{path}: has no colours of vertices{textured} and is shown grey; save it with such colours, or as .glb",
    )


def _stacked(table: dict, names: tuple[str, ...]) -> np.ndarray:
    return np.stack([np.asarray(table[name]) for name in names], axis=1)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Colours as bytes: fractions go up to 1, unless one is far above; 16 bits to 65535 where one passes 255."""
    largest = values.max() if values.size else 0
    if values.dtype.kind == "f" and largest <= 1.5:
        return _bytes(values * 255)
    return _bytes(values / 257 if largest > 255 and values.dtype.itemsize == 2 else values)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.nan_to_num(np.rint(values)), 0, 255).astype(np.uint8)


def _spread(colors_F3: np.ndarray, corners: np.ndarray | list, empty: np.ndarray) -> np.ndarray:
    """The mean colour of the faces around each vertex; that of ``empty`` where there is none."""
    lengths = [len(corner) for corner in corners]
    vertices = np.concatenate([np.asarray(corner, dtype=np.int64) for corner in corners])
    sums, counts = np.zeros(empty.shape), np.zeros(len(empty))
    np.add.at(sums, vertices, np.repeat(colors_F3.astype(np.float64), lengths, axis=0))
    np.add.at(counts, vertices, 1)
    return np.where(counts[:, None] > 0, _bytes(sums / np.maximum(counts, 1)[:, None]), empty)


def transparent(vertex: dict, faces: np.ndarray) -> np.ndarray | None:
    """Which splats of a cloud can hardly be seen, bool [V]; None where nothing tells."""
    if "opacity" not in vertex or "f_dc_0" not in vertex or len(faces):
        return None
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-np.asarray(vertex["opacity"], dtype=np.float64))) < _LEAST_OPACITY


def without_lost(path: Path, mesh: Mesh, faint_V: np.ndarray | None = None) -> Mesh:
    """The mesh without vertices that are not finite, and splats that are next to transparent, unless all are.

    Raises DataError where no vertex is finite.
    """
    lost_V = np.asarray(~np.isfinite(mesh.vertices).all(axis=1))
    notes, count = list(mesh.notes), len(lost_V)
    if lost_V.all() and count:
        raise DataError(f"{path}: no vertex is finite; write it anew")
    if lost_V.any():
        notes.append(f"{path}: {int(lost_V.sum())} of {count} vertices are not finite and left out")
    if faint_V is not None and faint_V.any() and not faint_V.all():
        notes.append(f"{path}: {int(faint_V.sum())} of {count} splats are next to transparent and left out")
        lost_V = lost_V | faint_V
    if not lost_V.any():
        return mesh
    numbers = np.where(lost_V, -1, np.cumsum(~lost_V) - 1)
    faces = numbers[mesh.faces] if len(mesh.faces) else mesh.faces
    faces = faces[(faces >= 0).all(axis=1)]
    return replace(
        mesh,
        vertices=mesh.vertices[~lost_V],
        faces=faces,
        colors=mesh.colors[~lost_V],
        numbers=numbers,
        notes=tuple(notes),
    )
