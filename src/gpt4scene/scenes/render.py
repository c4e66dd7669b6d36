"""First hits of rays on a triangle mesh, on the CPU through Embree: depth, face and colour without any display."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpt4scene.scans.types import Camera, Mesh
from gpt4scene.scenes.pixels import all_pixels


@dataclass(frozen=True)
class Hits:
    """What N rays met first. ``face`` is -1 and ``depth`` infinite for a ray that met nothing.

    ``depth`` counts lengths of the ray's direction; ``weights`` float [N, 3] are barycentric, one for each corner.
    """

    depth: np.ndarray
    face: np.ndarray
    weights: np.ndarray

    @property
    def found(self) -> np.ndarray:
        """Which rays met a surface, bool [N]."""
        return self.face >= 0


class Raycaster:
    """Answers which face a ray meets first. Building costs about a second for a million faces."""

    def __init__(self, mesh: Mesh) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        if len(mesh.faces) == 0:
            raise ValueError("a mesh without faces cannot be hit; make voxels of it first (voxel_mesh)")
        self.mesh = mesh
        # Embree counts in single precision: far from the origin a millimetre would be lost.
        self._origin = mesh.vertices.mean(axis=0, dtype=np.float64)
        self._scene = EmbreeScene()
        local = np.ascontiguousarray(mesh.vertices - self._origin, dtype=np.float32)
        self._triangles = TriangleMesh(self._scene, local, np.ascontiguousarray(mesh.faces, dtype=np.int32))

    def cast(self, origins_N3: np.ndarray, directions_N3: np.ndarray) -> Hits:
        """First hits of rays; ``origins_N3`` may be one point for all of them."""
        directions = np.ascontiguousarray(directions_N3, dtype=np.float32)
        origins = np.broadcast_to(np.asarray(origins_N3, dtype=np.float64) - self._origin, directions.shape)
        if len(directions) == 0:
            return Hits(np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros((0, 3), np.float32))
        result = self._scene.run(np.ascontiguousarray(origins, dtype=np.float32), directions, output=1)
        face, u, v = result["primID"], result["u"], result["v"]
        depth = np.where(face >= 0, result["tfar"], np.float32(np.inf))
        return Hits(depth, face, np.stack([1 - u - v, u, v], axis=1))

    def first_hits(self, camera: Camera, pixels_N2: np.ndarray | None = None) -> Hits:
        """First hits of a camera's pixels (x, y), by default all row by row; depth is along the viewing axis."""
        if pixels_N2 is None:
            pixels_N2 = all_pixels(camera.width, camera.height)
        return self.cast(camera.pose[:3, 3], camera.rays(pixels_N2))

    def colors(self, hits: Hits) -> np.ndarray:
        """Interpolated vertex colours of hits, float32 [N, 3] from 0 to 255; zeros where nothing was met."""
        corners = self.mesh.colors[self.mesh.faces[np.maximum(hits.face, 0)]]
        values = np.einsum("nc,nck->nk", hits.weights, corners.astype(np.float32))
        return np.where(hits.found[:, None], values, np.float32(0))
