"""Every scan in one frame: z up, the floor near z = 0. Taken from the recording where it says so, else estimated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gpt4scene.scans.geometry import transformed
from gpt4scene.scans.types import Camera, Mesh, Scan
from gpt4scene.scenes.floor import floor_and_cut
from gpt4scene.scenes.fusion import fuse_depth
from gpt4scene.scenes.normals import area_normals, point_normals, wall_angle
from gpt4scene.scenes.voxels import voxel_mesh


def upright(scan: Scan) -> Scan:
    """The scan with mesh and cameras moved to its aligned frame; ``align`` of the result says how they were moved."""
    if scan.align is not None:
        return _moved(scan, scan.align)
    mesh = scan.mesh if scan.mesh is not None else fuse_depth(scan.frames, 0.05)
    align = estimated_align(mesh, [frame.camera for frame in scan.frames if frame.camera.tracked])
    return _moved(scan, align)


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


def estimated_align(mesh: Mesh, cameras: Sequence[Camera]) -> np.ndarray:
    """A 4x4 that sets a scene upright: z against the cameras' mean down, refined by level surfaces; walls along axes.

    People hold cameras level on average, so the mean of their y axes points down to some degrees; the surface normals
    near that direction (floor, tables) fix the rest. The longer side of the scene runs along x, and the first camera
    stands in the half with smaller x + y, so that the result does not depend on the world the recording started in.
    """
    normals, areas, centers = _surface(mesh)
    down = np.mean([camera.pose[:3, 1] for camera in cameras], axis=0) if cameras else np.array([0.0, 0.0, -1.0])
    up = -down / max(float(np.linalg.norm(down)), 1e-9)
    for spread in (30, 15, 5, 3):
        along = normals @ up
        near = np.abs(along) > np.cos(np.radians(spread))
        if areas[near].sum() < 0.02 * areas.sum():
            break
        up = (normals[near] * (np.sign(along[near]) * areas[near])[:, None]).sum(axis=0)
        up /= np.linalg.norm(up)
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
    surface = standing if len(standing.faces) else voxel_mesh(standing, 0.05).mesh
    align[2, 3] = -floor_and_cut(surface, [camera.moved(align) for camera in cameras])[0]
    return align


def _surface(mesh: Mesh) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit normals, areas and centres of faces; of small planes through neighbours for a point cloud."""
    if len(mesh.faces):
        a, b, c = mesh.corners()
        normals = area_normals(a, b, c)
        areas = np.linalg.norm(normals, axis=1)
        good = areas > 0
        return normals[good] / areas[good, None], areas[good] / 2, ((a + b + c) / 3)[good]
    normals = point_normals(mesh.vertices)
    return normals, np.ones(len(normals)), mesh.vertices


def _about_z(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
