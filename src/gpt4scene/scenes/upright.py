"""Every scan in one frame: z up, the floor near z = 0. Taken from the recording where it says so, else estimated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gpt4scene.errors import ConfigError
from gpt4scene.scans.geometry import transformed
from gpt4scene.scans.types import Camera, Mesh, Scan
from gpt4scene.scenes.floor import floor_and_cut
from gpt4scene.scenes.fusion import fuse_depth
from gpt4scene.scenes.horizon import BLUR, TURNED, horizon
from gpt4scene.scenes.normals import area_normals, point_normals, some_points, wall_angle
from gpt4scene.scenes.up_choice import SIDES, Up, choose_up
from gpt4scene.scenes.voxels import voxel_mesh

LEANS, UPSIDE_DOWN = 20.0, 0.3
"""Degrees by which level images lean from which an alignment is wrong, and how far they point down if upside down."""


def upright(scan: Scan) -> Scan:
    """The scan set upright (``set_upright``), with up as the recording says or as is chosen."""
    return set_upright(scan).scan


def set_upright(scan: Scan, up: str = "auto") -> Upright:
    """The scan with mesh and cameras moved to its aligned frame, and its frames turned to show the room upright.

    ``up`` is one of ``UPS``; the recording's own alignment holds where it is ``auto``.
    """
    if scan.align is not None and up == "auto":
        return _standing(_moved(scan, scan.align), None)
    if up != "auto" and scan.objects:
        raise ConfigError(f"{scan.source}: --up {up} can't be obeyed: the boxes of its objects say where up is")
    mesh = scan.mesh if scan.mesh is not None else fuse_depth(scan.frames, 0.05)
    cameras = [frame.camera for frame in scan.frames if frame.camera.tracked]
    surface = _surface(mesh)
    chosen = choose_up(cameras, *surface, up)
    return _standing(_moved(scan, estimated_align(mesh, cameras, surface, chosen.direction)), chosen)


@dataclass(frozen=True)
class Upright:
    """An upright scan, and how up was chosen, or None where the recording says it."""

    scan: Scan
    up: Up | None


def _standing(scan: Scan, chosen: Up | None) -> Upright:
    """Turn the frames by the same quarters, so that the room stands upright in them; those that look down stay."""
    ups = [frame.camera.pose[2, :2] for frame in scan.frames if frame.camera.tracked]
    mean = np.mean(ups, axis=0) if ups else np.zeros(2)
    quarters = max(range(4), key=lambda number: float(mean @ list(SIDES.values())[number])) if ups else 0
    if quarters == 0 or float(np.linalg.norm(mean)) < 0.4:
        return Upright(scan, chosen)
    return Upright(replace(scan, frames=tuple(frame.turned(quarters) for frame in scan.frames)), chosen)


def _moved(scan: Scan, align: np.ndarray) -> Scan:
    mesh = scan.mesh
    if mesh is not None:
        mesh = replace(mesh, vertices=transformed(mesh.vertices, align))
    frames = tuple(
        replace(
            frame,
            camera=frame.camera.moved(align),
            depth_camera=frame.depth_camera.moved(align) if frame.depth_camera else None,
        )
        for frame in scan.frames
    )
    return replace(scan, mesh=mesh, frames=frames, align=align)


def estimated_align(
    mesh: Mesh,
    cameras: Sequence[Camera],
    surface: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    up: np.ndarray | None = None,
) -> np.ndarray:
    """A 4x4 that sets a scene upright: z along ``up`` (``choose_up`` when left out), walls along axes, floor at 0.

    The longer side of the scene runs along x, and the first camera stands in the half with smaller x + y, so that the
    result does not depend on the world the recording started in.
    """
    normals, areas, centers = surface or _surface(mesh)
    up = choose_up(cameras, normals, areas, centers).direction if up is None else up
    helper = np.eye(3)[int(np.argmin(np.abs(up)))]
    x_axis = np.cross(helper, up)
    x_axis /= np.linalg.norm(x_axis)
    level = np.stack([x_axis, np.cross(up, x_axis), up])
    turn = wall_angle(normals @ level.T, areas)
    flat = centers @ (_about_z(-turn) @ level).T
    reach = [np.subtract(*np.percentile(flat[:, axis], [99, 1])) for axis in (0, 1)]
    turn += np.pi / 2 if reach[1] > reach[0] else 0.0
    rotation = _about_z(-turn) @ level
    flat = centers @ rotation.T
    middle = (np.percentile(flat, 1, axis=0) + np.percentile(flat, 99, axis=0)) / 2
    start = rotation @ cameras[0].pose[:3, 3] - middle if cameras else np.zeros(3)
    if start[0] + start[1] > 0:
        rotation = _about_z(np.pi) @ rotation
        middle = _about_z(np.pi) @ middle
    align = np.eye(4)
    align[:3, :3], align[:2, 3] = rotation, -middle[:2]
    standing = replace(mesh, vertices=transformed(mesh.vertices, align))
    solid = standing if len(standing.faces) else voxel_mesh(standing, 0.05).mesh
    align[2, 3] = -floor_and_cut(solid, [camera.moved(align) for camera in cameras])[0]
    return align


def alignment_doubt(cameras: Sequence[Camera], surface: Mesh) -> str:
    """What is wrong with the alignment that a recording brought, of upright cameras and surface; empty if nothing is.

    It is so where nobody turned the camera, but the images' level axes lean, or where the images are upside down, but
    would stand upright above a floor without the alignment.
    """
    seen = min((horizon(cameras, SIDES[side]) for side in ("top", "right")), key=lambda one: one.blur)
    lean = seen.apart(np.array([0.0, 0.0, 1.0]))
    way = "is axis_align right, which takes points of the recording's world to the aligned frame (4x4, row by row)?"
    if seen.blur <= BLUR and seen.turned >= TURNED and lean > LEANS:
        return f"the recording's own alignment lets the cameras lean by {lean:.0f} degrees; {way}"
    if np.mean([camera.pose[2, 1] for camera in cameras]) > UPSIDE_DOWN:
        chosen = choose_up(cameras, *_surface(surface))
        if chosen.certain and chosen.direction[2] < -0.9:
            return f"the recording's own alignment stands the room on its ceiling; {way}"
    return ""


def _surface(mesh: Mesh) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit normals, areas and centres of faces; of small planes through neighbours for a point cloud."""
    if len(mesh.faces):
        a, b, c = mesh.corners()
        normals = area_normals(a, b, c)
        areas = np.linalg.norm(normals, axis=1)
        good = areas > 0
        return normals[good] / areas[good, None], areas[good] / 2, ((a + b + c) / 3)[good]
    points = some_points(mesh.vertices)
    normals = point_normals(points)
    return normals, np.ones(len(normals)), points


def _about_z(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
