"""Whether a scan makes sense before work starts on it, so that a slip in a file is named and not computed with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.mesh_files import seen_geometry
from gpt4scene.scans.types import Camera, Frame, Scan, SceneObject

LARGEST_NUMBER = 999
CENTRE = (0.25, 0.75)
"""Share of an image's width and height between which the optical axis meets it, unless the numbers are of another."""
PIXEL_SHAPE = 0.06
"""By so much the shape of pixels may differ between a frame's colour and its depth."""


def check_scan(scan: Scan) -> None:
    """DataError naming the folder, the frame and the way out for cameras or an alignment that cannot be.

    A pose must turn and move, not stretch or mirror; a focal length is positive; the optical axis is near the middle of
    the image, and pixels of depth have the shape of the colour's; the alignment is rigid, too.
    """
    if not scan.frames:
        raise DataError(f"{scan.source}: has no frames")
    _check_names(scan)
    for frame in scan.frames:
        for camera in (frame.camera, frame.depth_camera):
            wrong = _wrong_camera(camera) if camera is not None else ""
            if wrong:
                which = "" if camera is frame.camera else ", depth"
                raise DataError(f"{scan.source}, frame {frame.name}{which}: {wrong}")
        if frame.depth_camera is not None and _other_shape(frame.camera, frame.depth_camera):
            colour, depth = (f"{one.width}x{one.height}" for one in (frame.camera, frame.depth_camera))
            raise DataError(
                f"{scan.source}, frame {frame.name}: depth of {depth} is no plain rescaling of images of {colour} (its "
                "pixels would not be square): give the intrinsics of the depth images (posed: depth_intrinsics.txt)"
            )
    if scan.align is not None:
        wrong = _wrong_pose(scan.align)
        if wrong:
            raise DataError(f"{scan.source}: the axis alignment {wrong}")


def _check_names(scan: Scan) -> None:
    """DataError where two frames have one name, since their images would be one file."""
    names: dict[str, Frame] = {}
    for frame in scan.frames:
        other = names.setdefault(frame.name, frame)
        if other is not frame:
            pair = " and ".join(str(one.image) for one in (other, frame) if isinstance(one.image, Path))
            raise DataError(f"{scan.source}: two frames are called '{frame.name}' ({pair}); rename or remove one")


def check_geometry(scan: Scan, meshes: Sequence[str] = ()) -> None:
    """DataError for a scan of which nothing can be made: it has no mesh, and no depth whose pose is known.

    ``meshes`` are the names under which its format reads one.
    """
    if scan.mesh is not None or any(frame.depth is not None and frame.camera.tracked for frame in scan.frames):
        return
    depth = any(frame.depth is not None for frame in scan.frames)
    lacks = "no mesh, and no depth frame has a pose" if depth else "neither a mesh nor depth frames with poses"
    called = f" (a mesh is called {' or '.join(meshes)})" if meshes else " (its format reads no mesh)"
    raise DataError(f"{scan.source}: has {lacks}; one of them is needed{called}{seen_geometry(scan.source)}")


def check_objects(scan: Scan, objects: Sequence[SceneObject]) -> None:
    """DataError for objects that cannot be: a number that no answer can name, or a mask that is not of this mesh."""
    count = len(scan.mesh.vertices) if scan.mesh is not None else 0
    for item in objects:
        if item.id > LARGEST_NUMBER:
            raise DataError(
                f"{scan.source}: object {item.id} ({item.label}): numbers end at {LARGEST_NUMBER}, because "
                "answers name objects by three digits, as <OBJ017>; number the objects anew"
            )
        if item.vertices is not None and len(item.vertices) and int(item.vertices.max()) >= count:
            raise DataError(
                f"{scan.source}: the mask of object {item.id} names vertex {item.vertices.max()} of {count}"
            )


def _wrong_camera(camera: Camera) -> str:
    intrinsics = camera.intrinsics
    if not np.isfinite(intrinsics).all() or min(intrinsics[0, 0], intrinsics[1, 1]) <= 0:
        return "the intrinsics have no positive focal length (3x3: fx 0 cx, 0 fy cy, 0 0 1)"
    if abs(intrinsics[2, 2] - 1) > 1e-6 or np.abs(intrinsics[[1, 2, 2], [0, 0, 1]]).max() > 1e-6:
        return "the intrinsics are not of the form fx s cx, 0 fy cy, 0 0 1"
    wrong = _other_size(camera)
    if wrong:
        return wrong
    if camera.tracked:
        wrong = _wrong_pose(camera.pose)
        return f"the pose {wrong} (4x4 camera-to-world, metres)" if wrong else ""
    if np.isfinite(camera.pose[:3]).sum() > 9:
        return "the pose has numbers and 'nan' or 'inf' mixed; a lost one is 'nan' sixteen times"
    return ""


def _other_size(camera: Camera) -> str:
    """What is wrong with a principal point that is far from the image's middle; empty when nothing is."""
    (cx, cy), (width, height) = camera.intrinsics[:2, 2], (camera.width, camera.height)
    if all(CENTRE[0] <= share <= CENTRE[1] for share in (cx / width, cy / height)):
        return ""
    said = f"the optical axis meets the image of {width}x{height} at ({cx:.0f}, {cy:.0f}), far from its middle"
    if cx > 0 and cy > 0:
        said += (
            f"; are these the intrinsics of images of about {2 * cx:.0f}x{2 * cy:.0f}? Scale them to {width}x{height}"
        )
    return said


def _other_shape(camera: Camera, depth_camera: Camera) -> bool:
    """Whether pixels of depth are wider or higher than those of colour."""
    shapes = [one.intrinsics[0, 0] / one.intrinsics[1, 1] for one in (camera, depth_camera)]
    return abs(shapes[0] / shapes[1] - 1) > PIXEL_SHAPE


def _wrong_pose(pose: np.ndarray) -> str:
    """What is wrong with a rigid 4x4 matrix; empty when nothing is."""
    if not np.isfinite(pose).all() or np.abs(pose[3] - [0, 0, 0, 1]).max() > 1e-4:
        return "does not end in the row 0 0 0 1"
    rotation = pose[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 0.02:
        return "stretches or skews: its 3x3 part is no rotation"
    return "mirrors: its 3x3 part has determinant -1" if np.linalg.det(rotation) < 0 else ""
