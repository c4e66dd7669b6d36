"""What a scanned room is made of: cameras, frames, a mesh, objects. Lengths are metres, pixels count from the top left.

Pixel convention: the centre of the top-left pixel is (0, 0). A camera looks along its own +z, x points right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: ``intrinsics`` 3x3 in pixels, ``pose`` 4x4 camera-to-world, image size in pixels."""

    intrinsics: np.ndarray
    pose: np.ndarray
    width: int
    height: int

    @property
    def tracked(self) -> bool:
        """False where tracking was lost, which scanners write as a pose full of ``-inf``."""
        return bool(np.isfinite(self.pose).all())

    def resized(self, width: int, height: int) -> Camera:
        """The same camera with an image of another size; pixel centres map to pixel centres."""
        scale = np.diag([width / self.width, height / self.height, 1.0])
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        intrinsics = np.linalg.inv(half) @ scale @ half @ self.intrinsics
        return Camera(intrinsics, self.pose, width, height)

    def moved(self, transform: np.ndarray) -> Camera:
        """The camera after the world was moved by ``transform`` (4x4, world to new world)."""
        return replace(self, pose=transform @ self.pose) if self.tracked else self

    def project(self, points_N3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels ``[N, 2]`` (x, y) and depths ``[N]`` along the viewing axis of world points; depth <= 0 is behind."""
        rotation, origin = self.pose[:3, :3], self.pose[:3, 3]
        local = product(np.asarray(points_N3, dtype=np.float64) - origin, rotation.T)
        image = product(local, self.intrinsics)
        with np.errstate(divide="ignore", invalid="ignore"):
            return image[:, :2] / image[:, 2:3], local[:, 2]

    def rays(self, pixels_N2: np.ndarray) -> np.ndarray:
        """World directions ``[N, 3]`` of pixels (x, y), with length 1 along the viewing axis.

        The world point of a pixel with depth z is ``pose[:3, 3] + z * ray``.
        """
        homogeneous = np.concatenate([pixels_N2, np.ones((len(pixels_N2), 1))], axis=1)
        return product(homogeneous, self.pose[:3, :3] @ np.linalg.inv(self.intrinsics))


@dataclass(frozen=True)
class Stored:
    """An image inside a larger file: ``length`` bytes from ``offset``, coded as ``codec`` (see ``images.py``)."""

    path: Path
    offset: int
    length: int
    codec: str


@dataclass(frozen=True)
class Frame:
    """One colour image with its camera, and the depth image taken with it where there is one.

    ``depth`` holds millimetres / ``depth_scale`` as uint16, 0 where nothing was measured; its camera has its own
    intrinsics and size but the colour camera's pose.
    """

    name: str
    image: Path | Stored
    camera: Camera
    depth: Path | Stored | None = None
    depth_camera: Camera | None = None
    depth_scale: float = 1000.0


@dataclass(frozen=True)
class Mesh:
    """A coloured surface: ``vertices`` float [V, 3], ``faces`` int [F, 3], ``colors`` uint8 [V, 3].

    A point cloud is a mesh without faces.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray


@dataclass(frozen=True)
class SceneObject:
    """A thing in the room: number, name, box in the aligned frame, and its mesh vertices where it has a mask.

    ``center`` and ``size`` are float [3]; ``vertices`` are indices into the mesh, or None when only the box is known.
    An object without any extent (an empty proposal) keeps its number and has size 0.
    """

    id: int
    label: str
    center: np.ndarray
    size: np.ndarray
    vertices: np.ndarray | None = None

    @property
    def empty(self) -> bool:
        """True for a proposal without geometry."""
        return not np.any(self.size > 0)


@dataclass(frozen=True)
class Scan:
    """A room as its reader found it. Mesh and cameras share one world; ``align`` (4x4) takes it to the aligned frame.

    The aligned frame has z up, the floor near z = 0; boxes of ``objects`` are given in it. ``align`` is None where the
    recording says nothing: it is then estimated. ``objects`` are the annotated ones, maybe none. ``source`` names the
    folder for messages.
    """

    scene_id: str
    frames: tuple[Frame, ...]
    mesh: Mesh | None
    align: np.ndarray | None
    objects: tuple[SceneObject, ...]
    source: Path


def box_of(points_N3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and size of the axis-aligned box around points; six zeros when there is none."""
    if len(points_N3) == 0:
        return np.zeros(3), np.zeros(3)
    low, high = points_N3.min(axis=0).astype(np.float64), points_N3.max(axis=0).astype(np.float64)
    return (low + high) / 2, high - low


def transformed(points_N3: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Points ``[N, 3]`` after a 4x4 transform, in double precision."""
    return product(np.asarray(points_N3, dtype=np.float64), transform[:3, :3]) + transform[:3, 3]


def product(points_N3: np.ndarray, matrix_33: np.ndarray) -> np.ndarray:
    """``points_N3 @ matrix_33.T``, float64 [N, 3], without BLAS.

    BLAS splits even these over threads that wait for each other when all cores are at work: a scene of ScanNet's size
    took twice as long with it beside other work on two cores. It also rounds as the kind of processor has it.
    """
    out = np.empty((len(points_N3), 3))
    x, y, z = points_N3.T
    for row, (a, b, c) in enumerate(matrix_33):
        out[:, row] = x * a + y * b + z * c
    return out
