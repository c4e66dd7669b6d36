"""A scan made ready to look at: upright, with a surface to cast rays on and objects to recognise on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.checks import check_objects, check_scan
from gpt4scene.scans.images import read_depth
from gpt4scene.scans.objects import FoundObjects
from gpt4scene.scans.types import Camera, Frame, Scan, SceneObject
from gpt4scene.scenes.bev_camera import BevCamera, bev_hits, bev_points
from gpt4scene.scenes.ceilings import without_ceilings
from gpt4scene.scenes.floor import floor_facing_up
from gpt4scene.scenes.freespace import FreeSpace
from gpt4scene.scenes.fusion import fuse_depth
from gpt4scene.scenes.pixels import PixelGrid
from gpt4scene.scenes.render import Hits, Raycaster
from gpt4scene.scenes.tsdf import fuse_mesh
from gpt4scene.scenes.up_choice import Up
from gpt4scene.scenes.upright import set_upright
from gpt4scene.scenes.visibility import (
    ObjectLookup,
    VisibleObject,
    confirmed_faces,
    depth_at,
    hit_points,
    visible_objects,
)
from gpt4scene.scenes.voxels import VOXEL, voxel_mesh

CLOUD_VOXEL = 0.03
"""Voxel edge in metres for point clouds that come without faces."""

STRUCTURE = frozenset({"wall", "floor", "ceiling"})
"""Labels of what a room itself consists of: these are no objects that anyone asks for by number, and get none."""


@dataclass(frozen=True)
class OpenedScene:
    """What the images of a scene are made from. ``objects`` are all that were found, ``lookup`` has those to be
    marked, which leaves out ``STRUCTURE``.

    ``measured``: the surface was fused from depth frames, so each frame's own depth says what it shows, and the surface
    only where it has no reading but ``free`` space leads to it. ``voxels``: the
    surface consists of voxels and not of a scanner's triangles. ``above`` is the surface as the bird's-eye view takes
    it, with the same numbers of faces. ``up`` says how up was chosen, None where the recording says it.
    """

    scan: Scan
    objects: tuple[SceneObject, ...]
    caster: Raycaster
    above: Raycaster
    lookup: ObjectLookup
    measured: bool
    voxels: bool
    free: FreeSpace | None = None
    up: Up | None = None

    def visible_in(self, frame: Frame, grid: PixelGrid, least_area: float) -> list[VisibleObject]:
        """The objects that a frame shows. A mesh's first hits count where the depth frame, if any, agrees."""
        camera, pixels = frame.camera, grid.pixels
        rays = camera.rays(pixels)
        depth_HW = read_depth(frame)
        measured_N = None
        if depth_HW is not None:
            assert frame.depth_camera is not None, "a frame with depth has a depth camera"
            measured_N = depth_at(pixels, camera, depth_HW, frame.depth_camera)
        if self.measured and measured_N is not None:
            points = hit_points(camera, rays, self._filled(camera, pixels, rays, measured_N))
            return visible_objects(self.lookup, points, None, grid.shape, least_area)
        hits = self.caster.cast(camera.pose[:3, 3], rays)
        faces = hits.face if measured_N is None else confirmed_faces(hits, measured_N)
        points = hit_points(camera, rays, np.where(faces >= 0, hits.depth, np.inf))
        return visible_objects(self.lookup, points, faces, grid.shape, least_area)

    def _filled(self, camera: Camera, pixels_N2: np.ndarray, rays_N3: np.ndarray, measured_N: np.ndarray) -> np.ndarray:
        """Depth readings, with the surface's depth where there is none and nothing unmeasured can stand in front."""
        gaps = np.nonzero(measured_N == 0)[0]
        depth = self.caster.cast(camera.pose[:3, 3], rays_N3[gaps]).depth
        if self.free is not None:
            depth = np.where(self.free.leads_to(camera, pixels_N2[gaps], depth), depth, 0)
        filled = measured_N.copy()
        filled[gaps] = depth
        return filled

    def visible_in_bev(self, bev: BevCamera, hits: Hits, grid: PixelGrid, least_area: float) -> list[VisibleObject]:
        """The objects that the bird's-eye view shows, from the hits of all its pixels."""
        pixels = grid.pixels
        index = pixels[:, 1] * bev.width + pixels[:, 0]
        some = Hits(hits.depth[index], hits.face[index], hits.weights[index])
        return visible_objects(self.lookup, bev_points(bev, pixels, some), some.face, grid.shape, least_area)

    def bev_hits(self, bev: BevCamera) -> Hits:
        """First hits of all pixels of the bird's-eye view."""
        return bev_hits(self.above, bev)


def open_scene(
    scan: Scan, find_objects: Callable[[Scan], FoundObjects], smooth: bool = False, up: str = "auto"
) -> OpenedScene:
    """Make a scan ready: set it upright, fuse depth frames if there is no mesh (``smooth``: by TSDF), find the objects.

    ``up`` is one of ``up_choice.UPS``.

    Raises DataError when there is neither mesh nor depth, a camera cannot be, or a mask does not fit the mesh.
    """
    check_scan(scan)
    standing = set_upright(scan, up)
    return replace(_opened(standing.scan, find_objects, smooth), up=standing.up)


def _opened(scan: Scan, find_objects: Callable[[Scan], FoundObjects], smooth: bool) -> OpenedScene:
    objects, notes = find_objects(scan)
    scan = replace(scan, notes=(*scan.notes, *notes))
    marked = tuple(item for item in objects if item.label not in STRUCTURE)
    if objects and not marked:
        said = f"{scan.source}: all {len(objects)} objects are {', '.join(sorted(STRUCTURE))}, which get no numbers"
        scan = replace(scan, notes=(*scan.notes, said))
    check_objects(scan, (*objects, *scan.objects))
    cameras = [frame.camera for frame in scan.frames]
    if scan.mesh is None:
        surface = fuse_mesh(scan.frames) if smooth else voxel_mesh(fuse_depth(scan.frames)).mesh
        lookup = ObjectLookup([replace(item, vertices=None) for item in marked], surface)
        caster = Raycaster(surface)
        above = caster if smooth else without_ceilings(caster, cameras, VOXEL)
        return OpenedScene(scan, objects, caster, above, lookup, True, True, FreeSpace(scan.frames))
    if len(scan.mesh.vertices) == 0:
        raise DataError(f"{scan.source}: the mesh is empty")
    if len(scan.mesh.faces):
        mesh = floor_facing_up(scan.mesh, cameras)
        caster = Raycaster(mesh)
        return OpenedScene(scan, objects, caster, caster, ObjectLookup(marked, mesh), False, False)
    voxels = voxel_mesh(scan.mesh, CLOUD_VOXEL)
    lookup = ObjectLookup([voxels.carried(item) for item in marked], voxels.mesh)
    caster = Raycaster(voxels.mesh)
    return OpenedScene(scan, objects, caster, without_ceilings(caster, cameras, CLOUD_VOXEL), lookup, False, True)
