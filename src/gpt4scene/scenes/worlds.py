"""What sets a mesh and cameras apart that are of one room, but not written in one world: axes, or the unit of one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import permutations, product

import numpy as np

from gpt4scene.scans.types import Camera, Frame, Scan
from gpt4scene.scenes.agreement import Compared


def difference(compared: Compared, scan: Scan, factors: Sequence[float], least: float) -> str:
    """How mesh, poses or intrinsics must be changed in their files to agree by ``least`` (0 to 1); empty where nothing
    helps.

    No flag does so, because the reader cannot know which of them is right.
    """
    kinds = [_slips(scan)] + ([_lengths(scan, factors), _axes(scan)] if scan.mesh is not None else [])
    for others in kinds:
        found = []
        for other, sentence in others:
            share = compared.agreement(other).worst
            if share is not None and share >= least:
                found.append((share, sentence))
        if found:
            share, sentence = max(found, key=lambda one: one[0])
            return f"{sentence}, {100 * share:.0f} % would: change the file"
    return ""


def _slips(scan: Scan) -> Iterator[tuple[Scan, str]]:
    """The scan with poses of other images, and with numbers of its intrinsics exchanged."""
    frames = [frame for frame in scan.frames if frame.camera.tracked]
    numbered = sorted(frames, key=lambda frame: [int(word) for word in re.findall(r"[0-9]+", frame.name)])
    orders = [
        (frames[1:] + frames[:1], "if each image, or its depth, had the pose of the next one"),
        (frames[-1:] + frames[:-1], "if each image, or its depth, had the pose of the one before"),
        (frames[::-1], "if the poses stood in reverse order"),
    ]
    if numbered != frames:
        places = {frame.name: place for place, frame in enumerate(numbered)}
        by_number = [frames[places[frame.name]] for frame in frames]
        orders.append((by_number, "if the poses stood in the order of the numbers in the images' names"))
    for order, words in orders:
        poses = {frame.name: other.camera.pose for frame, other in zip(frames, order, strict=True)}
        yield _each(scan, lambda frame, one, poses=poses: replace(one, pose=poses.get(frame.name, one.pose))), words
    for words, change in _INTRINSICS:
        changed = _each(scan, lambda frame, one, change=change: replace(one, intrinsics=change(one.intrinsics)))
        if not all(
            np.allclose(new.camera.intrinsics, old.camera.intrinsics, rtol=0.02)
            for new, old in zip(changed.frames, scan.frames, strict=True)
        ):
            yield changed, words


def _axes(scan: Scan) -> Iterator[tuple[Scan, str]]:
    """The scan with the axes of mesh or poses exchanged or mirrored."""
    for turn in _turns():
        axes = ", ".join(f"{'-' if row.sum() < 0 else ''}{'xyz'[int(np.abs(row).argmax())]}" for row in turn[:3, :3].T)
        yield (
            _changed(scan, lambda one, turn=turn: one.moved(turn)),
            f"if the poses' x, y, z were the mesh's {axes} (as an applied_transform does that only one of the two got)",
        )
    for axis, name in enumerate("xyz"):
        mirror = np.eye(4)
        mirror[axis, axis] = -1
        yield _changed(scan, lambda one, turn=mirror: one.moved(turn)), f"if the mesh were mirrored along {name}"


def _lengths(scan: Scan, factors: Sequence[float]) -> Iterator[tuple[Scan, str]]:
    """The scan with another unit of the poses, or of the mesh."""
    deep = any(frame.depth is not None for frame in scan.frames)
    for factor in sorted({*factors, *(float(f"{1 / factor:.6g}") for factor in factors)}):
        moved = _changed(scan, lambda one, factor=factor: _farther(one, factor))
        words = f"if the positions of the cameras were multiplied by {factor:g}"
        yield moved, words if deep else f"{words}, or those of the mesh by {1 / factor:g}"
        if deep:
            frames = tuple(replace(frame, depth_scale=frame.depth_scale / factor) for frame in moved.frames)
            yield replace(moved, frames=frames), f"if the positions of the mesh were multiplied by {1 / factor:g}"


def _turns() -> Iterator[np.ndarray]:
    """The 23 rotations that exchange axes, 4x4."""
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        turn = np.eye(4)
        turn[:3, :3] = np.eye(3)[list(order)] * np.array(signs)[:, None]
        if np.linalg.det(turn) > 0 and not np.allclose(turn, np.eye(4)):
            yield turn


def _changed(scan: Scan, change: Callable[[Camera], Camera]) -> Scan:
    return _each(scan, lambda _, camera: change(camera))


def _each(scan: Scan, change: Callable[[Frame, Camera], Camera]) -> Scan:
    frames = []
    for frame in scan.frames:
        depth_camera = change(frame, frame.depth_camera) if frame.depth_camera is not None else None
        frames.append(replace(frame, camera=change(frame, frame.camera), depth_camera=depth_camera))
    return replace(scan, frames=tuple(frames))


def _exchanged(row: int, column: int, other: int, place: int) -> Callable[[np.ndarray], np.ndarray]:
    """What exchanges two numbers of a matrix."""

    def change(matrix: np.ndarray) -> np.ndarray:
        found = matrix.copy()
        found[row, column], found[other, place] = matrix[other, place], matrix[row, column]
        return found

    return change


def _longer(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    """What multiplies focal lengths."""
    return lambda matrix: matrix * np.array([[factor, factor, 1], [factor, factor, 1], [1, 1, 1]])


_INTRINSICS = (
    ("if fx and fy were exchanged in the intrinsics", _exchanged(0, 0, 1, 1)),
    ("if cx and cy were exchanged in the intrinsics", _exchanged(0, 2, 1, 2)),
    ("if the focal lengths were twice as long", _longer(2)),
    ("if the focal lengths were half as long", _longer(0.5)),
    ("if the focal lengths were 1.5 times as long", _longer(1.5)),
    ("if the focal lengths were two thirds as long", _longer(2 / 3)),
)
"""Slips in intrinsics, and what mends them."""


def _farther(camera: Camera, factor: float) -> Camera:
    pose = camera.pose.copy()
    pose[:3, 3] = pose[:3, 3] * factor
    return replace(camera, pose=pose) if camera.tracked else camera
