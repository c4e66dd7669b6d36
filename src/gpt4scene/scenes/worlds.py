"""What sets a mesh and cameras apart that are of one room, but not written in one world: axes, or the unit of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import permutations, product

import numpy as np

from gpt4scene.scans.types import Camera, Scan
from gpt4scene.scenes.agreement import Compared


def difference(compared: Compared, scan: Scan, factors: Sequence[float], least: float) -> str:
    """How mesh or poses must be changed in their files to agree by ``least`` (0 to 1); empty where nothing helps.

    No flag does so, because the reader cannot know which of the two is right.
    """
    if scan.mesh is None:
        return ""
    found = []
    for other, sentence in _others(scan, factors):
        share = compared.agreement(other).worst
        if share is not None and share >= least:
            found.append((share, sentence))
    if not found:
        return ""
    share, sentence = max(found, key=lambda one: one[0])
    return f"{sentence}, {100 * share:.0f} % would: change the file"


def _others(scan: Scan, factors: Sequence[float]) -> Iterator[tuple[Scan, str]]:
    for turn in _turns():
        axes = ", ".join(f"{'-' if row.sum() < 0 else ''}{'xyz'[int(np.abs(row).argmax())]}" for row in turn[:3, :3].T)
        yield (
            _changed(scan, lambda one, turn=turn: one.moved(turn)),
            f"if the poses' x, y, z were the mesh's {axes} (as an applied_transform does that only one of the two got)",
        )
    deep = any(frame.depth is not None for frame in scan.frames)
    for factor in factors:
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
    frames = []
    for frame in scan.frames:
        depth_camera = change(frame.depth_camera) if frame.depth_camera is not None else None
        frames.append(replace(frame, camera=change(frame.camera), depth_camera=depth_camera))
    return replace(scan, frames=tuple(frames))


def _farther(camera: Camera, factor: float) -> Camera:
    pose = camera.pose.copy()
    pose[:3, 3] = pose[:3, 3] * factor
    return replace(camera, pose=pose) if camera.tracked else camera
