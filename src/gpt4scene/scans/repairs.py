"""A scan read by another convention than its format's: turned poses, other units. What ``prepare`` can be told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.types import Camera, Frame, Scan, SceneObject

Convention = Literal["opencv", "opengl", "world_to_camera"]
"""How a recording writes poses: camera-to-world with y down and z ahead, the same with y up and z back, or inverted."""

_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Repairs:
    """What is different from the format: ``pose`` is how the poses are written, None for as the format says.

    Positions of cameras, the mesh and the objects are multiplied by ``scale``. Depth images come from a sensor that
    knows metres, so they are not: ``depth_scale`` is what they hold for a metre, None for as the format says.
    """

    pose: Convention | None = None
    scale: float = 1.0
    depth_scale: float | None = None

    @property
    def nothing(self) -> bool:
        """Whether the scan stays as it is."""
        return self == Repairs()

    def flags(self) -> str:
        """Return the flags of ``prepare`` that say the same."""
        said = {"pose": self.pose, "scale": None if self.scale == 1 else self.scale, "depth_scale": self.depth_scale}
        return " ".join(
            f"--{key} {value if isinstance(value, str) else f'{value:g}'}" for key, value in said.items() if value
        )


def repaired(scan: Scan, repairs: Repairs, native: Convention = "opencv") -> Scan:
    """The scan as ``repairs`` says that it was recorded; ``native`` is the convention that its reader took for granted.

    Raises DataError where ``depth_scale`` is asked for and there is no depth.
    """
    if repairs.nothing:
        return scan
    frames = tuple(_frame(frame, repairs, native) for frame in scan.frames)
    mesh, align, objects = scan.mesh, scan.align, scan.objects
    if repairs.scale != 1:
        mesh = replace(mesh, vertices=mesh.vertices * repairs.scale) if mesh is not None else None
        align = _longer(align, repairs.scale) if align is not None else None
        objects = tuple(_larger(item, repairs.scale) for item in objects)
    if repairs.depth_scale is not None and not any(frame.depth is not None for frame in scan.frames):
        raise DataError(f"{scan.source}: --depth_scale has no effect, since the scan has no depth images")
    return replace(scan, frames=frames, mesh=mesh, align=align, objects=objects)


def _frame(frame: Frame, repairs: Repairs, native: Convention) -> Frame:
    return replace(
        frame,
        camera=_camera(frame.camera, repairs, native),
        depth_camera=_camera(frame.depth_camera, repairs, native) if frame.depth_camera else None,
        depth_scale=repairs.depth_scale if repairs.depth_scale is not None else frame.depth_scale,
    )


def _camera(camera: Camera, repairs: Repairs, native: Convention) -> Camera:
    if not camera.tracked:
        return camera
    pose = camera.pose
    if repairs.pose is not None and repairs.pose != native:
        pose = _as_camera_to_world(_as_written(pose, native), repairs.pose)
    return replace(camera, pose=_longer(pose, repairs.scale))


def _as_written(pose: np.ndarray, native: Convention) -> np.ndarray:
    return {"opencv": pose, "opengl": pose @ _FLIP, "world_to_camera": np.linalg.inv(pose)}[native]


def _as_camera_to_world(written: np.ndarray, convention: Convention) -> np.ndarray:
    return {"opencv": written, "opengl": written @ _FLIP, "world_to_camera": np.linalg.inv(written)}[convention]


def _longer(transform: np.ndarray, scale: float) -> np.ndarray:
    moved = transform.copy()
    moved[:3, 3] = moved[:3, 3] * scale
    return moved


def _larger(item: SceneObject, scale: float) -> SceneObject:
    return replace(item, center=item.center * scale, size=item.size * scale)
