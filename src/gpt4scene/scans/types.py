"""What a scan is made of: cameras, frames, a mesh, objects. Lengths are metres, pixels count from the top left.

Pixel convention: the centre of the top-left pixel is (0, 0). A camera looks along its own +z, x points right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.geometry import product, product_of_pixels

_QUARTER = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
"""Axes of a camera whose image is turned a quarter to the left -> axes of the camera before."""


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

    def turned(self, quarters: int) -> Camera:
        """The same camera with its image turned by quarters to the left, as ``numpy.rot90`` does."""
        camera = self
        for _ in range(quarters % 4):
            k = camera.intrinsics
            intrinsics = np.array([[k[1, 1], 0, k[1, 2]], [0, k[0, 0], camera.width - 1 - k[0, 2]], [0, 0, 1]])
            pose = camera.pose @ _QUARTER if camera.tracked else camera.pose
            camera = Camera(intrinsics, pose, camera.height, camera.width)
        return camera

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
        return product_of_pixels(pixels_N2, self.pose[:3, :3] @ np.linalg.inv(self.intrinsics))

    def pixels_in(self, other: Camera, pixels_N2: np.ndarray) -> np.ndarray:
        """Pixels of ``other`` (float, x and y) that look along the same rays as pixels of this camera.

        Both cameras share one pose, as a colour and a depth camera do.
        """
        moved = product_of_pixels(pixels_N2, other.intrinsics @ np.linalg.inv(self.intrinsics))
        return moved[:, :2] / moved[:, 2:3]


@dataclass(frozen=True)
class StoredImage:
    """An image inside a larger file: ``length`` bytes from ``offset``, coded as ``codec`` (see ``images.py``)."""

    path: Path
    offset: int
    length: int
    codec: str


@dataclass(frozen=True)
class Frame:
    """One colour image with its camera, and the depth image taken with it where there is one.

    ``depth`` holds metres times ``depth_scale`` as whole numbers, 0 where nothing was measured; its camera has its own
    intrinsics and size but the colour camera's pose. Cameras are those of the images as they are shown, which are the
    stored ones turned by ``quarters`` to the left.
    """

    name: str
    image: Path | StoredImage
    camera: Camera
    depth: Path | StoredImage | None = None
    depth_camera: Camera | None = None
    depth_scale: float = 1000.0
    quarters: int = 0

    def turned(self, quarters: int) -> Frame:
        """The frame with its images turned by quarters to the left."""
        return replace(
            self,
            camera=self.camera.turned(quarters),
            depth_camera=self.depth_camera.turned(quarters) if self.depth_camera else None,
            quarters=(self.quarters + quarters) % 4,
        )


@dataclass(frozen=True)
class Mesh:
    """A coloured surface: ``vertices`` float [V, 3], ``faces`` int [F, 3], ``colors`` uint8 [V, 3].

    A point cloud is a mesh without faces. ``numbers`` int [V of the file] has the index here of each vertex of the
    file that it was read from, -1 for one left out; None where all are kept. ``notes`` say what was left out.
    ``counted`` is False where the file has no one order of vertices, which masks count.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray
    numbers: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    counted: bool = True

    @property
    def count_in_file(self) -> int:
        """Vertices of the file, which masks count. Raises DataError where they have no order."""
        if not self.counted:
            raise DataError(
                "masks count vertices, but a .glb of several parts gives them no order; save the mesh as .ply, or give "
                "boxes"
            )
        return len(self.vertices if self.numbers is None else self.numbers)

    def kept(self, vertices_N: np.ndarray) -> np.ndarray:
        """Indices here of vertices that are numbered as in the file; those left out are left out."""
        if self.numbers is None:
            return vertices_N
        here = self.numbers[vertices_N]
        return here[here >= 0]

    def corners(self, faces_N: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The three corners of faces, each [N, 3]; of all faces when ``faces_N`` (their numbers) is left out."""
        a, b, c = (self.vertices[self.faces[faces_N, corner]] for corner in range(3))
        return a, b, c


@dataclass(frozen=True)
class SceneObject:
    """A thing in the scene: number, name, box in the aligned frame, and its mesh vertices where it has a mask.

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
    """A scene as its reader found it. Mesh and cameras share one world; ``align`` (4x4) takes it to the aligned frame.

    The aligned frame has z up, the floor near z = 0; boxes of ``objects`` are given in it. ``align`` is None where the
    recording says nothing: it is then estimated. ``objects`` are the annotated ones, maybe none. ``source`` names the
    folder for messages. ``notes`` are sentences about what was seen and not used, or used in another way than it looks.
    """

    scene_id: str
    frames: tuple[Frame, ...]
    mesh: Mesh | None
    align: np.ndarray | None
    objects: tuple[SceneObject, ...]
    source: Path
    notes: tuple[str, ...] = ()

    @property
    def all_notes(self) -> tuple[str, ...]:
        """The notes of the scan and of its mesh."""
        return (*self.notes, *(self.mesh.notes if self.mesh is not None else ()))
